"""Asking what a target is loads nothing heavy: `edgekd check` and a run that reuses everything depend on it."""

import subprocess
import sys

import edgekd.targets

HEAVY = ("torch", "numpy", "onnxruntime", "PIL", "pydantic", "onnx")


def test_importing_the_room_loads_nothing_heavy():
    code = f"import sys, edgekd.targets; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout == "[]\n"


def test_every_public_name_is_there():
    assert all(hasattr(edgekd.targets, name) for name in edgekd.targets.__all__)
