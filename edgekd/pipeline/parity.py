"""Parity: do two ONNX files give the same answers on the same images, and where in the network do they part?"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd import export, targets
from edgekd.core import EnvironmentProblem, InputError, Measurement, paired_drop, share
from edgekd.core.errors import INSTALL_TRAINING
from edgekd.core.files import sha256_of
from edgekd.pipeline.parity_images import Images, images_for
from edgekd.stages.accuracy import right
from edgekd.stages.apart import Execution, apart
from edgekd.stages.signal import parity as compared

LOOKED_INTO = 16  # images whose inner tensors are compared
# Below these a rounding of float32, float16 or int8 alone does not explain a tensor: sound students were at 90 dB and more, at 62
# and more, and at 22 and more.
ROUNDING_DB = {"float32": 60.0, "float16": 40.0, "int8": 20.0}
_AS_WRITTEN, _OPTIMISED = "every node as written", "optimised"


def parity(
    first: Path, second: Path, *, images: Path | None = None, recipe: Path | None = None, preprocessing: Path | None = None,
    layers: bool = False, say: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:  # fmt: skip
    """The document of ``edgekd parity``: {"models", "images", "measurements", "layers", ...}.

    Both run with every node as written; a file and itself: as written, and optimised by onnxruntime. images, recipe,
    preprocessing: see ``images_for``. measurements: agreement, SQNR and largest difference of the logits, and, where the images
    have the models' labels, top1 of both and the paired drop. layers: see ``_layers``, or None. Raises InputError: files that
    are no models of one image batch, take different inputs, have different classes or, with ``layers``, no tensor in common.
    """
    files = [targets.read_onnx(path) for path in (first, second)]
    _require_equal("the two models take different inputs", files, [list(one.one_query[1:]) for one in files])
    itself = sha256_of(first) == sha256_of(second)
    given = images_for(files[0].one_query[1:], images, recipe, preprocessing)
    logits, threads = [], len(os.sched_getaffinity(0))
    for file, optimised in zip(files, (False, itself), strict=True):
        say(f"running {file.path.name} on {given.said}")
        parts = [export.run_onnx(file.path, one, optimised=optimised, threads=threads) for one in given.chunks()]
        logits.append(np.concatenate(parts))
    _require_equal("the two models have different classes", files, [one.shape[1] for one in logits])
    ran = [_AS_WRITTEN, _OPTIMISED if itself else _AS_WRITTEN]
    labelled = given.labels is not None and given.classes == logits[0].shape[1]
    if layers:
        say("comparing tensors inside")
    return {
        "schema": 1, "verdict": None, "exit_code": 0, "error": None,
        "models": [
            {"file": str(file.path), "sha256": sha256_of(file.path), "computes_in": _kind(file), "ran": how}
            for file, how in zip(files, ran, strict=True)
        ],
        "images": {"said": given.said, "n": given.count, "labels": labelled, "classes": logits[0].shape[1]},
        "measurements": [one.as_json() for one in _measured(logits, given.labels if labelled else None)],
        "layers": _layers(files, given, itself=itself) if layers else None,
    }  # fmt: skip


def _require_equal(what: str, files: list[targets.OnnxFile], seen: list[Any]) -> None:
    if seen[0] != seen[1]:
        where = " and ".join(str(one.path) for one in files)
        raise InputError(what, where=where, seen=f"{seen[0]} and {seen[1]}", fix="give two models of the same task")


def _kind(file: targets.OnnxFile) -> str:
    return "int8" if file.quantized else "float16" if file.half else "float32"


def _measured(logits: list[NDArray[np.float32]], labels: NDArray[np.int64] | None) -> list[Measurement]:
    found = [*compared("parity", *logits)]
    if labels is not None:
        rights = [right(one, labels) for one in logits]
        found += [share(f"top1.{name}", one) for name, one in zip(("first", "second"), rights, strict=True)]
        found.append(paired_drop("top1_drop", *rights))
    return found


def _layers(files: list[targets.OnnxFile], given: Images, *, itself: bool) -> dict[str, Any]:
    """{"matched": by "name" or "order", "images", "limit_db", "tensors": [{"tensor", "node", "op", "sqnr_db"}] in the first
    file's order, "parts_at", "worst": one of them, or null}.

    parts_at: the first tensor from which on all are below limit_db; a dip that recovers, as behind equalised channels, is none.
    Of a file and itself: its rounded activations, as an optimised session still has their integers.
    """
    executions, how, makers = (_rounded if itself else _matched)(files)
    (found,) = apart(executions, given.some(LOOKED_INTO))
    if not found:
        where = " and ".join(str(file.path) for file in files)
        if itself:
            what, fix = "no activation of this file is rounded, and of float ones optimising leaves none to see", "give two files"
        else:
            what = "no tensor is in both models"
            fix = "compare each with the file it was made from: these are of different networks, or named by different tools"
        raise InputError(what, where=where, fix=fix)
    rows = [
        {"tensor": tensor, **makers.get(tensor, {}), "sqnr_db": db if np.isfinite(db) else None} for tensor, db in found.items()
    ]
    limit = min(ROUNDING_DB[_kind(file)] for file in files)
    return {
        "matched": how, "images": min(LOOKED_INTO, given.count), "limit_db": limit, "tensors": rows,
        "parts_at": _parts_at(rows, limit), "worst": min(rows, key=_db),
    }  # fmt: skip


_Inside = tuple[list[Execution], str, dict[str, dict[str, str]]]  # what to run, how its tensors were matched, what makes each


def _rounded(files: list[targets.OnnxFile]) -> _Inside:
    _require_onnx()
    executions: list[Execution] = [export.inner_sites(files[0].path, optimised=optimised) for optimised in (False, True)]
    return executions, "name", {}


def _matched(files: list[targets.OnnxFile]) -> _Inside:
    _require_onnx()
    from edgekd.export import lint, matching

    pairs, how = matching.matched(*(lint.Graph(lint.read_model(file.path)) for file in files))
    first = export.inner_tensors(files[0].path, [one.first for one in pairs], optimised=False)
    second = export.inner_tensors(files[1].path, [one.second for one in pairs], optimised=False)
    named = {one.second: one.first for one in pairs}
    executions: list[Execution] = [first, lambda image: {named[tensor]: value for tensor, value in second(image).items()}]
    return executions, how, {one.first: {"node": one.node, "op": one.op} for one in pairs}


def _require_onnx() -> None:
    if find_spec("onnx") is None:
        what = "looking inside a model needs the onnx package"
        raise EnvironmentProblem(what, where="--layers", seen="not installed", fix=INSTALL_TRAINING)


def _db(row: Mapping[str, Any]) -> float:
    return -np.inf if row["sqnr_db"] is None else float(row["sqnr_db"])


def _parts_at(rows: list[dict[str, Any]], limit: float) -> dict[str, Any] | None:
    first = None
    for row in reversed(rows):
        if _db(row) >= limit:
            break
        first = row
    return first
