"""Make a bundle: a folder an app can load and anyone can check. The same inputs give the same bytes: no times, no places.

manifest.json            canonical JSON: every other file with sha256 and bytes, the models, how many classes
manifest.json.sha256     the manifest's own hash, as sha256sum writes it
preprocessing.json labels.json MODEL_CARD.md edgekd.pyz
models/*.onnx            one a flavour; and what ``for_devices`` brings: files an app does not load, such as those for TensorRT
models/<target>/student.<precision>.engine   what a connected device built, ran and measured; it runs on such a device only
golden/inputs.npy        uint8 [K, H, W, 3]
golden/logits-<flavour>.npy   float32 [K, classes]; of an engine's flavour too: what its ONNX file gives, as written
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import __version__
from edgekd.bundle.card import Card, card_text
from edgekd.bundle.engine import Engine
from edgekd.core import Artifact, InputError, canonical_json
from edgekd.core.files import disk_problems, write_atomic
from edgekd.device import build_zipapp
from edgekd.device.onnxmeta import read_metadata

SCHEMA = 1
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")  # a flavour or a file name that is the same on every file system
# What the manifest says of a flavour. 7-bit weights: on x86 without VNNI or AMX, u8 x s8 sums saturate in 16 bits.
_FLAVOURS: Mapping[str, tuple[str, int, str]] = {
    "fp32": ("fp32", 32, "any CPU, as the reference"),
    "ort": ("int8", 8, "onnxruntime on Arm, and on x86 with VNNI or AMX"),
    "ort-w7": ("int8", 7, "onnxruntime on x86 without VNNI or AMX"),
}


def make(
    folder: Path,
    *,
    name: str,
    models: Sequence[tuple[str, Path]],
    preprocessing: Mapping[str, Any],
    labels: Sequence[str],
    golden_images: NDArray[np.uint8],
    golden_logits: Mapping[str, NDArray[np.float32]],
    card: Card,
    for_devices: Mapping[str, Path | str] = MappingProxyType({}),
    engines: Sequence[Engine] = (),
) -> tuple[Artifact, ...]:
    """Write a bundle into ``folder``, which must be new or empty; returns an artifact a file, its kind being its path.

    models: (flavour, ONNX file); flavours "fp32", "ort", "ort-w7". golden_images: uint8 [K, H, W, 3] at the size of
    ``preprocessing["image_size"]``. golden_logits: by flavour, those of engines too, float32 [K, classes], as onnxruntime gave
    them here. for_devices: by name below models/, a file or a text. engines: one a target.
    Raises InputError when these do not fit together, DeviceError for an engine that is none; EnvironmentProblem when the disk
    refuses.
    """
    _check(folder, models, preprocessing, labels, golden_images, golden_logits, {one.flavour for one in engines})
    _check_names(folder, [*for_devices, *(path.name for _, path in models), *(one.target for one in engines)])
    for engine in engines:
        engine.check([one for one in for_devices.values() if isinstance(one, Path)])
    described = [_described(flavour, path) for flavour, path in models]
    of_engines = [one.described() for one in engines]
    with disk_problems(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for entry, (_, source) in zip(described, models, strict=True):
            target = folder / entry["path"]
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(source, target)
        for file, content in for_devices.items():
            if isinstance(content, Path):
                shutil.copyfile(content, folder / "models" / file)
            else:
                write_atomic(folder / "models" / file, content)
        for engine in engines:
            (folder / engine.path).parent.mkdir()
            shutil.copyfile(engine.file, folder / engine.path)
    _write(folder / "preprocessing.json", preprocessing)
    _write(folder / "labels.json", list(labels))
    write_atomic(folder / "golden/inputs.npy", _npy(golden_images))
    for flavour, logits in golden_logits.items():
        write_atomic(folder / f"golden/logits-{flavour}.npy", _npy(logits))
    write_atomic(folder / "edgekd.pyz", build_zipapp())
    write_atomic(folder / "MODEL_CARD.md", card_text(name, card, labels, described, of_engines, len(golden_images)))
    return _seal(folder, name, described, of_engines, len(labels))


def _seal(
    folder: Path, name: str, models: list[dict[str, Any]], engines: list[dict[str, Any]], classes: int
) -> tuple[Artifact, ...]:
    """Hash what is there into the manifest, and the manifest into its detached hash."""
    paths = sorted((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.relative_to(folder).as_posix())
    made = [Artifact.of(path.relative_to(folder).as_posix(), path, folder) for path in paths]
    manifest = canonical_json({
        "schema": SCHEMA,
        "name": name,
        "created_by": f"edgekd {__version__}",
        "classes": classes,
        "models": models,
        "engines": engines,
        "files": [{"path": one.path, "sha256": one.sha256, "bytes": one.bytes} for one in made],
    }).encode()  # fmt: skip
    write_atomic(folder / "manifest.json", manifest)
    write_atomic(folder / "manifest.json.sha256", f"{hashlib.sha256(manifest).hexdigest()}  manifest.json\n")
    return (*made, *(Artifact.of(file, folder / file, folder) for file in ("manifest.json", "manifest.json.sha256")))


def _described(flavour: str, path: Path) -> dict[str, Any]:
    precision, bits, meant_for = _FLAVOURS[flavour]
    return {"path": f"models/{path.name}", "flavour": flavour, "precision": precision, "weight_bits": bits, "for": meant_for}


def _write(path: Path, value: Any) -> None:
    write_atomic(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _npy(array: NDArray[Any]) -> bytes:
    content = io.BytesIO()
    np.lib.format.write_array(content, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
    return content.getvalue()


def _check_names(folder: Path, names: Sequence[str]) -> None:
    if len(set(names)) != len(names) or not all(_PLAIN.fullmatch(name) for name in names):
        raise InputError("files of a bundle need different, plain names", where=str(folder), seen=", ".join(names))


def _check(
    folder: Path,
    models: Sequence[tuple[str, Path]],
    preprocessing: Mapping[str, Any],
    labels: Sequence[str],
    images: NDArray[np.uint8],
    logits: Mapping[str, NDArray[np.float32]],
    of_engines: set[str],
) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            "a bundle is made in a new or empty folder", where=str(folder), fix="choose another, or remove what is there"
        )
    flavours, names = [flavour for flavour, _ in models], [path.name for _, path in models]
    if not models or not set(flavours) <= set(_FLAVOURS) or len(set(flavours)) != len(models) or len(set(names)) != len(models):
        fix = "one file each of: " + ", ".join(_FLAVOURS)
        raise InputError(
            "a bundle needs models of known flavours under different names",
            where=str(folder),
            seen=f"{flavours} {names}",
            fix=fix,
        )
    for flavour, path in models:
        said = read_metadata(path).get("edgekd.flavour", flavour) if path.is_file() and _PLAIN.fullmatch(path.name) else None
        if said != flavour:
            seen = "no file of a plain name" if said is None else f"its metadata says {said}"
            raise InputError(f"this is no {flavour} model", where=str(path), seen=seen)
    if not labels or len(set(labels)) != len(labels):
        raise InputError("labels must be different names, at least one", where="labels", seen=f"{len(labels)} labels")
    shape = (*images.shape[:1], *preprocessing["image_size"], 3)
    if images.dtype != np.uint8 or images.shape != shape or not len(images):
        raise InputError(
            "golden images must be uint8 [K, H, W, 3] at the model's size", where="golden", seen=f"{images.dtype} {images.shape}"
        )
    if set(logits) != {*flavours, *of_engines}:
        seen = f"logits of {sorted(logits)}, models {sorted({*flavours, *of_engines})}"
        raise InputError("every model needs golden logits", where="golden", seen=seen)
    for flavour, one in logits.items():
        if one.dtype != np.float32 or one.shape != (len(images), len(labels)) or not np.isfinite(one).all():
            seen = f"{flavour}: {one.dtype} {one.shape}, {len(images)} images, {len(labels)} labels"
            raise InputError("golden logits must be finite float32 [K, classes]", where="golden", seen=seen)
