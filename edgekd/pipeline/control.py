"""What the user asks of one walk beside the recipe: where it starts and stops, what it makes again, what does not stop it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekd.core import InputError
from edgekd.core.nearest import did_you_mean
from edgekd.pipeline import chain
from edgekd.recipe import Recipe


@dataclass(frozen=True)
class Control:
    """start: steps of earlier stages are reused or the walk is refused, its own and later ones are made again. until: the last
        stage. keep_going: a failed gate does not stop the walk. smoke: a handful of images, nothing judged. remeasure: what
        measures on a device is measured again. exams: the run is one of a sweep: no early no, the float networks take an exam
    on the test images, and a step that another run is making is waited for."""

    start: str | None = None
    until: str | None = None
    keep_going: bool = False
    smoke: bool = False
    remeasure: bool = False
    exams: bool = False

    def check(self) -> None:
        """Raises InputError: a stage that does not exist, or a walk that would end before it starts."""
        names = list(chain.STAGES)
        for flag, name in (("--from", self.start), ("--until", self.until)):
            if name is not None and name not in names:
                what = f"unknown stage '{name}'{did_you_mean(name, names)}"
                raise InputError(what, where=flag, seen=name, fix="the stages are " + ", ".join(names))
        if self.start is not None and self.until is not None and names.index(self.start) > names.index(self.until):
            what = f"{self.start} comes after {self.until}, where --until stops"
            raise InputError(what, where="--from", seen=self.start, fix="the order is " + ", ".join(names))

    def takes_as_it_is(self, step: chain.Step) -> bool:
        """Whether the step lies before ``start``: it must be in the store, whatever it measured."""
        names = list(chain.STAGES)
        return self.start is not None and names.index(step.stage.name) < names.index(self.start)

    def makes_again(self, step: chain.Step) -> bool:
        """Whether the step is made although the store may have it."""
        if self.takes_as_it_is(step):
            return False
        return self.start is not None or (self.remeasure and step.stage.per_target)


def requiring(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """The recipe with these targets required: always. Raises InputError for a target it does not have."""
    for name in names:
        if name not in recipe.targets:
            what = f"unknown target '{name}'{did_you_mean(name, recipe.targets)}"
            raise InputError(what, where="--require", seen=name, fix="the recipe's targets are " + ", ".join(recipe.targets))
    required = {name: recipe.targets[name].model_copy(update={"required": "always"}) for name in names}
    return recipe.model_copy(update={"targets": {**recipe.targets, **required}})
