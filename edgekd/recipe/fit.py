"""The student that fits: a ladder of widths and image sizes, of which the target's own measurements choose one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field

from edgekd.core import Gate
from edgekd.recipe.gates import nested
from edgekd.recipe.problem import Problem, Problems
from edgekd.recipe.section import ImageSize, Section

if TYPE_CHECKING:
    from edgekd.recipe.schema import Recipe

# What a student's shape decides and no training changes: metrics of preflight that a bound of the same name in another stage
# asks of the finished student.
_SIZES = (("preflight", "size_mb"), ("build", "size_mb"), ("preflight", "peak_memory_mb"))


def width_or_auto(value: object) -> float | Literal["auto"]:
    """A validator of ``student.width``."""
    if value == "auto":
        return "auto"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("must be auto or a number", "1.0 is the published width; auto: the widest of fit.width that fits")
    if not 0 < value <= 10:
        raise ValueError("must be > 0" if value <= 0 else "must be ≤ 10")
    return float(value)


def _no_rung_twice(value: tuple[Any, ...]) -> tuple[Any, ...]:
    sizes = [(one, one) if isinstance(one, int) else f"{one:g}" if isinstance(one, float) else one for one in value]
    if twice := [one for at, one in enumerate(value) if sizes[at] in sizes[:at]]:
        named = (
            f"{twice[0]:g}" if isinstance(twice[0], float) else str(list(twice[0]) if isinstance(twice[0], tuple) else twice[0])
        )
        raise Problems([Problem((), f"{named} stands twice in the ladder", named, "name each once")])
    return value


class Fit(Section):
    """The ladder that ``student.width: auto`` is chosen from: every width with every image size.

    image_size: of teacher and student; None: only ``data.image_size``. margin: how far below its bound a number must lie.
    """

    width: Annotated[
        tuple[Annotated[float, Field(gt=0, le=10)], ...],
        Field(strict=False, min_length=1, max_length=32),
        AfterValidator(_no_rung_twice),
    ] = (1.4, 1.0, 0.75, 0.5, 0.35)
    image_size: (
        Annotated[tuple[ImageSize, ...], Field(strict=False, min_length=1, max_length=32), AfterValidator(_no_rung_twice)] | None
    ) = None
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.1


@dataclass(frozen=True)
class Rung:
    """A width and an image size of the ladder."""

    width: float
    image_size: int | tuple[int, int]

    @property
    def height_width(self) -> tuple[int, int]:
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else self.image_size

    @property
    def work(self) -> float:
        """width² · pixels: what the multiplications of a convolutional network grow with."""
        height, width_px = self.height_width
        return self.width**2 * height * width_px

    @property
    def name(self) -> str:
        height, width_px = self.height_width
        pixels = f"{height}" if height == width_px else f"{height}x{width_px}"
        return f"width {self.width:g} at {pixels} px"


def with_ladder(data: object) -> object:
    """A recipe's keys, with the ladder that ``student.width: auto`` has where none is written."""
    student = data.get("student") if isinstance(data, Mapping) else None
    if isinstance(data, dict) and isinstance(student, Mapping) and student.get("width") == "auto" and data.get("fit") is None:
        return {**data, "fit": Fit()}
    return data


def require_ladder_makes_sense(recipe: Recipe) -> None:
    """Raises Problems: a ladder nothing is chosen from, weights of one width, no bound to choose by, a size that is not used."""
    fit, student = recipe.fit, recipe.student
    if student.width != "auto":
        if fit is not None:
            what = f"fit is the ladder of student.width: auto, and student.width is {student.width:g}"
            raise Problems([Problem(("fit",), what, None, "student.width: auto, or leave fit out", on="key")])
        return
    if student.weights != "none":
        what = f"student.weights: {student.weights} are of one width, and student.width: auto chooses one"
        raise Problems([Problem(("student", "weights"), what, student.weights, "weights: none, or the width as a number")])
    if not any(bounds_to_fit(recipe, target) for target in recipe.targets):
        what = "student.width: auto chooses by what the target can bear, and no gate bounds latency, memory or size there"
        first = next(iter(recipe.targets), "cpu")
        fix = f"gates: {{benchmark: {{{first}: {{latency_ms: {{p90: {{max: 5}}}}}}}}}}, or the width as a number"
        raise Problems([Problem(("student", "width"), what, "auto", fix)])
    sizes = [Rung(1.0, size).height_width for size in (fit.image_size if fit and fit.image_size else ())]
    if sizes and recipe.data.height_width not in sizes:
        what = "data.image_size is not among fit.image_size, which is what teacher and student are given"
        seen = str(recipe.data.image_size)
        raise Problems([Problem(("data", "image_size"), what, seen, "one of fit.image_size, or leave fit.image_size out")])


def ladder(recipe: Recipe) -> tuple[Rung, ...]:
    """Every rung, most work first; of equal work the wider. Empty for a student whose width is a number."""
    if recipe.fit is None:
        return ()
    rungs = [Rung(width, size) for width in recipe.fit.width for size in recipe.fit.image_size or (recipe.data.image_size,)]
    return tuple(sorted(rungs, key=lambda rung: (rung.work, rung.width), reverse=True))


def at_rung(recipe: Recipe, rung: Rung) -> Recipe:
    """The recipe with this width and image size as numbers: an ordinary one, that knows of no ladder."""
    student = recipe.student.model_copy(update={"width": rung.width})
    data = recipe.data.model_copy(update={"image_size": rung.image_size})
    return recipe.model_copy(update={"student": student, "data": data, "fit": None})


def bounds_to_fit(recipe: Recipe, target: str) -> tuple[Gate, ...]:
    """The bounds of a target that no training helps to hold: on latency, memory and size. A waived one decides nothing."""
    sizes: Sequence[Gate] = [
        gate
        for stage, metric in _SIZES
        for gate in recipe.gates_of(stage, target)
        if gate.metric == metric and gate.bound == "max" and gate.waive is None
    ]
    return (*recipe.latency_bounds(target), *sizes)


def asked_in_full(recipe: Recipe) -> Recipe:
    """The recipe for timing a student that is too slow all the same: its bounds are waived, and no look is cut short. Keys are
    the same."""
    gates = [replace(gate, waive=gate.waive or "how slow it is was asked") for gate in recipe.gate_list()]
    return recipe.model_copy(update={"gates": nested(gates)})
