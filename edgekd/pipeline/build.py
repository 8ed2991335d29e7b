"""Build: make of one ONNX file what runs on a device, outside a recipe, and bring it back with everything it depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgekd import __version__, targets
from edgekd.core.files import disk_problems, link_or_copy, make_folder, sha256_of, write_atomic, write_json
from edgekd.pipeline.one_model import Made, OnDevice, described, opened
from edgekd.targets.tensorrt.connection import TensorrtConnection


def build(model: Path, asked: OnDevice, output: Path, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """The document of ``edgekd build``: {"target", "identity", "model", "layers", "files"}.

    files: of a TensorRT device what was written into ``output``: "engine", "log", "layers", "sidecar"; of onnxruntime, which
    opens the ONNX file itself, none. Raises what ``opened`` and a build do.
    """
    file = targets.read_onnx(model)
    with opened(asked, [file]) as (device, make):
        say(f"building {file.path.name}" if device.target.builds_engines else f"opening {file.path.name}")
        made, probed = make(0), device.probe()
        if made.built.removed:
            say(made.built.removed)
        about = described(device, probed)
        files = _kept(device, made, about, output) if isinstance(device, TensorrtConnection) else {}
    return {"schema": 1, "verdict": None, "exit_code": 0, "error": None, **about, "model": made.as_json(),
            "layers": list(made.built.layers), "files": {name: str(path) for name, path in files.items()}}  # fmt: skip


def _kept(device: TensorrtConnection, made: Made, about: Mapping[str, Any], output: Path) -> dict[str, Path]:
    """An engine says nothing of itself: what it was built from, by and for stands beside it."""
    make_folder(output)
    stem = f"{made.model.path.stem}.{made.precision.replace('+', '-')}.{about['target']['device']}"
    kept = {"engine": f"{stem}.engine", "log": f"{stem}.log", "layers": f"{stem}.layers.json", "sidecar": f"{stem}.json"}
    files = {name: output / file for name, file in kept.items()}
    with disk_problems(output):
        files["sidecar"].unlink(missing_ok=True)  # of an engine that is no longer there, if this is cut short
        files["engine"].unlink(missing_ok=True)
        link_or_copy(made.built.file, files["engine"])
    write_atomic(files["log"], made.built.log)
    write_json(files["layers"], list(made.built.layers))
    identity = about["identity"]
    device_facts = {key: identity.get(key) for key in ("module", "soc", "l4t", "jetpack", "cuda")}
    write_json(
        files["sidecar"],
        {
            **device.sidecar(made.precision, made.source).as_json(), "edgekd": __version__, "device": about["target"]["device"],
            **device_facts, "via": device.installed.by, "model": made.as_json(),
            "engine": {"file": files["engine"].name, "sha256": sha256_of(files["engine"])},
        },
    )  # fmt: skip
    return files
