"""Proof that a bundle is whole and right on this machine: every byte, and every golden case that this machine can run."""

import os
from typing import Any, Dict, List, Tuple, Union

from . import choice, engines, integrity
from .arrays import require_numpy
from .loader import Bundle
from .problem import Problem

# Golden logits on another CPU: integer sums are exact, only requantisation rounds otherwise. Two executions of one quantised
# net were measured 31 dB apart or more and 98 % agreeing; float differs by summation order alone.
LEAST_AGREEMENT = 0.98
LEAST_SQNR_DB = {"int8": 25.0, "fp32": 60.0}
# The same of engines, held to onnxruntime on a CPU running the ONNX file as written. A GPU adds in another order and by other
# algorithms (fp32), rounds sums to half precision (fp16), fuses what the file writes apart and rounds to int8 elsewhere; and
# int8+fp16 turns over roundings by the noise of both. No TensorRT was at hand to measure that. In torch's half precision students
# were 62 dB or more from their float16 file, and from an int8 file with a float16 side 36 dB trained, 22 dB untrained. So each
# limit leaves room below, and is far above what another network gives (0 dB). Golden cases are far from ties: of 32 one may
# change its class.
LEAST_AGREEMENT_OF_ENGINES = 0.95
LEAST_SQNR_DB_OF_ENGINES = {"fp32": 50.0, "fp16": 40.0, "int8": 15.0, "int8+fp16": 15.0}


def verify(path: "Union[str, os.PathLike[str]]") -> List[str]:
    """Every difference between a bundle and what it promises, one line each; [] when it is whole and its golden cases agree.

    First all files; the golden cases of every model are run only when the files are right, and of those only the ones that this
    machine can run: examine() tells which it could not. Raises Problem as load() does, where it can run none.
    """
    return examine(path)[0]


def examine(path: "Union[str, os.PathLike[str]]") -> "Tuple[List[str], Dict[str, Dict[str, Any]], Dict[str, str]]":
    """What verify() finds, what Bundle.golden() gave, and what was not run: (lines, {name: result}, {path: why not}).

    A model's name is its flavour, an engine's its path. The second and third are {} when files differ.
    """
    folder = os.fspath(path)
    manifest = integrity.read_manifest(folder)
    lines = integrity.differences(folder, manifest)
    if lines:
        return lines, {}, {}
    require_numpy()
    results, not_run, missing = {}, {}, None
    for model in choice.models_of(manifest):
        try:
            results[model["flavour"]] = Bundle(folder, manifest, model, 1).golden()
        except Problem as problem:
            if problem.code != "environment":
                raise
            missing, not_run[model["path"]] = problem, "%s (%s)" % (problem, problem.seen)
        else:
            lines += _golden_differences(model, results[model["flavour"]], LEAST_AGREEMENT, LEAST_SQNR_DB)
    refused = {}
    for engine in engines.listed(manifest):
        why = engines.refusal(folder, manifest, engine)
        if why:
            refused[engine["path"]], not_run[engine["path"]] = why, why.seen
            continue
        results[engine["path"]] = Bundle(folder, manifest, engine, 1).golden()
        limits = LEAST_AGREEMENT_OF_ENGINES, LEAST_SQNR_DB_OF_ENGINES
        lines += _golden_differences(engine, results[engine["path"]], *limits)
    if missing and not results:
        raise choice.nothing_runs(folder, missing, refused) if refused else missing
    return lines, results, not_run


def _golden_differences(model, result, least_agreement, least_sqnr_db):
    lines, name = [], "golden cases of %s" % model["path"]
    if result["agree"] < least_agreement * result["cases"]:
        lines.append("%s: %d of %d agree" % (name, result["agree"], result["cases"]))
    least = least_sqnr_db.get(model["precision"], least_sqnr_db["int8"])
    if result["sqnr_db"] is not None and result["sqnr_db"] < least:
        lines.append("%s: SQNR %.1f dB, must be at least %g" % (name, result["sqnr_db"], least))
    return lines
