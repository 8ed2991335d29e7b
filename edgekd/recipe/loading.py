"""The one door: a file and the user's ``--set`` in; a Recipe out, or a RecipeError with the place of all that is wrong."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edgekd.core import RecipeError
from edgekd.recipe import overrides as set_options
from edgekd.recipe.distill import SECTIONS
from edgekd.recipe.explain import problems_of
from edgekd.recipe.parse import parse
from edgekd.recipe.problem import Problem, shown
from edgekd.recipe.schema import Recipe
from edgekd.recipe.source import Place, Source, snippet
from edgekd.recipe.training import Training

MOST_BYTES = 256_000


def load(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read and validate a recipe file. ``overrides``: texts of ``--set``, such as "distill.epochs=5".

    Raises RecipeError: the first problem in the order of the file, the others in ``others``. Touches nothing but the file.
    """
    text = _read(Path(path))
    return loads(text, str(path), Path(path).parent, overrides)


def loads(text: str, name: str, folder: Path, overrides: Sequence[str] = ()) -> Recipe:
    """As ``load``, from text. name: stands before line and column; folder: where relative paths of the recipe start."""
    data, source = _parsed(text, name, folder)
    return _validated(data, set_options.apply(data, source, overrides))


def load_arm(
    path: str | Path, shared: Mapping[str, Sequence[str]], option: str, own: Sequence[str]
) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe of one arm of a comparison, and the keys left out of its distill section. Raises as ``load`` does.

    shared: overrides of all arms, by the option they were written with; own: of this one, with ``option``. Where ``own`` names
    another method than the recipe's, what the file says about its method is left out, for it was chosen for that one; of
    ``shared``, what the method does not have. Keys of training stay; a key no method has stays too, and is an error.
    """
    data, source = _parsed(_read(Path(path)), str(path), Path(path).parent)
    for name, texts in shared.items():
        source = set_options.apply(data, source, texts, name)
    before = copy.deepcopy(data)
    source = set_options.apply(data, source, own, option)
    of_all = _keys([text for texts in shared.values() for text in texts])
    left_out = _of_another_method(before.get("distill"), data.get("distill"), of_all, _keys(own))
    for key in left_out:
        del data["distill"][key]
    return _validated(data, source), left_out


def _keys(overrides: Sequence[str]) -> set[str]:
    return {text.partition("=")[0].strip() for text in overrides}


def _of_another_method(before: object, now: object, shared: set[str], own: set[str]) -> tuple[str, ...]:
    if not isinstance(before, dict) or not isinstance(now, dict):
        return ()
    section = SECTIONS.get(str(now.get("method")))
    if section is None or before.get("method") == now["method"]:
        return ()
    known = {key for one in SECTIONS.values() for key in one.model_fields}

    def stays(key: str) -> bool:
        chosen = key in Training.model_fields or f"distill.{key}" in shared
        return key == "method" or key not in known or f"distill.{key}" in own or (key in section.model_fields and chosen)

    return tuple(key for key in now if not stays(key))


def error_at(recipe: Recipe, path: str, what: str, *, seen: str | None = None, fix: str | None = None) -> RecipeError:
    """An error about the value at a dotted ``path`` that only a later room could find (no such model, no such device)."""
    problem = Problem(tuple(path.split(".")), what, seen, fix)
    return recipe._source.error(problem) if recipe._source else RecipeError(what, where=path, seen=seen, fix=fix)


def missing_files(recipe: Recipe) -> tuple[RecipeError, ...]:
    """Files and folders that the recipe names and this machine lacks: data.path, teacher.weights, student.weights."""
    files = {
        "teacher.weights": (recipe.teacher.weights, recipe.weights_file("teacher")),
        "student.weights": (recipe.student.weights, recipe.weights_file("student")),
        "data.path": (recipe.data.path, recipe.resolve(recipe.data.path) if recipe.data.path is not None else None),
    }
    errors = []
    for key, (written, found) in files.items():
        if found is None:
            continue
        kind, fix = "folder" if key == "data.path" else "file", "relative paths start at the folder of the recipe"
        try:
            there = found.is_dir() if kind == "folder" else found.is_file()
            what = f"no {kind} {shown(str(found))}"
        except OSError as error:  # a folder above it that may not be entered
            there, what = False, f"{shown(str(found))} cannot be looked at: {error.strerror}"
        if not there:
            errors.append(error_at(recipe, key, f"{key}: {what}", seen=written, fix=fix))
    return tuple(errors)


def _parsed(text: str, name: str, folder: Path) -> tuple[dict[str, Any], Source]:
    data, places = parse(text, name)
    if not isinstance(data, dict):
        what = f"a recipe is a section of keys such as edgekd: 1, this is {shown(data)}"
        raise RecipeError(
            what, where=f"{name}:1:1", fix="edgekd schema recipe shows what a recipe holds", snippet=snippet(text, Place(1, 1))
        )
    return data, Source(name, text, folder, places)


def _validated(data: dict[str, Any], source: Source) -> Recipe:
    try:
        recipe = Recipe.model_validate(data)
    except ValidationError as error:
        found = sorted(problems_of(error, data), key=source.order)
        first, *others = [source.error(problem) for problem in dict.fromkeys(found)]
        first.others = tuple(others)
        raise first from None
    recipe._source = source
    return recipe


def _read(path: Path) -> str:
    try:
        if not (path.is_file() or path.is_dir()) and path.exists():  # a pipe could keep us waiting without end
            raise RecipeError("the recipe is a pipe, a socket or a device", where=str(path), fix="save it to a file")
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except FileNotFoundError:
        raise RecipeError("no such recipe", where=str(path), fix="edgekd recipes lists the shipped ones") from None
    except OSError as error:
        raise RecipeError(f"the recipe cannot be read: {error.strerror}", where=str(path)) from error
    if len(content) > MOST_BYTES:
        what = f"the file has more than {MOST_BYTES:,} bytes, too many for a recipe"
        raise RecipeError(what, where=str(path), fix="is this the recipe?")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        line, column = before.count(b"\n") + 1, error.start - before.rfind(b"\n")
        raise RecipeError(
            "the file is not UTF-8 text", where=f"{path}:{line}:{column}", seen=f"byte 0x{content[error.start]:02x}"
        ) from None
