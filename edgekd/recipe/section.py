"""Section: the base of every part of a recipe: frozen, strict, no unknown keys, no NaN; and the field types they share."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

_SMALLEST, _LARGEST = 8, 1024  # pixels; below 8 nothing of a network's strides is left


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)


def _name(pattern: str, wanted: str, letters: str) -> AfterValidator:
    def check(text: str) -> str:
        if not re.fullmatch(pattern, text) or text.endswith("."):
            raise ValueError(f"must be {wanted}", f"{letters}; a letter or digit first")
        return text

    return AfterValidator(check)


# Of a recipe, also the name of its run folder; of a target, no dots, because --set paths split at them; of a model or a
# device, looked up in a registry, never imported.
Name = Annotated[
    str, _name(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", "usable as a folder name", "at most 64 letters, digits, '.', '_' and '-'")
]
PlainName = Annotated[str, _name(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "a plain word", "at most 64 letters, digits, '_' and '-'")]
Identifier = Annotated[
    str, _name(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", "a plain name", "at most 128 letters, digits, '.', '_' and '-'")
]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]


def _image_size(value: object) -> int | tuple[int, int]:
    sides: list[Any] = list(value) if isinstance(value, (list, tuple)) else [value, value]
    if len(sides) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) for side in sides):
        raise ValueError("must be a whole number of pixels, or [height, width]")
    if not all(_SMALLEST <= side <= _LARGEST for side in sides):
        raise ValueError(f"must lie in {_SMALLEST}..{_LARGEST} pixels")
    return value if isinstance(value, int) else (sides[0], sides[1])


ImageSize = Annotated[int | tuple[int, int], BeforeValidator(_image_size, json_schema_input_type=int | tuple[int, int])]
