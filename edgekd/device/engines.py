"""The TensorRT engines in a bundle: which one is for this machine, why the others are not, and how one is asked.

manifest["engines"]: [{"path", "target", "device", "module", "precision", "flavour", "tensorrt", "compute_capability", "onnx",
"sha256"}, ...]. An engine runs on the kind of GPU, and with the TensorRT, that built it. flavour: of the ONNX file it was built
from, whose golden logits it is held to.
"""

import threading
import weakref

from . import cuda, integrity, plan_header, tensorrt_log
from .problem import Problem
from .system import read
from .tensorrt_engine import Engine

FLAVOUR = "tensorrt"  # what load() calls whichever engine is this machine's
_NEEDED = ("path", "flavour", "precision")


def listed(manifest):
    """The manifest's engines, [] of a bundle that has none. Raises Problem "integrity": entries of another shape."""
    engines = manifest.get("engines", [])
    texts = isinstance(engines, list) and all(
        isinstance(one, dict) and all(isinstance(one.get(name), str) for name in _NEEDED) for one in engines
    )
    if not texts:
        raise Problem("integrity", "the manifest describes engines in another way", where=integrity.MANIFEST)
    return engines


def own(folder, manifest):
    """(this machine's engine or None, {path: Problem} why each of the others is not). Raises Problem "integrity": it is damaged.

    Of several that can run here the one built on this very module comes first: its kernels were chosen by timing them there.
    """
    found = [(engine, refusal(folder, manifest, engine)) for engine in listed(manifest)]
    tree = read("/proc/device-tree/compatible")
    fitting = sorted((engine for engine, why in found if why is None), key=lambda one: str(one.get("module")) not in tree)
    return (fitting[0] if fitting else None), {engine["path"]: why for engine, why in found if why is not None}


def refusal(folder, manifest, engine):
    """Why this machine cannot run that engine: a Problem, whose ``seen`` tells what it is for and what is here. None: it can.

    Asked in the order of cost: the version of TensorRT's module, the GPU, then the file's own header. Raises Problem
    "integrity": the file is not the manifest's.
    """
    code, fix = "input", "build it again on this machine, from the ONNX file it was built from"
    try:
        trt = tensorrt_log.module()
        running = tensorrt_log.version(trt)
        here = "TensorRT %d.%d.%d" % running
        if str(engine.get("tensorrt")).split(".")[:3] == here.split(" ")[1].split("."):
            capability = cuda.load().compute_capability()
            here = "compute capability %s" % capability
            if engine.get("compute_capability") == capability:
                plan_header.check(integrity.checked(folder, manifest, engine["path"]), running)
                return None
    except Problem as problem:
        if problem.code == "integrity":
            raise
        code, fix = problem.code, problem.fix
        here = problem.what + (" (%s)" % problem.seen if problem.seen else "")
    wanted = (engine.get("tensorrt") or "unknown", engine.get("compute_capability") or "unknown", engine.get("device") or "?")
    seen = "it is for TensorRT %s, compute capability %s (%s); here: %s" % (wanted + (here,))
    return Problem(code, "this engine cannot run here", engine["path"], seen, fix)


def opened(path):
    """A function that gives the logits, float32 [N, classes], of float32 [N, 3, H, W]; several threads may call it.

    The GPU's memory is given back when the function is no longer held. Raises Problem: "environment", "device", see Engine.
    """
    trt = tensorrt_log.module()
    engine = Engine(trt, cuda.load(), tensorrt_log.logger(trt), path)
    lock = threading.Lock()  # one stream and one pair of buffers

    def run(inputs):
        with lock:
            return engine.run(inputs)

    weakref.finalize(run, engine.close)
    return run
