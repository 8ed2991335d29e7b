"""The OpenVINO backend: as onnxverbs, for its CPU plugin. Which precision each layer runs in is read from its execution graph.

Options are those of stable latency: one stream, a fixed number of threads, and float32 where the file is float (on CPUs with AMX
it would else take bfloat16, which flatters it against int8).
"""

import os
import time

from . import onnxrt, probe, timing
from .arrays import write_array
from .problem import Problem, one_line
from .rounds import timed  # noqa: F401  one of the four functions of a backend

# Its types and layers by the names onnxruntime has for them, which the host counts by.
_TYPES = {"f32": "float", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "uint8", "i32": "int32"}
_LAYERS = {"Convolution": "Conv", "GroupConvolution": "Conv", "Deconvolution": "ConvTranspose", "FullyConnected": "Gemm"}


def build(request, files):
    """{"models": {name: {"load_s", "size_mb", "layers", "peak_memory_mb"}}}; see onnxrt.build. One query, of zeros, is run."""
    return {"models": {name: _built(path, request["threads"]) for name, path in _models(request, files)}}


def one_round(request, files):
    """One round of timing.timed_rounds; "turned": the models in the other order, also when they are opened."""
    example, queries = files.array(request["example"]), {}
    models = _models(request, files)
    for name, path in models[::-1] if request["turned"] else models:
        queries[name] = _query(opened(path, request["threads"], len(example), own_process=True), example)
    return timing.timed_rounds(queries, request["plan"], lambda: None)


def infer(request, files):
    """Logits of each of the request's arrays, as an array file of its own. Raises Problem "device": asked for every node as
    written, which it cannot."""
    if not request["optimised"]:
        raise Problem("device", "OpenVINO cannot run every node as written", fix="ask onnxruntime")
    compiled, outputs = opened(files.checked(request["model"]), request["threads"], request["batch"]), []
    for number, described in enumerate(request["inputs"]):
        kept = files.path("logits-%d.npy" % number)
        write_array(kept, run(compiled, files.array(described)))
        outputs.append(files.kept(kept))
    return {"outputs": outputs}


def opened(path, threads, batch=1, own_process=False):
    """A compiled model for ``batch`` images, if the file leaves that free. own_process: see onnxrt.open_session.

    Raises Problem: "environment" (no OpenVINO), "device" (it refuses the file).
    """
    openvino = _runtime()
    try:
        core = openvino.Core()
        model = core.read_model(str(path))
        shape = model.input(0).get_partial_shape()
        if shape.rank.is_static and len(shape) and shape[0].is_dynamic:
            shape[0] = max(1, int(batch))
            model.reshape(shape)
        options = {
            "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": str(int(threads)),
            "INFERENCE_PRECISION_HINT": "f32", "CPU_DENORMALS_OPTIMIZATION": "YES" if own_process else "NO",
            "ENABLE_CPU_PINNING": "NO",
        }  # fmt: skip
        return core.compile_model(model, "CPU", options)
    except RuntimeError as error:
        raise Problem("device", "OpenVINO refuses the model", where=str(path), seen=one_line(error))


def run(compiled, images):
    """Logits of a float32 array [N, 3, H, W]: float32 [N, classes], as many images a query as the model was opened for.

    Raises Problem "device": images of another shape, or not one row an image.
    """
    import numpy

    batch, rows = compiled.input(0).shape[0], []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        filled = numpy.concatenate([part] + [part[-1:]] * (batch - len(part)))
        rows.append(_answer(compiled, filled)[: len(part)])
    if any(row.ndim != 2 for row in rows) or sum(len(row) for row in rows) != len(images):
        raise Problem("device", "the model does not give one row of logits an image", seen=str([row.shape for row in rows[:3]]))
    return numpy.concatenate(rows).astype(numpy.float32) if rows else numpy.zeros((0, 0), numpy.float32)


def executed_layers(compiled):
    """What is executed, in order: [{"op", "name", "provider" (the kernel), "dtype" (it computes in)}]."""
    layers = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        told = {key: str(value.value) for key, value in node.get_rt_info().items()}
        kind = told.get("layerType", node.get_type_name())
        dtype = told.get("runtimePrecision", "")
        if kind in ("Input", "Const", "Output"):
            continue
        fused = told.get("originalLayersNames") or node.get_friendly_name()
        name = fused.split(",")[0].replace("/WithoutBiases", "")
        layers.append({"op": _LAYERS.get(kind, kind), "name": name, "provider": told.get("primitiveType"),
                       "dtype": _TYPES.get(dtype, dtype or None)})  # fmt: skip
    return layers


def _built(path, threads):
    onnxrt.reset_peak_memory()
    start = time.perf_counter()
    compiled = opened(path, threads)
    load_s = time.perf_counter() - start
    _answer(compiled, _zeros(compiled, path))
    return {"load_s": round(load_s, 4), "size_mb": os.path.getsize(path) / 1e6, "peak_memory_mb": probe.peak_memory_mb(),
            "layers": executed_layers(compiled)}  # fmt: skip


def _zeros(compiled, path):
    import numpy

    shape = compiled.input(0).get_partial_shape()
    if len(shape) != 4 or shape.is_dynamic:
        fix = "export it with a fixed height and width"
        raise Problem("device", "the model's input is not [N, channels, height, width]", str(path), str(shape), fix)
    return numpy.zeros(tuple(compiled.input(0).shape), numpy.float32)


def _query(compiled, example):
    """A callable that runs one query: the same input every time, in memory of OpenVINO's own."""
    request, openvino = compiled.create_infer_request(), _runtime()
    _checked(compiled, example)
    request.set_input_tensor(openvino.Tensor(example))
    ask = request.infer

    def one_query():
        ask()

    return one_query


def _answer(compiled, images):
    import numpy

    _checked(compiled, images)
    return numpy.array(compiled({0: images})[0])


def _checked(compiled, images):
    if list(compiled.input(0).shape) != list(images.shape):
        raise Problem("device", "OpenVINO refuses the input", seen="%s, not %s" % (images.shape, compiled.input(0).shape))


def _models(request, files):
    return [(name, files.checked(request["models"][name])) for name in sorted(request["models"])]


def _runtime():
    try:
        import openvino
    except ImportError as error:
        fix = "pip install openvino"
        raise Problem("environment", "OpenVINO cannot be imported", seen=one_line(error), fix=fix)
    return openvino
