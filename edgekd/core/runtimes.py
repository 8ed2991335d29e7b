"""The names of the runtimes that a target can have: two come with edgekd, others by an entry point of an installed package.

A package adds one in its metadata, as edgekd itself does for OpenVINO:

    [project.entry-points."edgekd.runtimes"]
    openvino = "edgekd.targets.openvino:RUNTIME"

What it leads to is an ``edgekd.targets.cpu_runtime.CpuRuntime``. It is imported when a target uses it, never to read a recipe.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points

GROUP = "edgekd.runtimes"
BUILT_IN = ("onnxruntime", "tensorrt")


@cache
def added() -> dict[str, EntryPoint]:
    """By name, of all installed packages; those that come with edgekd cannot be replaced."""
    return {one.name: one for one in entry_points(group=GROUP) if one.name not in BUILT_IN}


def names() -> tuple[str, ...]:
    return (*BUILT_IN, *sorted(added()))
