"""The files behind the numbers (curves, latencies, conditions): used only if they are those the document names, else say why."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from edgekd.core import Artifact
from edgekd.report.document import StagePart

MOST_BYTES = 64 * 1024 * 1024
Shape = TypeVar("Shape")


@dataclass(frozen=True)
class Gap:
    """A sentence that stands where a chart or table would: what is missing and where it should be."""

    why: str


def evidence(run: Path, step: StagePart, kind: str, shape: Callable[[Any], Shape]) -> Shape | Gap:
    """The JSON file of this kind that ``step`` made, through ``shape``, or the Gap it leaves.

    A file is used only if it lies below ``run`` and has the bytes the document recorded; ``shape`` raises ValueError,
    TypeError or KeyError for content that is not what it should be.
    """
    found = step.artifact(kind)
    place = " ".join(filter(None, (step.name, step.target)))
    if found is None:
        return Gap(f"{place} made no {kind} file" + (f": {step.why}" if step.why else "."))
    path = (run / found.path).resolve()
    if not path.is_relative_to(run.resolve()):
        return Gap(f"{found.path} lies outside the run folder and was not read.")
    problem = Artifact(found.kind, found.path, found.sha256, found.bytes).problem_below(run)
    if problem or found.bytes > MOST_BYTES:
        return Gap(f"{problem or found.path + ' is too large'}, so it is not shown.")
    try:
        return shape(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        return Gap(f"{found.path} cannot be read as {kind} ({type(error).__name__}: {error}).")


@dataclass(frozen=True)
class Curves:
    """One training: (epoch, value) of the loss and of the held-out top-1, and which epoch was kept."""

    loss: Sequence[tuple[int, float]]
    held_out_top1: Sequence[tuple[int, float]]
    best_epoch: int | None


def curves(content: Any) -> Curves:
    series: dict[str, list[tuple[int, float]]] = {"loss": [], "held_out_top1": []}
    for row in content["epochs"]:
        for name, values in series.items():
            value = row.get(name)
            if value is not None and math.isfinite(value):
                values.append((int(row["epoch"]), float(value)))
    if not series["loss"]:
        raise ValueError("it holds no epoch with a loss")
    best = content.get("best_epoch")
    return Curves(series["loss"], series["held_out_top1"], None if best is None else int(best))


def latencies(content: Any) -> dict[str, list[list[float]]]:
    """Milliseconds by model and round."""
    models = {str(name): [[float(ms) for ms in one] for one in rounds] for name, rounds in content["models"].items()}
    if any(not (math.isfinite(ms) and ms >= 0) for rounds in models.values() for one in rounds for ms in one):
        raise ValueError("it holds a time that is negative or not finite")
    models = {name: rounds for name, rounds in models.items() if any(rounds)}
    if not models:
        raise ValueError("it holds no query")
    return models


def flat(content: Any, prefix: str = "") -> list[tuple[str, str]]:
    """A nested object as rows of dotted name and value, for a table; lists stand on one row, of objects only the count."""
    if not isinstance(content, Mapping):
        raise ValueError("it is not an object")
    rows: list[tuple[str, str]] = []
    for name, value in content.items():
        if isinstance(value, Mapping) and value:
            rows += flat(value, f"{prefix}{name}.")
        elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
            rows.append((f"{prefix}{name}", f"{len(value)} entries, in the file"))
        elif isinstance(value, list):
            rows.append((f"{prefix}{name}", ", ".join(_plain(one) for one in value) or "—"))
        else:
            rows.append((f"{prefix}{name}", _plain(value)))
    return rows


def _plain(value: Any) -> str:
    match value:
        case None:
            return "—"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.6g}"
        case str() | int():
            return str(value)
        case _:
            return json.dumps(value, ensure_ascii=False)
