"""Verify a bundle the way an app meets it: every file against the manifest, then every model and engine that this machine can
run on its golden cases. What it cannot run is told, and counts as nothing: neither as agreeing nor as a difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from edgekd.core import EdgekdError, IntegrityError, Measurement
from edgekd.core.statistics import REPORTED_CONFIDENCE, wilson_interval, z_two_sided
from edgekd.device import Bundle, Problem, examine, load


@dataclass(frozen=True)
class Golden:
    """One model on its golden cases, on this machine.

    agree: of ``cases``, how many keep the class they had when the bundle was made. sqnr_db: of the logits, None when every bit
    is equal. max_abs: the largest difference of a logit.
    """

    cases: int
    agree: int
    sqnr_db: float | None
    max_abs: float


@dataclass(frozen=True)
class Verification:
    """differences: one line each, empty when the bundle is whole and right. golden: by flavour, of engines by path; empty when
    files differ. not_run: {path: why} of models and engines that this machine cannot run."""

    folder: Path
    differences: tuple[str, ...]
    golden: Mapping[str, Golden]
    not_run: Mapping[str, str] = field(default_factory=dict)

    def require(self) -> None:
        """Raise IntegrityError, naming every difference, unless there is none."""
        if self.differences:
            count = len(self.differences)
            raise IntegrityError(
                f"the bundle is not what it was made as: {count} difference{'s' * (count > 1)}",
                where=str(self.folder), seen="; ".join(self.differences), fix="copy or make the bundle again",
            )  # fmt: skip

    def measurement(self) -> Measurement:
        """``golden_agreement``: of the model that agrees least, the share of golden cases whose class is the expected one.

        The condition "not_run" lists what the number says nothing of.
        """
        if not self.golden:
            return Measurement("golden_agreement", None, "fraction", 0)
        flavour, least = min(self.golden.items(), key=lambda item: item[1].agree / item[1].cases)
        low, high = wilson_interval(least.agree, least.cases, z_two_sided(REPORTED_CONFIDENCE))
        conditions = {"flavour": flavour, "sqnr_db": {name: one.sqnr_db for name, one in self.golden.items()}}
        conditions |= {"not_run": sorted(self.not_run)} if self.not_run else {}
        share = least.agree / least.cases
        return Measurement(
            "golden_agreement", share, "fraction", least.cases, low, high, counts=(least.agree,), conditions=conditions
        )

    def as_json(self) -> dict[str, Any]:
        golden = {name: asdict(one) for name, one in self.golden.items()}
        found = {"bundle": str(self.folder), "differences": list(self.differences), "golden": golden}
        return {**found, "not_run": dict(self.not_run)}


def verify(folder: Path) -> Verification:
    """Compare a bundle with what it promises; damage is returned, not raised.

    Raises InputError: no bundle there, or one of another schema. EnvironmentProblem: nothing in it can run here.
    """
    try:
        with told():
            lines, golden, not_run = examine(folder)
    except IntegrityError as error:  # a manifest that cannot be trusted, or a model that does not fit: nothing else can be judged
        return Verification(folder, (f"{error}{f' ({error.seen})' if error.seen else ''}",), {})
    return Verification(folder, tuple(lines), {name: Golden(**one) for name, one in golden.items()}, not_run)


def open_bundle(folder: Path, flavour: str | None = None) -> Bundle:
    """The bundle ready to predict, as ``edgekd.runtime.load`` gives it; its problems are raised as EdgekdErrors."""
    with told():
        return load(folder, flavour)


@contextmanager
def told() -> Iterator[None]:
    try:
        yield
    except Problem as problem:
        raise EdgekdError.from_json(problem.as_json()) from problem
