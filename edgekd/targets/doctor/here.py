"""This machine: Python, the packages edgekd runs on, what training needs besides, ssh, and room."""

from __future__ import annotations

import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from edgekd.core import InputError
from edgekd.core.errors import INSTALL_TRAINING
from edgekd.targets.doctor.check import ENVIRONMENT, Check
from edgekd.targets.doctor.tensorrt import checks_of_a_local_gpu
from edgekd.targets.profiles import own_folder, profiles, shipped

_LIGHT = {"numpy": "numpy", "onnxruntime": "onnxruntime", "pillow": "PIL"}  # by the name of the distribution: its module
_OTHERS = ("click", "jinja2", "platformdirs", "pydantic", "rich", "ruamel.yaml")
_TRAINING = ("torch", "torchvision", "onnx", "onnxscript", "safetensors")
_OLDEST = (3, 10)
_LEAST_GB = 1.0  # free: less is used up by one run
_ASK_S = 60.0


def checks_here(*, with_host: bool) -> Iterator[Check]:
    """One after the other, never raising. with_host: a device is to be reached, so ssh is needed."""
    yield _python()
    yield from (_package(name, module) for name, module in _LIGHT.items())
    yield _others()
    yield _training()
    yield _gpu()
    yield from checks_of_a_local_gpu()
    yield _ssh(ENVIRONMENT if with_host else None)
    yield _devices()
    yield _disk()


def _python() -> Check:
    old = sys.version_info < _OLDEST
    fix = f"run edgekd with Python {_OLDEST[0]}.{_OLDEST[1]} or newer" if old else ""
    return Check("here", "python", "wrong" if old else "ok", f"{platform.python_version()} at {sys.executable}", fix, ENVIRONMENT)


def _package(name: str, module: str) -> Check:
    """Imported in a process of its own: a package built for another machine ends the process it is imported in."""
    pip = f"{shlex.quote(sys.executable)} -m pip install"
    version = _version(name)
    if version is None:
        return Check("here", name, "missing", "not installed", f"{pip} {name}", ENVIRONMENT)
    status, said = _asked([sys.executable, "-c", f"import {module}"])
    if status != 0:
        seen = f"{version} cannot be imported: {said or f'status {status}'}"
        return Check("here", name, "wrong", seen, f"{pip} --force-reinstall {name}", ENVIRONMENT)
    return Check("here", name, "ok", version, "", ENVIRONMENT)


def _others() -> Check:
    """By what pip knows; not by what edgekd's own metadata requires, which in a checkout is of the day it was installed."""
    found = {name: _version(name) for name in _OTHERS}
    lacking = [name for name, version in found.items() if version is None]
    if lacking:
        fix = f"{shlex.quote(sys.executable)} -m pip install {' '.join(lacking)}"
        return Check("here", "packages", "missing", f"no {', '.join(lacking)}", fix, ENVIRONMENT)
    told = ", ".join(f"{name} {version}" for name, version in found.items())
    return Check("here", "packages", "ok", told, "", ENVIRONMENT)


def _training() -> Check:
    """By what pip knows: torch takes seconds and hundreds of megabytes to import."""
    found = {name: _version(name) for name in _TRAINING}
    lacking = [name for name, version in found.items() if version is None]
    there = ", ".join(f"{name} {version}" for name, version in found.items() if version is not None)
    if lacking:
        seen = f"no {', '.join(lacking)}" + (f"; {there}" if there else "") + ". Only training and quantizing need it"
        return Check("here", "training", "missing", seen, INSTALL_TRAINING.split("   ")[0])
    return Check("here", "training", "ok", there)


def _gpu() -> Check:
    path = shutil.which("nvidia-smi")
    status, said = _asked([path, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]) if path else (1, "")
    if path is None or (status == 0 and not said):
        return Check("here", "gpu", "ok", "no NVIDIA GPU: training runs on the CPU")
    if status != 0:
        fix = "reinstall the driver, or reboot after its update: nvidia-smi must list the GPU"
        return Check("here", "gpu", "wrong", f"nvidia-smi: {said or f'status {status}'}", fix)
    torch = _version("torch")
    if torch is not None and "+cpu" in torch:
        pip = f"{shlex.quote(sys.executable)} -m pip install --force-reinstall torch torchvision"
        return Check("here", "gpu", "wrong", f"{said}, and torch {torch} is the one without GPUs", pip)
    return Check("here", "gpu", "ok", said)


def _ssh(code: int | None) -> Check:
    path = shutil.which("ssh")
    status, said = _asked([path, "-V"]) if path else (127, "")
    if status != 0:
        return Check("here", "ssh", "missing", said or "not installed", "sudo apt install openssh-client", code)
    return Check("here", "ssh", "ok", said.split(",")[0], "", code)


def _devices() -> Check:
    try:
        own = len(profiles()) - len(shipped())
    except ImportError as error:  # of a package that is told above
        return Check("here", "devices", "unknown", str(error))
    except InputError as error:
        seen = ": ".join(part for part in (str(error), error.seen) if part)
        return Check("here", "devices", "wrong", seen, error.fix or f"mend or remove that file in {own_folder()}", ENVIRONMENT)
    return Check("here", "devices", "ok", f"{len(shipped())} known" + (f", {own} of your own" if own else ""), "", ENVIRONMENT)


def _disk() -> Check:
    try:
        free = shutil.disk_usage(Path.cwd()).free / 1e9
    except OSError as error:
        return Check(
            "here", "disk", "wrong", f"the current folder cannot be used: {error.strerror}", "cd into another", ENVIRONMENT
        )
    little = free < _LEAST_GB
    fix = f"free some space, at least {_LEAST_GB:g} GB" if little else ""
    return Check("here", "disk", "wrong" if little else "ok", f"{free:.1f} GB free in the current folder", fix, ENVIRONMENT)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _asked(words: list[str]) -> tuple[int, str]:
    """(status, the last line it said) of a program; a signal's number is negative."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=_ASK_S, check=False
        )
    except OSError as error:
        return 127, error.strerror or str(error)
    except subprocess.TimeoutExpired:
        return 124, f"no answer in {_ASK_S:.0f} s"
    lines = [line for line in re.split(r"[\r\n]+", done.stdout.decode("utf-8", "replace")) if line.strip()]
    return done.returncode, lines[-1].strip() if lines else ""
