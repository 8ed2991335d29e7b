"""One ONNX file on one device, outside a recipe: who is asked, and what is built there of it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd import targets
from edgekd.core import InputError
from edgekd.core.files import sha256_of, write_atomic
from edgekd.targets.tensorrt.connection import TensorrtConnection
from edgekd.targets.tensorrt.precision import is_possible, own_precision, require_possible


@dataclass(frozen=True)
class OnDevice:
    """device: as a recipe would name it, or an alias. precision: of the first model, and of others that can have it; None for
    what each file is. hosts: of --host; NAME= may be left out, as there is one device."""

    device: str
    precision: str | None = None
    threads: int = 1
    hosts: tuple[str, ...] = ()
    ssh_config: Path | None = None
    python: str = "python3"
    clocks: str = "as-is"


@dataclass(frozen=True)
class Made:
    """What was built of a model. precision: it runs in. sha256: of the model; source, source_sha256: what was sent, of one image
    where the batch is free; it is there as long as the device is ``opened``."""

    model: targets.OnnxFile
    precision: str
    sha256: str
    source: Path
    source_sha256: str
    built: targets.Built

    def as_json(self) -> dict[str, Any]:
        built = self.built
        sent = {} if self.source_sha256 == self.sha256 else {"built_from_sha256": self.source_sha256}
        return {
            "file": self.model.path.name, "sha256": self.sha256, **sent, "input": list(self.model.one_query),
            "precision": self.precision, "size_mb": built.size_mb, "build_s": built.build_s, "reused": built.reused,
            **({"removed": built.removed} if built.removed else {}), "peak_memory_mb": built.peak_memory_mb,
            "layers": counted(built),
        }  # fmt: skip


def counted(built: targets.Built) -> dict[str, Any]:
    """{"executed", "int8", "float": [names of the convolutions and matrix products that compute in floating point]}."""
    floating = [str(layer["name"]) for layer in targets.float_layers(built.layers)]
    return {"executed": len(built.layers), "int8": len(targets.int8_layers(built.layers)), "float": floating}


@dataclass(frozen=True)
class _Spec:
    """``targets.TargetSpec``, of nobody's recipe."""

    device: str
    runtime: str
    precision: str
    threads: int
    python: str
    clocks: str
    required: str = "always"
    tensorrt: str | None = None
    host: str | None = None


@contextmanager
def opened(asked: OnDevice, models: Sequence[targets.OnnxFile]) -> Iterator[tuple[targets.Connection, Callable[[int], Made]]]:
    """The device, and what builds there the model of this number; the files are gone afterwards.

    Raises InputError before the device is asked where it, its host or a precision cannot be; DeviceError or EnvironmentProblem
    where it cannot be used.
    """
    device = _profile(asked)
    if asked.clocks == "lock" and "tensorrt" not in device.runtimes:
        what = f"the clocks of {device.name} cannot be locked from here"
        raise InputError(what, where="--lock-clocks", fix="leave it out; on a Jetson jetson_clocks does it")
    precisions = _precisions(asked, models, device.runtimes[0])
    specs = [_Spec(device.name, device.runtimes[0], one, asked.threads, asked.python, asked.clocks) for one in precisions]
    resolved = [_resolved(model, spec) for model, spec in zip(models, specs, strict=True)]
    reach = targets.reach_of({device.name: specs[0]}, _hosts(asked, device), asked.ssh_config)
    if targets.why_not_measured({device.name: specs[0]}, reach):
        fix = "--host [user@]HOST, or any name of your ssh config"
        raise InputError("this device is another machine, and no host is given", where="--target", seen=asked.device, fix=fix)
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder, targets.connect(resolved[0], reach) as connection:
        yield connection, lambda number: _made(models[number], precisions[number], connection, Path(folder))


def described(device: targets.Connection, probed: Mapping[str, Any]) -> dict[str, Any]:
    """The "target" and "identity" of a document."""
    target = device.target
    about = {"device": target.profile.name, "runtime": target.runtime, "threads": target.threads, "clocks": target.clocks}
    return {"target": about, "identity": probed["identity"]}


def _profile(asked: OnDevice) -> targets.Profile:
    try:
        return targets.profile(asked.device)
    except InputError as error:
        raise InputError(error.what, where="--target", seen=error.seen, fix=error.fix) from error


def _precisions(asked: OnDevice, models: Sequence[targets.OnnxFile], runtime: str) -> list[str]:
    """onnxruntime runs a file as it is, where it can in int8 and else in float32; TensorRT as asked, if the file allows it."""
    own = [own_precision(one) if runtime == "tensorrt" else "int8" if one.quantized else "fp32" for one in models]
    wanted = asked.precision
    if wanted is None:
        return own
    if runtime == "onnxruntime":
        if wanted != own[0]:
            what = f"onnxruntime runs the file as it is, and this one is {own[0]}"
            raise InputError(what, where="--precision", seen=wanted, fix="leave --precision out, or give another file")
        return own
    require_possible(models[0], wanted)
    return [wanted, *(wanted if is_possible(one, wanted) else ours for one, ours in zip(models[1:], own[1:], strict=True))]


def _resolved(model: targets.OnnxFile, spec: _Spec) -> targets.Target:
    try:
        return targets.resolve(spec.device, spec)
    except InputError as error:
        fix = (error.fix or "").replace("precision: ", "--precision ")
        raise InputError(error.what, where=str(model.path), seen=error.seen, fix=f"{fix}, with a file that allows it") from error


def _hosts(asked: OnDevice, device: targets.Profile) -> list[str]:
    """As NAME=DEST, whichever of its names the device was given by."""
    given = []
    for text in asked.hosts:
        name, sign, host = text.rpartition("=")
        if sign and name.lower() not in {one.lower() for one in (device.name, asked.device, *device.aliases)}:
            fix = f"--host {host}: there is one device here"
            raise InputError("--host names another device than --target", where="--host", seen=text, fix=fix)
        given.append(f"{device.name}={host}")
    if len(given) > 1:
        raise InputError("one device has one host", where="--host", seen=" ".join(asked.hosts), fix="give --host once")
    return given


def _made(model: targets.OnnxFile, precision: str, device: targets.Connection, folder: Path) -> Made:
    source, digest = model.path, sha256_of(model.path)
    if isinstance(device, TensorrtConnection):
        require_possible(model, precision, device.installed.release)
        if model.shape[0] is None:
            source = folder / f"{digest[:16]}.onnx"
            write_atomic(source, targets.with_one_image(model))
    return Made(model, precision, digest, source, sha256_of(source), device.build({precision: source})[precision])
