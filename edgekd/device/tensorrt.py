"""The TensorRT backend by its Python API: build, timed and infer, as every backend offers them. For 8.5 and newer."""

import contextlib
import os
import re
import time

from . import cuda, engine_cache, tensorrt_build, tensorrt_log, timing
from .arrays import write_array
from .integrity import write_aside
from .problem import Problem, one_line
from .tensorrt_engine import Engine

_OTHER_MODULE = "across different models of devices"  # a warning of TensorRT; such an engine is slow, or fails later


def build(request, files):
    """Make an engine of each model, unless this device has built it before.

    Request and reply are those of trtexec.build, so that the host need not care which of the two built: the same words, a log of
    the same form with the same verdict, status 0 or 1, the layers as TensorRT's inspector lists them. There is no profile.
    """
    return {"models": {name: _built(one, files) for name, one in sorted(request["models"].items())}}


def timed(request, files, sample):
    """The rounds of timing.timed_rounds, in milliseconds of computing on the GPU, as its own events tell them.

    request["models"]: {name: engine described, with "words", of which --warmUp=MS counts here: so long all run before the first
    round. "launched": "graph" where every engine can be captured as a CUDA graph, else "enqueue" for all: models are compared,
    so they are launched alike. "before": the conditions once everything is warm.
    """
    trt, runtime = tensorrt_log.module(), cuda.load()
    example = files.array(request["example"])
    with contextlib.ExitStack() as held:
        engines, graphs = {}, {}
        for name, described in sorted(request["models"].items()):
            path = files.checked(described)
            engines[name] = held.enter_context(_own(trt, runtime, path))
            graphs[name] = held.enter_context(engines[name].graph(example))
        together = all(graphs.values())
        queries = {name: one.query(graphs[name] if together else None) for name, one in engines.items()}
        _warm_up(queries, request["models"])
        before = sample()
        rounds = timing.timed_rounds(queries, request["plan"], sample)
    return dict(rounds, before=before, launched="graph" if together else "enqueue")


def infer(request, files):
    """Logits of each of the request's arrays, float32 [N, classes], as an array file of its own. "batch": images a query."""
    trt, runtime = tensorrt_log.module(), cuda.load()
    outputs = []
    with _own(trt, runtime, files.checked(request["engine"])) as engine:
        for number, described in enumerate(request["inputs"]):
            path = files.path("logits-%d.npy" % number)
            write_array(path, engine.run(files.array(described), int(request.get("batch", 1))))
            outputs.append(files.kept(path))
    return {"outputs": outputs}


def _own(trt, runtime, path):
    """The opened engine. Raises Problem "device", besides Engine's: TensorRT warns that another module's was built for it."""
    logger = tensorrt_log.logger(trt)
    since = len(logger.lines)
    engine = Engine(trt, runtime, logger, path)
    for line in logger.lines[since:]:
        if _OTHER_MODULE in line:
            engine.close()
            what = "the engine was built on another module with the same compute capability"
            raise Problem("device", what, os.path.basename(path), one_line(line), "build it again, on this device")
    return engine


def _warm_up(queries, models):
    """Run all in turn until clocks that rise with load have risen."""
    words = [word for one in models.values() for word in one.get("words", ()) if re.match(r"--warmUp=\d+$", word)]
    until = time.monotonic() + max([int(word.partition("=")[2]) for word in words] or [0]) / 1e3
    while time.monotonic() < until:
        for query in queries.values():
            query()


def _built(model, files):
    source, there = files.checked(model["onnx"]), engine_cache.reused(model["sidecar"], files)
    if there:
        return dict(there, reused=True, status=0)
    trt, runtime = tensorrt_log.module(), cuda.load()  # first of all a driver, so that its absence is told in plain words
    with engine_cache.building(model["timing_key"], os.path.getsize(source)) as folder:
        begun = time.monotonic()
        made = _make(trt, runtime, source, model["words"], folder)
        build_s = round(time.monotonic() - begun, 3)
        if not made:
            return engine_cache.failed(os.path.join(folder, engine_cache.LOG), 1, build_s, files)
        kept = engine_cache.keep(folder, model["sidecar"], model["timing_key"], build_s, files)
    return dict(kept, reused=False, status=0)


def _make(trt, runtime, source, words, folder):
    """Build into ``folder``, load what was built, list its layers. True, or False with the reason in the log, which has the
    form of trtexec's, with its verdict as the last line."""
    log, engine, timing_cache = (
        os.path.join(folder, name) for name in (engine_cache.LOG, engine_cache.ENGINE, engine_cache.TIMING)
    )
    logger, number = tensorrt_log.logger(trt), tensorrt_log.version_number(tensorrt_log.version(trt))
    since, banner = len(logger.lines), "edgekd.tensorrt [TensorRT v%d] # %s" % (number, " ".join(words))
    begun = time.monotonic()
    plan, learned = tensorrt_build.plan_of(trt, logger, source, words, _bytes_of(timing_cache))
    if plan is not None:
        logger.add("I", "Engine built in %g sec." % (time.monotonic() - begun))
        write_aside(engine, lambda file: file.write(plan))
        write_aside(timing_cache, lambda file: file.write(learned))
        with Engine(trt, runtime, logger, engine) as opened:  # it is built only if it can be loaded
            layers = opened.layers_json().encode("utf-8")
        write_aside(os.path.join(folder, engine_cache.LAYERS), lambda file: file.write(layers))
    verdict = "FAILED" if plan is None else "PASSED"
    lines = ["&&&& RUNNING " + banner] + logger.lines[since:] + ["&&&& %s %s" % (verdict, banner)]
    write_aside(log, lambda file: file.write("".join(line + "\n" for line in lines).encode("utf-8", "replace")))
    return plan is not None


def _bytes_of(path):
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return b""
