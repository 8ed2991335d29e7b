"""The arms of a sweep: every combination of the varied values, and the ones named by hand, each for every seed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

from edgekd.core import InputError, RecipeError
from edgekd.core.nearest import did_you_mean
from edgekd.pipeline.ready import require_ready
from edgekd.recipe import Recipe, Training, load, load_arm

_TRAINS_ONLY = {"image_size", "hflip", "train_per_class"}  # keys of data that leave held-out and test images what they are
MATCHED = "matched"  # the folder of all arms of equal time
_OF_THE_SWEEP = {  # beside the arms' folders
    MATCHED, "matched.json", "arms.json", "fit.json", "fit_choice.json", "worker.log", "sweep.json", "sweep.csv", "sweep.html",
}  # fmt: skip
_LIKE_MATCHED = re.compile(r" ×\S+ epochs$")  # see with_epochs
MOST_LETTERS = 120  # of an arm's name: what a chart can show and a folder be called
# Up to a comma that stands in no brackets and no quotes.
_VALUE = re.compile(r"""(?:[^,\[{"']|\[[^\]]*\]|\{[^}]*\}|"[^"]*"|'[^']*')+""")


@dataclass(frozen=True)
class Arm:
    """changes: its own overrides. left_out: keys of the recipe's distill section that are another method's. recipes: by seed.
    matched: of an arm that trains as long as the dearest one, the arm it repeats."""

    name: str
    changes: tuple[str, ...]
    left_out: tuple[str, ...]
    recipes: Mapping[int, Recipe]
    matched: str | None = None

    @property
    def epochs(self) -> int:
        """Of its training; 0 for a student that is not trained."""
        section = next(iter(self.recipes.values())).distill
        return section.epochs if isinstance(section, Training) else 0

    def folder(self, seed: int) -> str:
        """Of its run, below the sweep's; what is trained for longer never lies where an arm of the user's does."""
        if self.matched is not None:
            return f"{MATCHED}/{_as_folder(self.matched)}/{self.epochs}-epochs/seed-{seed}"
        return f"{_as_folder(self.name)}/seed-{seed}"


def _as_folder(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._=+-]+", "-", name).strip("-.") or "arm"


@dataclass(frozen=True)
class Asked:
    """As typed. vary: texts of --vary, "key=a,b"; arms: of --arm, "NAME: key=value …"; matched: of --matched, "ARM,ARM"."""

    recipe: Path
    overrides: tuple[str, ...] = ()
    vary: tuple[str, ...] = ()
    arms: tuple[str, ...] = ()
    matched: tuple[str, ...] = ()
    baseline: str | None = None
    until: str = "distill"


def arms_of(asked: Asked) -> tuple[Arm, ...]:
    """Every arm with a recipe for every seed, all of them valid and ready; one teacher for all seeds unless it is varied or set.

    Raises InputError: --vary or --arm cannot be read, a name twice or the sweep's own, other test images in an arm. RecipeError:
    with all problems.
    """
    base = load(asked.recipe, asked.overrides)
    varied = dict(_varied(text) for text in asked.vary)
    if len(varied) < len(asked.vary):
        raise InputError("a key is varied twice", where="--vary", seen=", ".join(asked.vary), fix="give all its values at once")
    seeds = varied.pop("seed", (str(base.seed),))
    products = [dict(zip(varied, values, strict=True)) for values in product(*varied.values())]
    own = [_Own(_name(one, base), "--vary", tuple(f"{key}={value}" for key, value in one.items())) for one in products]
    own += [_named(text) for text in asked.arms]
    names = [one.name for one in own]
    if long := next((name for name in names if len(name) > MOST_LETTERS), None):
        what, fix = f"the name of an arm has more than {MOST_LETTERS} letters", '--arm "NAME: key=value …" gives it a shorter one'
        raise InputError(what, where="--arm", seen=f"{long[:40]}…", fix=fix)
    if twice := [name for name in names if names.count(name) > 1]:
        raise InputError(f"two arms are called '{twice[0]}'", where="--arm", seen=twice[0], fix="choose another name")
    if own_name := next((name for name in names if _as_folder(name) in _OF_THE_SWEEP or _LIKE_MATCHED.search(name)), None):
        what = "an arm cannot have a name that the sweep itself gives"
        raise InputError(what, where="--arm", seen=own_name, fix="choose another name")
    set_by_hand = {text.partition("=")[0].strip() for text in (*asked.overrides, *(text for one in own for text in one.changes))}
    pinned = base.teacher.seed is None and not set_by_hand & {"teacher", "teacher.seed"}
    shared = [*asked.overrides, *([f"teacher.seed={base.seed}"] if pinned else [])]
    arms = _valid(asked.recipe, shared, own, seeds)
    _require_same_images(arms)
    return arms


def with_epochs(arm: Arm, epochs: int) -> Arm:
    """The arm again, trained for so many epochs."""
    recipes = {seed: _longer(recipe, epochs) for seed, recipe in arm.recipes.items()}
    changes = (*arm.changes, f"distill.epochs={epochs}")
    return replace(arm, name=f"{arm.name} ×{epochs / arm.epochs:.4g} epochs", changes=changes, recipes=recipes, matched=arm.name)


def _longer(recipe: Recipe, epochs: int) -> Recipe:
    return recipe.model_copy(update={"distill": recipe.distill.model_copy(update={"epochs": epochs})})


def chosen(name: str, arms: Sequence[Arm], option: str) -> Arm:
    """Raises InputError: there is no such arm."""
    names = [arm.name for arm in arms]
    if name not in names:
        what = f"no arm '{name}'{did_you_mean(name, names)}"
        raise InputError(what, where=option, seen=name, fix="the arms are " + ", ".join(names))
    return arms[names.index(name)]


class _Own(NamedTuple):
    """What the user wrote for one arm, and by which option."""

    name: str
    option: str
    changes: tuple[str, ...]


def _valid(path: Path, shared: Sequence[str], own: Sequence[_Own], seeds: Sequence[str]) -> tuple[Arm, ...]:
    arms: list[Arm] = []
    wrong: dict[str, RecipeError] = {}
    for name, option, changes in own:
        recipes: dict[int, Recipe] = {}
        left_out: tuple[str, ...] = ()
        for seed in seeds:
            try:
                recipe, left_out = load_arm(path, {"--set": shared, "--vary": [f"seed={seed}"]}, option, changes)
                require_ready(recipe)
                recipes[recipe.seed] = recipe
            except RecipeError as error:
                wrong |= {str(one): one for one in (error, *error.others) if str(one) not in wrong}
        arms.append(Arm(name, changes, left_out, recipes))
    if wrong:
        first, *others = wrong.values()
        first.others = tuple(others)
        raise first
    if len(arms[0].recipes) < len(seeds):
        raise InputError("a seed is given twice", where="--vary", seen=f"seed={','.join(seeds)}", fix="name it once")
    if len(set(folders := [arm.folder(0) for arm in arms])) < len(arms):
        raise InputError("the names of two arms are too alike", where="--arm", seen=", ".join(folders), fix="letters and digits")
    return tuple(arms)


def _require_same_images(arms: Sequence[Arm]) -> None:
    """What is compared image by image must be the same images. Raises InputError."""
    asked = [next(iter(arm.recipes.values())).as_json()["data"] for arm in arms]
    if other := [key for key in asked[0] if key not in _TRAINS_ONLY and any(one[key] != asked[0][key] for one in asked)]:
        raise InputError(
            "arms on other test images cannot be compared",
            where="--vary or --arm",
            seen=", ".join(f"data.{key}" for key in other),
            fix="a sweep for each; with --set every arm gets the same images",
        )


def _varied(text: str) -> tuple[str, tuple[str, ...]]:
    key, equals, values = text.partition("=")
    found = tuple(value.strip() for value in _VALUE.findall(values))
    if not equals or not key.strip() or not found or ",".join(_VALUE.findall(values)) != values or not all(found):
        fix = "--vary distill.method=label,kd,sld"
        raise InputError("--vary takes a dotted key, '=' and values between commas", where="--vary", seen=text, fix=fix)
    if len(set(found)) < len(found):
        raise InputError("--vary has a value twice", where="--vary", seen=text)
    return key.strip(), found


def _named(text: str) -> _Own:
    name, colon, rest = text.partition(":")
    try:
        changes = tuple(shlex.split(rest))
    except ValueError:
        changes = ()
    if not colon or not name.strip() or not changes or any("=" not in one for one in changes):
        fix = '--arm "no feedback: distill.method=ffkd distill.feedback_every=0"'
        raise InputError("--arm takes a name, ':' and key=value, with spaces between", where="--arm", seen=text, fix=fix)
    if any(one.partition("=")[0].strip() == "seed" for one in changes):
        raise InputError("seeds are of all arms, not of one", where="--arm", seen=text, fix="--vary seed=0,1,2")
    return _Own(name.strip(), f"--arm {name.strip()}:", changes)


def _name(values: Mapping[str, str], base: Recipe) -> str:
    """kd, or kd epochs=5: the method by its name alone, other keys by their last part where that is clear."""
    lasts = [key.rpartition(".")[2] for key in values]
    words = [
        value if key == "distill.method" else f"{last if lasts.count(last) == 1 else key}={value}"
        for (key, value), last in zip(values.items(), lasts, strict=True)
    ]
    return " ".join(words) or base.distill.method
