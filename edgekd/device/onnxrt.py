"""The onnxruntime backend: sessions that are right on this CPU, what they really execute, and one query at a time.

Numpy and onnxruntime are imported when first used. Session options are those of stable CPU latency: a fixed number of
threads, sequential execution, where timed denormals as zero (float nets with tiny activations would flatter int8 otherwise).
"""

import contextlib
import glob
import json
import os
import tempfile
import time
from typing import Any

from . import probe
from .onnxmeta import read_metadata
from .problem import Problem, device_code, one_line


def open_session(path, threads=1, optimised=True, profile_prefix=None, own_process=False) -> Any:
    """An onnxruntime session on the CPU. optimised False runs every node as written: the reference for parity.

    own_process: nothing else computes in this process, as in the agent's. Only then are denormals taken as zero, because
    onnxruntime sets that for the calling thread as a whole, and an app's own arithmetic would change with it.

    On x86 without VNNI an 8-bit model is opened with session.x64quantprecision=1: without, sums saturate and are wrong.
    Raises Problem: "environment" (no onnxruntime), "input" (no such file, not ONNX at all), "device" (onnxruntime refuses it).
    """
    onnxruntime, refusals = _runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = int(threads), 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 3
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimised else levels.ORT_DISABLE_ALL
    config = session_config(path, this_identity())
    if not own_process:
        config.pop("session.set_denormal_as_zero", None)
    for key, value in config.items():
        options.add_session_config_entry(key, value)
    if profile_prefix:
        options.enable_profiling, options.profile_file_prefix = True, profile_prefix
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except refusals as error:
        raise _refused("the model", error, str(path))


def session_config(path, identity):
    """The session configuration entries a model file needs on a CPU with this identity ({"arch", "isa"})."""
    config = {"session.set_denormal_as_zero": "1"}
    saturates = probe.needs_seven_bit_weights(identity["arch"], identity["isa"])
    if read_metadata(path).get("edgekd.weight_bits") != "7" and saturates:
        config["session.x64quantprecision"] = "1"
    return config


def this_identity(_known=[]):  # noqa: B006  read once a process
    """{"arch", "isa"} of this machine."""
    if not _known:
        _known.append(probe.identity())
    return _known[0]


def run(session, inputs, batch=1) -> Any:
    """Logits of a float32 array [N, 3, H, W]: float32 [N, classes], ``batch`` images a query (a fixed batch of the model wins).

    Raises Problem "device" where onnxruntime refuses the input, or the output is not one row an image.
    """
    import numpy

    fixed = session.get_inputs()[0].shape[0]
    batch, fixed = (fixed, True) if isinstance(fixed, int) else (max(1, int(batch)), False)
    name, rows = session.get_inputs()[0].name, []
    for start in range(0, len(inputs), batch):
        part = inputs[start : start + batch]
        real = len(part)
        if fixed and real < batch:
            part = numpy.concatenate([part, numpy.repeat(part[-1:], batch - real, axis=0)])
        rows.append(_outputs(session, {name: part})[:real])
    if any(row.ndim != 2 for row in rows) or sum(len(row) for row in rows) != len(inputs):
        raise Problem("device", "the model does not give one row of logits an image", seen=str([row.shape for row in rows[:3]]))
    return numpy.concatenate(rows).astype(numpy.float32) if rows else numpy.zeros((0, 0), numpy.float32)


def query(session, example):
    """A callable that runs one query: the same input every time, allocated once."""
    feed, run_session = {session.get_inputs()[0].name: example}, session.run
    _outputs(session, feed)  # refuses here, with words, and not inside the timed loop

    def one_query():
        run_session(None, feed)

    return one_query


def build(path, threads):
    """Open the model as it will run and say what it is: {"load_s", "size_mb", "layers", "peak_memory_mb"}.

    One query, of zeros, is executed. peak_memory_mb is of the whole process, this model loaded and run.
    """
    reset_peak_memory()
    start = time.perf_counter()
    session = open_session(path, threads)
    load_s = time.perf_counter() - start
    example = _zeros(session, path)
    _outputs(session, {session.get_inputs()[0].name: example})
    peak = probe.peak_memory_mb()
    del session
    return {"load_s": round(load_s, 4), "size_mb": os.path.getsize(path) / 1e6, "peak_memory_mb": peak,
            "layers": executed_layers(path, example, threads)}  # fmt: skip


def _zeros(session, path):
    """One query of zeros in the model's own input shape."""
    import numpy

    shape = session.get_inputs()[0].shape
    if len(shape) != 4 or not all(isinstance(size, int) for size in shape[1:]):
        fix = "export it with a fixed height and width"
        raise Problem("device", "the model's input is not [N, channels, height, width]", str(path), str(shape), fix)
    return numpy.zeros([shape[0] if isinstance(shape[0], int) else 1] + shape[1:], numpy.float32)


def executed_layers(path, example, threads=1):
    """What the optimised session really executes, in order: [{"op", "name", "provider", "dtype" (of the first input)}].

    Taken from onnxruntime's own profile of one query, so it needs no onnx package and sees fused and folded nodes.
    """
    with tempfile.TemporaryDirectory(prefix="edgekd-profile-") as folder:
        session = open_session(path, threads, profile_prefix=os.path.join(folder, "profile"))
        _outputs(session, {session.get_inputs()[0].name: example})
        session.end_profiling()
        del session
        layers = []
        for written in glob.glob(os.path.join(folder, "profile*.json")):
            with open(written) as file:
                layers += parse_profile(json.load(file))
    if not layers:
        raise Problem("device", "onnxruntime's profile names no executed node", where=str(path))
    return layers


def parse_profile(events):
    """The executed nodes of onnxruntime's profile (a list of trace events)."""
    suffix, layers = "_kernel_time", []
    for event in events:
        name, details = event.get("name", ""), event.get("args", {})
        if event.get("cat") == "Node" and name.endswith(suffix):
            inputs = details.get("input_type_shape") or [{}]
            dtype = next(iter(inputs[0]), None)
            op, provider = details.get("op_name"), details.get("provider")
            layers.append({"op": op, "name": name[: -len(suffix)], "provider": provider, "dtype": dtype})
    return layers


def _outputs(session, feed):
    _, refusals = _runtime()
    try:
        return session.run(None, feed)[0]
    except refusals as error:
        raise _refused("the input", error)


def _refused(what, error, where=None):
    code = device_code(str(error))
    verb = "lacks memory for" if code == "device-memory" else "refuses"
    return Problem(code, "onnxruntime %s %s" % (verb, what), where, one_line(error))


def _runtime():
    """The onnxruntime module and the exceptions it raises (each derives from Exception alone)."""
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError as error:
        if device_code(str(error)) == "device-memory":  # too little for any model: it says nothing of this one
            fix = "close other programs, or raise the limit of this process (ulimit -v)"
            raise Problem("device", "there is no memory to load onnxruntime", seen=one_line(error), fix=fix)
        fix = "pip install onnxruntime"
        raise Problem("environment", "onnxruntime cannot be imported", seen=one_line(error), fix=fix)
    own = [value for value in vars(state).values() if isinstance(value, type) and issubclass(value, Exception)]
    return onnxruntime, tuple(own) + (RuntimeError, ValueError)


def reset_peak_memory():
    """Start VmHWM anew for this model, where the kernel allows it."""
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")
