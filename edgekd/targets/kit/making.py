"""Making a kit: the scripts of every TensorRT, or CPU, that the device may have, and the files they name, as one zipapp."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.core import InputError, canonical_json
from edgekd.core.files import disk_problems
from edgekd.device import build_zipapp, flavour_for
from edgekd.device.archive import PACKAGE
from edgekd.device.kit import CONTENT
from edgekd.targets.client import Connection, array_bytes, in_chunks
from edgekd.targets.cpu import CHUNK_BYTES, CpuConnection
from edgekd.targets.kit.asked import AskedTransport
from edgekd.targets.kit.script import Script
from edgekd.targets.plan import MeasuringPlan
from edgekd.targets.target import Target
from edgekd.targets.tensorrt.connection import MOST_BY_PROCESSES, TensorrtConnection
from edgekd.targets.tensorrt.versions import NEWEST, known_releases, version_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MOST_INPUT_BYTES = 512 << 20  # of the images as the device is asked of them
_MAIN = f"import sys\n\nfrom {PACKAGE}.kit import main\n\nsys.exit(main(sys.argv[1:]))\n"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
_CPUS = ({"arch": "aarch64", "isa": []}, {"arch": "x86_64", "isa": []}, {"arch": "x86_64", "isa": ["avx_vnni"]})


@dataclass(frozen=True)
class Asked:
    """What is to be asked of the device. files: by "sketch" or "export" and the device's identity, {precision: ONNX file}, the
    target's own first, or None where one is missing. preflight, benchmark: one example and the plans, the glance first. inputs:
    of the test images, in the chunks of the benchmark."""

    files: Callable[[str, Mapping[str, Any]], Mapping[str, Path] | None]
    sketch_example: NDArray[np.float32]
    glance: MeasuringPlan
    preflight: MeasuringPlan
    example: NDArray[np.float32]
    benchmark: MeasuringPlan
    inputs: Sequence[NDArray[np.float32]] | Iterator[NDArray[np.float32]]


def most_images(target: Target, image_bytes: int) -> int:
    """How many test images a kit of this target takes along; image_bytes: of one, as float32."""
    fit = max(1, MOST_INPUT_BYTES // image_bytes)
    return min(fit, MOST_BY_PROCESSES) if target.builds_engines else fit


def write_kit(output: Path, target: Target, asked: Asked, about: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Write the kit; returns its content, the JSON of kit.json. about: "recipe", "run", "images", "test_images", "new_kit".
    folder: empty, for files on the way. Raises InputError: no version has all its files; the disk is no good."""
    chunks = _kept_inputs(asked.inputs, folder)
    scripts: list[list[dict[str, Any]]] = []
    chosen_by: dict[str, int] = {}
    for name, connection, identity in _devices(target, folder):
        calls = _script(connection, identity, asked, chunks, int(about["images"]), folder)
        if calls is None:
            continue
        if calls not in scripts:
            scripts.append(calls)
        chosen_by[name] = scripts.index(calls)
    if not scripts:
        what = "no TensorRT of this device has all its files in the run"
        raise InputError(what, where=target.name, fix="run the pipeline again, then make the kit")
    agent = build_zipapp()
    used = sorted(set(_files_in(scripts)))
    files = {one: {"suffix": _suffix(folder / one), "bytes": (folder / one).stat().st_size} for one in used}
    content = {
        "schema": 1, "target": target.name, "device": target.profile.name, "runtime": target.runtime, **about,
        "agent": hashlib.sha256(agent).hexdigest(), "files": files, "scripts": scripts, "chosen_by": chosen_by,
        "newest": {str(major): newest[1] for major, newest in NEWEST.items()},
    }  # fmt: skip
    _write(output, content, agent, folder)
    return content


