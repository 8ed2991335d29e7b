"""Section: the base of every part of a recipe: frozen, strict, no unknown keys, no NaN; and the field types they share."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False, hide_input_in_errors=True)


def _name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text) or text.endswith("."):
        raise ValueError(
            "must be usable as a folder name: letters, digits, '.', '_' and '-', at most 64, starting with a letter or digit"
        )
    return text


def _plain_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", text):
        raise ValueError("must be letters, digits, '_' and '-', at most 64, starting with a letter or digit")
    return text


def _identifier(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", text):
        raise ValueError("must be a plain name: letters, digits, '.', '_' and '-'")
    return text


Name = Annotated[str, AfterValidator(_name)]  # of a recipe: also the name of its run folder
PlainName = Annotated[str, AfterValidator(_plain_name)]  # of a target: no dots, because --set paths split at them
Identifier = Annotated[str, AfterValidator(_identifier)]  # of a model or a device: looked up in a registry, never imported
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
