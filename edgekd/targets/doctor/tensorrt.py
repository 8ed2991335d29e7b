"""TensorRT as a probe finds it, on a device or on this machine: which, how it is driven, and what its engines take."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from importlib import util
from typing import Any

from edgekd.core import EdgekdError
from edgekd.device import trtexec
from edgekd.targets.cpu import CpuConnection
from edgekd.targets.doctor.check import Check
from edgekd.targets.fits import device_of
from edgekd.targets.profiles import profile
from edgekd.targets.target import Target
from edgekd.targets.tensorrt.installed import installed
from edgekd.targets.transport.local import LocalTransport


def tensorrt_check(where: str, probed: Mapping[str, Any], code: int | None) -> Check:
    """Which version there is, and by which of its two ways it is driven."""
    try:
        found = installed(probed, where)
    except EdgekdError as error:
        state = "wrong" if (probed.get("said") or {}).get("trtexec") else "missing"
        return Check(where, "tensorrt", state, _seen(error), error.fix or "", code)
    version = ".".join(map(str, found.version))
    more = "; its Python API would answer more test images: sudo apt install python3-libnvinfer python3-numpy"
    rest = more if found.backend != "tensorrt" and found.version < (11,) else ""
    return Check(where, "tensorrt", "ok", f"{version}, driven by {found.by}{rest}", "", code)


def engines_check(where: str, said: Mapping[str, Any]) -> Check:
    """What is kept so that nothing is built twice; it is bounded, and may be removed."""
    kept = said.get("engines")
    if not isinstance(kept, Mapping):
        return Check(where, "engines", "ok", "none kept yet")
    taken, most = kept["bytes"] / 1e6, kept["most_bytes"] / 1e6
    seen = f"{kept['engines']} kept in ~/.cache/edgekd/engines, {taken:,.0f} MB of at most {most:,.0f}; removing them is safe"
    return Check(where, "engines", "ok", seen)


def checks_of_a_local_gpu() -> Iterator[Check]:
    """This machine as a TensorRT target, asked by the agent as a device is; nothing where there is no NVIDIA GPU and no TensorRT.

    None of it is needed: recipes without such a target do without.
    """
    if not (shutil.which("nvidia-smi") or trtexec.find() or util.find_spec("tensorrt")):
        return
    here = Target("this machine", profile("local-cpu"), "onnxruntime", "fp32", "always", 1)
    transport = LocalTransport()
    try:
        probed = CpuConnection(here, transport).probe()
    except EdgekdError as error:
        yield Check("here", "tensorrt", "unknown", _seen(error), error.fix or "")
        return
    finally:
        transport.close()
    one = tensorrt_check("here", probed, None)
    pip = f"{shlex.quote(sys.executable)} -m pip install tensorrt, or with trtexec: sudo apt-get install tensorrt"
    yield one if one.state != "missing" else Check("here", "tensorrt", "missing", one.seen, pip)
    yield _device(probed)
    yield engines_check("here", probed.get("said") or {})


def _device(probed: Mapping[str, Any]) -> Check:
    identity, smi = probed["identity"], str((probed.get("said") or {}).get("nvidia_smi") or "")
    known = device_of(identity)
    if known is None or "tensorrt" not in known.runtimes:
        fix = "nvidia-smi must list the GPU: install its driver, or reboot after an update"
        return Check("here", "tensorrt gpu", "wrong", smi.splitlines()[-1] if smi else "no GPU that its driver tells of", fix)
    driver = (smi.splitlines()[0].split(",") + [""] * 3)[2].strip()
    used = os.environ.get("CUDA_VISIBLE_DEVICES")
    told = [
        f"{identity['module']}, compute capability {identity['compute_capability']}", f"driver {driver}" if driver else "",
        f"CUDA_VISIBLE_DEVICES={used}" if used else "", f"in a recipe: device: {known.name}, runtime: tensorrt",
    ]  # fmt: skip
    return Check("here", "tensorrt gpu", "ok", "; ".join(filter(None, told)))


def _seen(error: EdgekdError) -> str:
    return ": ".join(part for part in (error.what, error.seen) if part)
