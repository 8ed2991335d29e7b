"""Inspect: lint one ONNX file of any origin; nothing of it is run, and no other file is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd import targets
from edgekd.core import EnvironmentProblem, InputError, Verdict
from edgekd.core.errors import INSTALL_TRAINING
from edgekd.core.files import sha256_of
from edgekd.core.printable import printable
from edgekd.targets.tensorrt.versions import OLDEST, version_of

if TYPE_CHECKING:
    from edgekd.export.lint import Purpose

_RUNTIMES = ("onnxruntime", "tensorrt")
_FIX = "onnxruntime, tensorrt, tensorrt:VERSION such as tensorrt:8.5, or a device of edgekd devices"


def inspect(model: Path, asked: str | None = None) -> dict[str, Any]:
    """The document of ``edgekd inspect``: {"verdict", "exit_code", "model", "for", "because", "errors", "warnings", "findings",
    "layers"}.

    asked: "onnxruntime", "tensorrt", "tensorrt:8.5", a device; None for what the file shows itself to be for. verdict: FAIL (exit
    code 3) where there are errors, else PASS. Raises InputError: no ONNX file, or no such runtime, version or device;
    EnvironmentProblem: the onnx package is not installed.
    """
    try:
        from edgekd.export import lint
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("onnx", "google"):
            raise
        raise EnvironmentProblem("reading a graph needs the onnx package", seen="not installed", fix=INSTALL_TRAINING) from error
    purpose = None if asked is None else lint.Purpose(*_asked(asked))
    read = lint.read_model(model)
    purposes, because = lint.purposes_of(read) if purpose is None else ([purpose], "as asked")
    found = lint.findings(read, purposes)
    used = {node.domain for node in read.graph.node}
    errors = sum(one.severity == lint.ERROR for one in found)
    return {
        "schema": 1,
        "verdict": (Verdict.FAIL if errors else Verdict.PASS).value,
        "exit_code": 3 if errors else 0,
        "error": None,
        "model": {
            "file": model.name, "sha256": sha256_of(model), "bytes": model.stat().st_size, "nodes": len(read.graph.node),
            "opset": {printable(one.domain) or "ai.onnx": one.version for one in read.opset_import if one.domain in used},
        },
        "for": [_as_json(one, asked) for one in purposes],
        "because": because,
        "errors": errors,
        "warnings": len(found) - errors,
        "findings": [one.as_json() for one in found],
        "layers": [_printable(one) for one in lint.layers(read, purposes)],
    }  # fmt: skip


def _asked(text: str) -> tuple[str, str | None]:
    """(runtime, the oldest TensorRT)."""
    runtime, colon, version = text.partition(":")
    if runtime in _RUNTIMES and not colon:
        return runtime, None
    try:
        if colon:
            if runtime != "tensorrt" or version_of(version) < OLDEST:
                raise InputError(f"edgekd knows no {text}", seen=text, fix=_FIX)
            return runtime, ".".join(map(str, version_of(version)))
        device = targets.profile(text)
    except InputError as error:
        fix = error.fix if error.what.endswith(" device") else _FIX
        raise InputError(error.what, where="--for", seen=error.seen, fix=fix) from error
    return device.runtimes[0], _oldest(list(device.tensorrt.values()))


def _oldest(versions: Sequence[str]) -> str | None:
    known = [version_of(one) for one in versions if version_of(one) >= OLDEST]
    return ".".join(map(str, min(known))) if known else None


def _as_json(purpose: Purpose, asked: str | None) -> dict[str, Any]:
    device = {"device": asked} if asked and asked.partition(":")[0] not in _RUNTIMES else {}
    return {"runtime": purpose.runtime, "tensorrt": purpose.tensorrt, **device}


def _printable(layer: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value and printable(value) for key, value in layer.items()}
