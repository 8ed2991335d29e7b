"""The ``gates`` section: stage, [target,] metric, bound. Read into core Gates, with a Problem for every unknown name."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Literal, cast

from edgekd.core import Gate
from edgekd.core.nearest import did_you_mean, nearest
from edgekd.recipe.metrics import STAGES, Metric
from edgekd.recipe.problem import Path, Problem, Problems, dotted, shown

_BOUND_KEYS = ("min", "max", "confidence", "waive")


def read_gates(tree: object, targets: Collection[str] | None) -> tuple[Gate, ...]:
    """The gates in file order. ``targets``: the recipe's names; None when they could not be read, and are then not checked.

    Raises Problems with paths relative to ``gates``.
    """
    reader = _Reader(targets)
    reader.read(tree)
    if reader.problems:
        raise Problems(reader.problems)
    return tuple(reader.gates)


def nested(gates: Iterable[Gate]) -> dict[str, Any]:
    """The tree of the recipe again, canonical: what read_gates takes, with nothing left out."""
    tree: dict[str, Any] = {}
    for gate in gates:
        here = tree.setdefault(gate.stage, {})
        for key in ([gate.target] if gate.target else []) + gate.metric.split("."):
            here = here.setdefault(key, {})
        here[gate.bound] = gate.limit
        for key, value in (("confidence", gate.confidence), ("waive", gate.waive)):
            if value is not None:
                here[key] = value
    return tree


class _Reader:
    """Walks the tree and gathers gates and problems."""

    def __init__(self, targets: Collection[str] | None) -> None:
        self.targets = targets
        self.gates: list[Gate] = []
        self.problems: list[Problem] = []

    def read(self, tree: object) -> None:
        for stage, below in self._section(tree, (), "stages with their metrics below them"):
            if stage not in STAGES:
                self.problems.append(_unknown_stage(stage))
            elif not STAGES[stage].metrics:
                what, fix = f"{stage} measures nothing that a gate could bound", "preflight measures what it makes"
                self.problems.append(Problem((stage,), what, stage, fix, on="key"))
            elif not STAGES[stage].per_target:
                self._metrics(stage, None, (stage,), below)
            else:
                for target, metrics in self._section(below, (stage,), "targets with their metrics below them"):
                    if self.targets is not None and target not in self.targets:
                        self.problems.append(_unknown_target(stage, target, self.targets))
                    else:
                        self._metrics(stage, target, (stage, target), metrics)

    def _metrics(self, stage: str, target: str | None, at: Path, tree: object) -> None:
        """From (stage, [target]) down to the bounds; a group such as latency_ms is the first part of a dotted name."""
        metrics, start = STAGES[stage].metrics, 2 if target else 1
        for key, below in self._section(tree, at, "metrics with their bounds below them"):
            path = (*at, key)
            name = ".".join(str(part) for part in path[start:])
            if name in metrics and len(path) == start + name.count(".") + 1:
                self._bound(stage, target, name, path, below)
            elif any(metric.startswith(f"{name}.") for metric in metrics):
                self._metrics(stage, target, path, below)
            else:
                self.problems.append(_unknown_metric(stage, path, start, () if target else self.targets or ()))

    def _bound(self, stage: str, target: str | None, name: str, at: Path, tree: object) -> None:
        before = len(self.problems)
        bound = dict(self._section(tree, at, "min or max, such as {min: 0.9}"))
        if len(self.problems) == before:
            self.problems += _bound_problems(name, STAGES[stage].metrics[name], at, bound)
        if len(self.problems) == before:
            for key in (key for key in bound if key in ("min", "max")):
                side: Literal["min", "max"] = "min" if key == "min" else "max"
                gate = Gate(stage, target, name, side, float(bound[key]), bound.get("confidence"), bound.get("waive"))
                self.gates.append(gate)

    def _section(self, tree: object, at: Path, wanted: str) -> list[tuple[str, Any]]:
        if isinstance(tree, Mapping) and tree and all(isinstance(key, str) for key in tree):
            return list(tree.items())
        if at or not isinstance(tree, Mapping):  # an empty ``gates: {}`` is a recipe without gates
            what = f"{dotted(('gates', *at))} must hold {wanted}, is {shown(tree)}"
            self.problems.append(Problem(at, what, shown(tree), None if at else "gates: {} for a recipe without gates"))
        return []


def _bound_problems(name: str, metric: Metric, at: Path, bound: Mapping[str, Any]) -> list[Problem]:
    problems = []
    for key in (key for key in bound if key not in _BOUND_KEYS):
        problems.append(_unknown((*at, key), f"key {shown(key)} in the bound of {name}", key, _BOUND_KEYS, "a bound takes"))
    limits = {key: bound[key] for key in ("min", "max") if key in bound}
    if not limits and not problems:
        problems.append(Problem(at, f"{name} has no bound", None, "give it min or max, such as {min: 0.9}", on="key"))
    for key, limit in limits.items():
        problems += _limit_problem(name, metric, (*at, key), limit)
    if "confidence" in bound:
        problems += _confidence_problem(name, metric, (*at, "confidence"), bound["confidence"], limits)
    waive = bound.get("waive")
    if "waive" in bound and not (isinstance(waive, str) and waive.strip()):
        fix = "write why a miss may pass; the report shows it"
        problems.append(
            Problem((*at, "waive"), f"waive of {name} must be a reason in words, is {shown(waive)}", shown(waive), fix)
        )
    if not problems and len(limits) == 2 and limits["min"] > limits["max"]:
        what = f"nothing is both ≥ {shown(limits['min'])} and ≤ {shown(limits['max'])}"
        problems.append(Problem(at, f"{name}: {what}", None, "swap min and max", on="key"))
    return problems


def _limit_problem(name: str, metric: Metric, at: Path, limit: object) -> list[Problem]:
    if not _is_number(limit):
        return [Problem(at, f"{at[-1]} of {name} must be a number, is {shown(limit)}", shown(limit))]
    number = cast(float, limit)
    low, high = _range(metric)
    if low <= number <= high:
        return []
    allowed = f"must lie in {low:g}..{high:g}" if math.isfinite(high) else "must not be negative"
    fix = f"{number:g} % is {number / 100:g}" if metric.unit == "fraction" and 1 < number <= 100 else None
    return [Problem(at, f"{at[-1]} of {name} {allowed}, is {shown(limit)}", shown(limit), fix)]


def _range(metric: Metric) -> tuple[float, float]:
    """What a measurement of this kind can be: a bound outside it always holds or never does."""
    if metric.unit == "dB":
        return -math.inf, math.inf
    if metric.unit == "fraction":
        return (-1.0 if metric.interval == "paired" else 0.0), 1.0
    return 0.0, math.inf


def _confidence_problem(name: str, metric: Metric, at: Path, confidence: object, limits: Mapping[str, object]) -> list[Problem]:
    if metric.interval is None:
        what = f"{name} is measured without an interval, so no confidence can be asked of it"
        return [Problem(at, what, shown(confidence), "leave confidence out", on="key")]
    if not _is_number(confidence) or not 0.5 <= cast(float, confidence) < 1:
        number = cast(float, confidence) if _is_number(confidence) else 0.0
        fix = f"{number:g} % is {number / 100:g}" if 50 <= number < 100 else "0.95 is usual"
        return [Problem(at, f"confidence must lie in 0.5..1, below 1, is {shown(confidence)}", shown(confidence), fix)]
    impossible = {"min": 1, "max": 0}
    for key, limit in limits.items():
        if metric.interval == "share" and _is_number(limit) and limit == impossible[key]:
            what = f"no number of images shows {name} {'≥ 1' if key == 'min' else '≤ 0'} with confidence"
            return [Problem(at, what, shown(confidence), "leave confidence out, or leave the bound some room", on="key")]
    return []


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _unknown(at: Path, what: str, word: str, names: Collection[str], there_is: str) -> Problem:
    hint = did_you_mean(word, names)
    return Problem(at, f"unknown {what}{hint}", word, None if hint else f"{there_is} {', '.join(names)}", on="key")


def _unknown_stage(stage: str) -> Problem:
    measuring = [name for name, of_stage in STAGES.items() if of_stage.metrics]
    return _unknown((stage,), f"stage {shown(stage)} in gates", stage, measuring, "the stages are")


def _unknown_target(stage: str, target: str, targets: Collection[str]) -> Problem:
    at, first = (stage, target), next(iter(targets), "cpu")
    if any(metric.split(".")[0] == target for metric in STAGES[stage].metrics) and not nearest(target, targets):
        what = f"{stage} runs on every target, so its gates nest by target; '{target}' is a metric"
        return Problem(at, what, target, f"{stage}: {{{first}: {{{target}: ...}}}}", on="key")
    return _unknown(at, f"target {shown(target)} in gates.{stage}", target, targets, "the targets are")


def _unknown_metric(stage: str, path: Path, start: int, targets: Collection[str]) -> Problem:
    """targets: names that cannot stand here because the stage does not run per target."""
    metrics = list(STAGES[stage].metrics)
    group, key, name = dotted(path[start:-1]), str(path[-1]), dotted(path[start:])
    members = [metric.removeprefix(f"{group}.") for metric in metrics if metric.startswith(f"{group}.")]
    if name in metrics:
        what = f"'{name}' must be nested: {name.replace('.', ': {')}: ...{'}' * name.count('.')}"
        return Problem(path, what, name, "dots stand only in --set paths and reports", on="key")
    if members and key in _BOUND_KEYS:
        what = f"{group} is a group of metrics; bounds go below one of them"
        return Problem(path, what, key, f"{group}: {{{members[0]}: {{{key}: ...}}}}", on="key")
    if name in targets:
        what = f"{stage} does not run per target, so '{name}' cannot stand in gates.{stage}"
        return Problem(path, what, name, "put the metrics right below the stage", on="key")
    if members:
        return _unknown(path, f"metric {shown(key)} in {group}", key, members, f"{group} has")
    first_parts = dict.fromkeys(metric.split(".")[0] for metric in metrics)
    return _unknown(path, f"metric {shown(name)} in gates.{stage}", name, first_parts, f"{stage} measures")
