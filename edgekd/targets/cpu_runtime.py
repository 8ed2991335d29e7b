"""CpuRuntime: what edgekd must know of a runtime that opens ONNX files on a CPU, to build, time and ask with it on any target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import edgekd.device
from edgekd.core import EnvironmentProblem, InputError
from edgekd.core.runtimes import BUILT_IN, GROUP, added, names
from edgekd.device import flavour_for

PRECISIONS = ("fp32", "int8")
_ROOM = Path(edgekd.device.__file__).parent


@dataclass(frozen=True)
class CpuRuntime:
    """A runtime, as the entry point of its name leads to it.

    packages: distributions whose versions there are part of who the device is. backend: its side of the work, a Python file that
    travels to the device: Python 3.6 syntax, importing numpy and the runtime only inside functions, with ``build``, ``timed``,
    ``one_round`` and ``infer`` as ``edgekd/device/onnxverbs.py`` has them. int8_flavour: which int8 file it is to run, by the
    device's identity and by whether the network gates its own activations (x * sigmoid(x): HardSwish, SiLU). flavours: what that
    may be beside "ort" and "ort-w7", which every run makes.
    """

    packages: tuple[str, ...]
    backend: Path
    int8_flavour: Callable[[Mapping[str, Any], bool], str]
    flavours: tuple[str, ...] = ()

    @property
    def comes_with_edgekd(self) -> bool:
        return self.backend.parent == _ROOM


_ONNXRUNTIME = CpuRuntime((), _ROOM / "onnxverbs.py", lambda identity, gated: flavour_for(dict(identity)))  # probed always


@cache
def cpu_runtime(name: str) -> CpuRuntime:
    """Raises InputError: none of this name, or it is not for CPUs; EnvironmentProblem: the package that brings it is broken."""
    if name == "onnxruntime":
        return _ONNXRUNTIME
    if name in BUILT_IN or name not in added():
        raise InputError(
            "no such runtime for CPUs", seen=name, fix=f"one of: {', '.join(one for one in names() if one != 'tensorrt')}"
        )
    try:
        runtime = added()[name].load()
    except (ImportError, AttributeError) as error:
        raise _broken(name, str(error)) from error
    if not isinstance(runtime, CpuRuntime):
        raise _broken(name, f"{added()[name].value} is a {type(runtime).__name__}, not an edgekd.targets.cpu_runtime.CpuRuntime")
    return runtime


def _broken(name: str, seen: str) -> EnvironmentProblem:
    fix = "reinstall the package that brings it, or leave this runtime out of the recipe"
    return EnvironmentProblem(f"the runtime {name} of an installed package cannot be used", where=GROUP, seen=seen, fix=fix)
