"""A target in a recipe: which device, what runs on it, how precisely, and whether it must be measured."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from edgekd.core import runtimes
from edgekd.recipe.problem import Problem, Problems
from edgekd.recipe.section import Identifier, Section

_TENSORRT_PRECISIONS = ("fp32", "fp16", "int8", "int8+fp16")


def _runtime(value: str) -> str:
    if (
        value not in runtimes.BUILT_IN and value not in runtimes.names()
    ):  # as of a Literal: which names there are is known only when they are asked for
        expected = " or ".join(f"'{name}'" for name in runtimes.names())
        raise PydanticCustomError("literal_error", "is no runtime", {"expected": expected})
    return value


def _listed(schema: dict[str, Any]) -> None:
    schema["enum"] = list(runtimes.names())


def _tensorrt(value: str) -> str:
    if not re.fullmatch(r"\d{1,2}(\.\d{1,3}){1,3}", value):
        raise ValueError('must be a version in quotes, such as "8.5"')
    return value


def _program(value: str) -> str:
    if not value.strip() or value.startswith("-") or not value.isprintable():
        raise ValueError("must be the name or path of a program", "such as python3 or ~/venv/bin/python")
    return value


class TargetSpec(Section):
    """A device as this recipe uses it. tensorrt: the oldest version its files must build on; None: the oldest the device had.

    precision: None is int8, and fp16 on a device without int8 units.
    host: where it is, [user@]host[:port] or a name of the user's ssh config. python: the interpreter on a device reached by ssh.
    clocks: lock them while it is timed, and restore them.
    """

    device: Identifier
    runtime: Annotated[str, AfterValidator(_runtime), Field(json_schema_extra=_listed)]
    precision: Literal["fp32", "fp16", "int8", "int8+fp16"] | None = None
    required: Literal["always", "when-connected"] = "always"
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    tensorrt: Annotated[str, AfterValidator(_tensorrt)] | None = None
    host: str | None = None
    python: Annotated[str, AfterValidator(_program)] = "python3"
    clocks: Literal["as-is", "lock"] = "as-is"

    @model_validator(mode="after")
    def _parts_fit(self) -> TargetSpec:
        able = _TENSORRT_PRECISIONS if self.runtime == "tensorrt" else ("fp32", "int8")
        if self.tensorrt is not None and self.runtime != "tensorrt":
            what = f"tensorrt names the oldest TensorRT of a target; this one runs {self.runtime}"
            raise Problems([Problem(("tensorrt",), what, self.tensorrt, "leave it out, or use runtime: tensorrt", on="key")])
        if self.precision is not None and self.precision not in able:
            what = f"{self.runtime} targets cannot run precision {self.precision}"
            raise Problems([Problem(("precision",), what, self.precision, f"one of: {', '.join(able)}")])
        return self