def _devices(target: Target, folder: Path) -> Iterator[tuple[str, Connection, Mapping[str, Any]]]:
    """(what chooses the script, a connection to nothing, the identity it told) of every device this one may turn out to be."""
    if not target.builds_engines:
        for cpu in _CPUS:
            here = AskedTransport({"identity": cpu, "conditions": {}, "said": {}}, folder)
            yield flavour_for(dict(cpu)), CpuConnection(target, here), cpu
        return
    oldest = version_of(target.tensorrt) if target.tensorrt else (0, 0)
    for major, minor in (one for one in known_releases() if one >= oldest):
        number = major * (10000 if major >= 10 else 1000) + minor * 100
        said = {"trtexec": "trtexec", "trtexec_banner": f"&&&& RUNNING TensorRT.trtexec [TensorRT v{number}] # trtexec"}
        tensorrt = TensorrtConnection(target, AskedTransport({"identity": {}, "conditions": {}, "said": said}, folder))
        yield f"{major}.{minor}", tensorrt, tensorrt.probe()["identity"]


def _script(
    connection: Connection, identity: Mapping[str, Any], asked: Asked, chunks: Sequence[Sequence[str]], images: int, folder: Path
) -> list[dict[str, Any]] | None:
    """The calls of preflight, build and benchmark, as those stages make them."""
    sketch, files = asked.files("sketch", identity), asked.files("export", identity)
    if sketch is None or files is None:
        return None
    script, own, engines = Script(connection, folder), next(iter(files)), connection.target.builds_engines
    script.build("preflight", sketch)
    script.measure("preflight", {own: sketch[own]}, asked.sketch_example, asked.glance)
    script.measure("preflight", sketch, asked.sketch_example, asked.preflight)
    script.build("student", files if engines else {own: files[own]})
    for name in dict.fromkeys((own, "fp32")):
        script.infer("student", name, files[name], chunks, images)
    script.measure("student", files, asked.example, asked.benchmark)
    if not engines:
        script.infer("student", own, files[own], chunks, images, optimised=False)
    return script.calls


def _kept_inputs(inputs: Sequence[NDArray[np.float32]] | Iterator[NDArray[np.float32]], folder: Path) -> list[list[str]]:
    """The arrays as files named by their sha256; those of one call of the agent together."""
    calls = []
    for chunk in inputs:
        names = []
        for part in in_chunks(chunk, CHUNK_BYTES):
            content = array_bytes(part)
            names.append(hashlib.sha256(content).hexdigest())
            with disk_problems(folder):
                (folder / names[-1]).write_bytes(content)
        calls.append(names)
    return calls


def _files_in(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for one in value:
            yield from _files_in(one)
    elif isinstance(value, dict):
        if "$file" in value:
            yield str(value["$file"])
        yield from _files_in(list(value.values()))


def _suffix(path: Path) -> str:
    with path.open("rb") as file:
        return ".npy" if file.read(6) == b"\x93NUMPY" else ".onnx"


def _write(output: Path, content: Mapping[str, Any], agent: bytes, folder: Path) -> None:
    aside = output.with_name(f".{output.name}.tmp")
    try:
        with disk_problems(output), aside.open("wb") as file:
            file.write(b"#!/usr/bin/env python3\n")
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as kit, zipfile.ZipFile(io.BytesIO(agent)) as room:
                for name in (one for one in room.namelist() if one != "__main__.py"):
                    _add(kit, name, room.read(name))
                _add(kit, "__main__.py", _MAIN.encode())
                _add(kit, CONTENT, canonical_json(content).encode())
                _add(kit, "edgekd.pyz", agent)
                for sha256, one in content["files"].items():
                    with kit.open(_entry(f"files/{sha256}{one['suffix']}"), "w", force_zip64=True) as member:
                        member.write((folder / sha256).read_bytes())
        with disk_problems(output):
            aside.chmod(0o755)
            aside.replace(output)
    finally:
        aside.unlink(missing_ok=True)


def _add(kit: zipfile.ZipFile, name: str, content: bytes) -> None:
    kit.writestr(_entry(name), content)


def _entry(name: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, _LONG_AGO)
    entry.create_system, entry.external_attr, entry.compress_type = 3, 0o100644 << 16, zipfile.ZIP_DEFLATED
    return entry
