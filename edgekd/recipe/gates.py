"""The ``gates`` section: stage, [target,] metric, bound. Read into core Gates, with a Problem for every unknown name."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from edgekd.core import Gate
from edgekd.recipe import not_yet
from edgekd.recipe.metrics import STAGES, Metric
from edgekd.recipe.problem import Path, Problem, Problems, did_you_mean, nearest, shown

_BOUND_KEYS = ("min", "max", "confidence", "waive")
_RANGES = {"share": (0.0, 1.0), "paired": (-1.0, 1.0)}


def read_gates(tree: object, targets: Collection[str] | None) -> tuple[Gate, ...]:
    """The gates in file order. ``targets``: the recipe's names; None when they could not be read, and are then not checked.

    Raises Problems with paths relative to ``gates``.
    """
    gates: list[Gate] = []
    problems: list[Problem] = []
    for stage, below in _section(tree, (), problems, "stages with their metrics below them"):
        if stage not in STAGES:
            problems.append(_unknown(("gates", stage), "stage", stage, STAGES, "gates"))
            continue
        per_target = STAGES[stage].per_target
        if not per_target:
            _read_metrics(stage, None, (stage,), below, gates, problems)
            continue
        for target, metrics in _section(below, (stage,), problems, "targets with their metrics below them"):
            if targets is not None and target not in targets:
                problems.append(_unknown_target(stage, target, targets))
            else:
                _read_metrics(stage, target, (stage, target), metrics, gates, problems)
    if problems:
        raise Problems(problems)
    return tuple(gates)


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


def _read_metrics(stage: str, target: str | None, at: Path, tree: object, gates: list[Gate], problems: list[Problem]) -> None:
    """Walk from (stage, [target]) down to the bounds; groups such as latency_ms are the first part of a dotted name."""
    metrics = STAGES[stage].metrics
    start = 2 if target else 1
    for key, below in _section(tree, at, problems, "metrics with their bounds below them"):
        path = (*at, key)
        name = ".".join(str(part) for part in path[start:])
        if name in metrics and len(path) == start + name.count(".") + 1:
            gates.extend(_bounds(stage, target, name, path, below, problems))
        elif any(metric.startswith(f"{name}.") for metric in metrics):
            _read_metrics(stage, target, path, below, gates, problems)
        else:
            problems.append(_unknown_metric(stage, name, path))


def _bounds(stage: str, target: str | None, name: str, at: Path, tree: object, problems: list[Problem]) -> list[Gate]:
    metric = STAGES[stage].metrics[name]
    before = len(problems)
    bound = dict(_section(tree, at, problems, "min or max, such as {min: 0.9}"))
    if len(problems) > before:
        return []
    for key in bound.keys() - set(_BOUND_KEYS):
        fix = "a bound takes min, max, confidence and waive"
        hint = did_you_mean(key, _BOUND_KEYS)
        problems.append(Problem((*at, key), f"unknown key '{key}' in the bound of {name}{hint}", key, fix, on="key"))
    limits: dict[str, Any] = {key: bound[key] for key in ("min", "max") if key in bound}
    if not limits and len(problems) == before:
        problems.append(Problem(at, f"{name} has no bound", None, "give it min or max, such as {min: 0.9}", on="key"))
    for key, limit in limits.items():
        problems.extend(_limit_problem(name, metric, (*at, key), limit))
    confidence, waive = bound.get("confidence"), bound.get("waive")
    if "confidence" in bound:
        problems.extend(_confidence_problem(name, metric, (*at, "confidence"), confidence, limits))
    if "waive" in bound and not (isinstance(waive, str) and waive.strip()):
        fix = "write why a miss may pass; the report shows it"
        problems.append(
            Problem((*at, "waive"), f"waive of {name} must be a reason in words, is {shown(waive)}", shown(waive), fix)
        )
    if len(problems) > before:
        return []
    if len(limits) == 2 and limits["min"] > limits["max"]:
        what = f"nothing is both ≥ {shown(limits['min'])} and ≤ {shown(limits['max'])}"
        problems.append(Problem(at, f"{name}: {what}", what, "swap min and max", on="key"))
        return []
    return [
        Gate(stage, target, name, "min" if key == "min" else "max", float(limit), confidence, waive)
        for key, limit in limits.items()
    ]


def _limit_problem(name: str, metric: Metric, at: Path, limit: object) -> list[Problem]:
    if not _is_number(limit):
        return [Problem(at, f"{at[-1]} of {name} must be a number, is {shown(limit)}", shown(limit))]
    number = cast(float, limit)
    low, high = _RANGES.get(metric.interval or "", (-math.inf, math.inf))
    if metric.unit == "fraction" and not low <= number <= high:
        fix = f"{number:g} % is {number / 100:g}" if 1 < number <= 100 else None
        return [Problem(at, f"{at[-1]} of {name} must lie in {low:g}..{high:g}, is {shown(limit)}", shown(limit), fix)]
    return []


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


def _section(tree: object, at: Path, problems: list[Problem], wanted: str) -> list[tuple[str, Any]]:
    if isinstance(tree, Mapping) and tree and all(isinstance(key, str) for key in tree):
        return list(tree.items())
    if at or not isinstance(tree, Mapping):  # an empty ``gates: {}`` is a recipe without gates
        name = ".".join(str(part) for part in ("gates", *at))
        problems.append(Problem(at, f"{name} must hold {wanted}, is {shown(tree)}", shown(tree), on="key" if at else "value"))
    return []


def _unknown(path: Path, kind: str, word: str, names: Collection[str], place: str) -> Problem:
    reason = not_yet.KEYS.get(".".join(str(part) for part in path))
    what = reason or f"unknown {kind} '{word}' in {place}{did_you_mean(word, names)}"
    return Problem(path[1:], what, word, f"one of: {', '.join(names)}", on="key")


def _unknown_target(stage: str, target: str, targets: Collection[str]) -> Problem:
    first = next(iter(targets), "cpu")
    if any(metric.split(".")[0] == target for metric in STAGES[stage].metrics) and not nearest(target, targets):
        what = f"{stage} runs on every target, so its gates nest by target: '{target}' is a metric"
        return Problem((stage, target), what, target, f"{stage}: {{{first}: {{{target}: ...}}}}", on="key")
    what = f"unknown target '{target}' in gates.{stage}{did_you_mean(target, targets)}"
    return Problem((stage, target), what, target, f"one of: {', '.join(targets)}", on="key")


def _unknown_metric(stage: str, name: str, path: Path) -> Problem:
    metrics = STAGES[stage].metrics
    fix = f"{stage} measures {', '.join(metrics)}"
    if name in not_yet.METRICS:
        what = not_yet.METRICS[name]
    elif "." in str(path[-1]) and name in metrics:
        what = f"'{name}' must be nested: {name.replace('.', ': {')}: ...{'}' * name.count('.')}"
        fix = "dots stand only in --set paths and reports"
    else:
        what = f"unknown metric '{name}' in gates.{stage}{did_you_mean(name, [*metrics, *(m.split('.')[0] for m in metrics)])}"
    return Problem(path, what, name, fix, on="key")
