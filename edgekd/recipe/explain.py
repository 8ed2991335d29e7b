"""pydantic's findings in our words: every one becomes a Problem at a path of the recipe."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from edgekd.core.nearest import did_you_mean, nearest
from edgekd.recipe import not_yet
from edgekd.recipe.distill import METHODS
from edgekd.recipe.distill import SECTIONS as DISTILL
from edgekd.recipe.fit import Fit
from edgekd.recipe.problem import Path, Problem, Problems, dotted, shown
from edgekd.recipe.schema import Compute, Data, Normalization, Quantize, Recipe, Student, Teacher
from edgekd.recipe.target import TargetSpec

_SECTIONS: dict[str, type[BaseModel]] = {
    "compute": Compute, "data": Data, "teacher": Teacher, "student": Student, "fit": Fit, "quantize": Quantize,
}  # fmt: skip
_UNIONS: tuple[Path, ...] = (("distill",), ("teacher", "normalization"))
_WANTED = {
    "int_type": "a whole number", "int_from_float": "a whole number", "float_type": "a number", "string_type": "text",
    "bool_type": "true or false", "tuple_type": "a list, such as [1, 2]", "finite_number": "a finite number",
    "model_type": "a section with keys below it", "model_attributes_type": "a section with keys below it",
    "dict_type": "a section with keys below it",
}  # fmt: skip
_COMPARED = {
    "greater_than": ("> {}", "gt"),
    "greater_than_equal": ("≥ {}", "ge"),
    "less_than": ("< {}", "lt"),
    "less_than_equal": ("≤ {}", "le"),
}


def problems_of(error: ValidationError, data: object) -> list[Problem]:
    """``data``: what was validated. Every finding once; a key that is missing because it is misspelt is told as misspelt."""
    problems = [problem for details in error.errors(include_url=False) for problem in _explain(details, data)]
    meant = {(*problem.path[:-1], near) for problem in problems if (near := _meant(problem, data))}
    return [problem for problem in problems if problem.path not in meant or not problem.what.endswith("is missing")]


def _meant(problem: Problem, data: object) -> str | None:
    return nearest(str(problem.path[-1]), _keys_of(problem.path[:-1], data)) if problem.what.startswith("unknown key") else None


def _explain(details: ErrorDetails, data: object) -> Iterable[Problem]:
    path, kind, value, context = _path(details["loc"]), details["type"], details["input"], details.get("ctx", {})
    where, seen = dotted(path), shown(details["input"])
    if kind == "value_error" and isinstance(context["error"], Problems):
        return [Problem((*path, *one.path), one.what, one.seen, one.fix, one.on) for one in context["error"].problems]
    if path[-1:] == ("[key]",):
        path = path[:-1]
        reason, fix = _reason(context)
        return [Problem(path, f"the name {seen} in {dotted(path[:-1])} {reason}", seen, fix, on="key")]
    if kind == "value_error":
        reason, fix = _reason(context)
        return [Problem(path, f"{where} {reason}, is {seen}", seen, fix)]
    if kind == "extra_forbidden":
        return [_unknown_key(path, data)]
    if kind == "missing":
        return [_missing(path, data)]
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        return [_no_method(path, value)]
    if kind == "literal_error":
        return [_not_among(path, value, re.findall(r"'([^']*)'", context["expected"]))]
    if kind in _COMPARED:
        words, key = _COMPARED[kind]
        return [Problem(path, f"{where} must be {words.format(f'{context[key]:g}')}, is {seen}", seen)]
    if kind == "too_short" and isinstance(value, (list, tuple)) and len(value) >= context["min_length"]:
        return []  # it is one that holds wrong values, which are told
    if kind in ("too_short", "too_long"):
        limit = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return [
            Problem(path, f"{where} must hold {limit}, holds {context['actual_length']}", str(context["actual_length"]), on="key")
        ]
    if kind in _WANTED:
        return [_wrong_type(path, kind, value, data)]
    return [Problem(path, f"{where}: {details['msg']}", seen)]


def _reason(context: Mapping[str, Any]) -> tuple[str, str | None]:
    """What a validator of ours raised: ValueError("must be ...") or ValueError("must be ...", fix)."""
    reason, *fix = context["error"].args
    return reason, fix[0] if fix else None


def _path(location: tuple[int | str, ...]) -> Path:
    """Without the name of a union's member, which pydantic puts after the union's own."""
    for union in _UNIONS:
        if location[: len(union)] == union:
            return (*union, *location[len(union) + 1 :])
    return location


def _method(data: object) -> str | None:
    distill = data.get("distill") if isinstance(data, Mapping) else None
    method = distill.get("method") if isinstance(distill, Mapping) else None
    return method if isinstance(method, str) else None


def _model_of(section: Path, data: object) -> type[BaseModel] | None:
    match section:
        case ():
            return Recipe
        case ("distill",):
            return DISTILL.get(_method(data) or "")
        case ("targets", _):
            return TargetSpec
        case ("teacher", "normalization"):
            return Normalization
        case (str(name),):
            return _SECTIONS.get(name)
    return None


def _keys_of(section: Path, data: object) -> list[str]:
    model = _model_of(section, data)
    return list(model.model_fields) if model else []


def _unknown_key(path: Path, data: object) -> Problem:
    section, key = path[:-1], str(path[-1])
    if section[:1] == ("targets",) and (reason := not_yet.TARGET_KEYS.get(key.lower())):
        return Problem(path, reason, key, "leave it out", on="key")
    keys = _keys_of(section, data)
    place = f" in {dotted(section)}" if section else ""
    method = f" with method {_method(data)}" if section == ("distill",) else ""
    hint = did_you_mean(key, keys)
    fix = None if hint else f"{dotted(section)}{method} takes {'only ' if len(keys) == 1 else ''}{', '.join(keys)}"
    return Problem(path, f"unknown key {shown(key)}{place}{method}{hint}", key, fix, on="key")


_EXAMPLES = {
    "edgekd": "edgekd: 1", "name": "name: my_model", "data": "data: {source: digits, image_size: 32}",
    "teacher": "teacher: {model: resnet18, epochs: 8}", "student": "student: {model: mobilenet_v2}",
    "distill": "distill: {method: sld, epochs: 12}", "targets": "targets: {cpu: {device: local-cpu, runtime: onnxruntime}}",
    "epochs": "epochs: 12", "source": "source: digits", "image_size": "image_size: 32", "model": "model: mobilenet_v2",
    "device": "device: local-cpu", "runtime": "runtime: onnxruntime",
}  # fmt: skip


def _missing(path: Path, data: object) -> Problem:
    example = _EXAMPLES.get(str(path[-1]))
    return Problem(path, f"{dotted(path)} is missing", None, f"add {example}" if example else None, on="key")


def _no_method(path: Path, value: object) -> Problem:
    section = value if isinstance(value, Mapping) else {}
    if "method" not in section:
        near = next((key for key in section if nearest(key, ["method"])), None)
        if near:
            return Problem((*path, near), f"unknown key '{near}' in distill; did you mean 'method'?", near, on="key")
        return Problem((*path, "method"), "distill.method is missing", None, f"one of: {', '.join(METHODS)}", on="key")
    return _not_among((*path, "method"), section["method"], list(METHODS))


def _not_among(path: Path, value: object, allowed: list[str]) -> Problem:
    seen = shown(value)
    if path == ("edgekd",):
        return Problem(path, f"this edgekd reads recipes of version 1, this one says {seen}", seen, "edgekd: 1")
    reason = not_yet.VALUES.get((dotted(path), str(value)))
    if path[:1] == ("targets",) and path[-1] == "precision":
        reason = not_yet.PRECISIONS.get(str(value).lower())
    if reason:
        return Problem(path, reason, seen)
    if not isinstance(value, str):
        return Problem(path, f"{dotted(path)} must be one of {', '.join(allowed)}, is {seen}", seen)
    hint = did_you_mean(value, allowed)
    what = f"unknown {path[-1]} {seen} in {dotted(path[:-1])}{hint}"
    return Problem(path, what, seen, None if hint else f"this version has {', '.join(allowed)}")


def _wrong_type(path: Path, kind: str, value: object, data: object) -> Problem:
    what = f"{dotted(path)} must be {_WANTED[kind]}, is {shown(value)}"
    fix = None
    if kind in ("model_type", "model_attributes_type", "dict_type") and (keys := _keys_of(path, data)):
        fix = f"{dotted(path)} takes {', '.join(keys)}"
    elif kind == "string_type" and isinstance(value, (int, float)):
        fix = f'put it in quotes: "{shown(value)}"'
    elif kind == "bool_type" and isinstance(value, str) and value.lower() in ("yes", "on", "no", "off"):
        fix = f"write {'true' if value.lower() in ('yes', 'on') else 'false'}: YAML 1.2 reads {value} as a word"
    elif kind in ("int_type", "float_type") and isinstance(value, str) and _reads_as(float, value):
        fix = f"write {value.replace('_', '')}"
    return Problem(path, what, shown(value), fix)


def _reads_as(kind: Callable[[str], Any], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True
