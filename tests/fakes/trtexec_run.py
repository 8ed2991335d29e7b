"""What the fake does with a loaded engine: queries computed by onnxruntime and really timed, exports in each version's form."""

import json
import os
import re
import time
from pathlib import Path


def run(trtexec, about, body):
    """The rest of a run that loads an engine. trtexec: the Run, for its options, version and voice."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(body, options, providers=["CPUExecutionProvider"])
    inputs = {one.name: _input(trtexec, one, np) for one in session.get_inputs()}
    trtexec.say("I", "Starting inference")
    queries = _queries(trtexec, lambda: session.run(None, inputs))
    _summary(trtexec, [one["computeMs"] for one in queries])
    for option, content in _exports(trtexec, about, queries):
        _export(trtexec, option, content)
    outputs = dict(zip([one.name for one in session.get_outputs()], session.run(None, inputs), strict=True))
    if "exportOutput" in trtexec.taken:
        _export(trtexec, "exportOutput", _output_json(outputs))
    if "dumpRawBindingsToFile" in trtexec.taken:
        for way, tensors in (("input", inputs), ("output", outputs)):
            for name, array in tensors.items():
                dims = ".".join(map(str, array.shape))
                Path(f"{re.sub('[^0-9A-Za-z._,-]', '_', name)}.{way}.{dims}.fp32.raw").write_bytes(array.tobytes())


def _input(trtexec, one, np):
    """From --loadInputs, of exactly its size; random values without."""
    given = trtexec.taken.get("loadInputs")
    if given is None:
        trtexec.say("I", f"Using random values for input {one.name}")
        return np.random.default_rng(0).normal(size=one.shape).astype(np.float32)
    name, _, path = given.rpartition(":")
    if name != one.name:
        trtexec.stop(f"Cannot find input tensor with name {name} in the engine bindings!")
    size, has = 4 * int(np.prod(one.shape)), Path(path).stat().st_size if Path(path).exists() else None
    if has != size:
        said = f"Unexpected file size for input file: {path}. Note: Input binding size is: {size} bytes but the file has {has}."
        if has is None:
            said = f"Cannot open file {path}!"
        if trtexec.version < (8, 6):  # nobody catches it there; 8.2 and 8.4 would even take a short file
            print(f"terminate called after throwing an instance of 'std::invalid_argument'\n  what():  {said}", flush=True)
            os.abort()
        trtexec.stop(f"Uncaught exception detected: {said}")
    return np.fromfile(path, "<f4").reshape(one.shape)


def _queries(trtexec, query):
    """Warm-up by time, then as many as asked for and as long as asked for; up to 8.4 the warm-up's are listed with the others."""
    taken = trtexec.taken
    warm_up, duration = float(taken.get("warmUp", 200)), 1e3 * float(taken.get("duration", 3))
    least, listed, warmed = int(taken.get("iterations", 10)), [], 0
    began = time.perf_counter()
    while True:
        start = (time.perf_counter() - began) * 1e3
        warm = start < warm_up
        if not warm and len(listed) >= least and start >= warm_up + duration:
            break
        query()
        end = (time.perf_counter() - began) * 1e3
        listed += [] if warm and not trtexec.version < (8, 5) else [_query(start, end, trtexec.version)]
        warmed += warm
        least += warm and trtexec.version < (8, 5)
    trtexec.say("I", f"Warmup completed {warmed} queries over {warm_up:g} ms")
    trtexec.say("I", f"Timing trace has {len(listed)} queries over {(time.perf_counter() - began):g} s")
    return listed


def _query(start, end, version):
    times = {"startEnqMs": start, "endEnqMs": start, "startH2dMs": start, "endH2dMs": start, "startComputeMs": start,
             "endComputeMs": end, "startD2hMs": end, "endD2hMs": end, "h2dMs": 0, "computeMs": end - start, "d2hMs": 0,
             "latencyMs": end - start}  # fmt: skip
    return {**times, "endToEndMs": end - start} if version < (8, 4) else times


def _summary(trtexec, times):
    asked = trtexec.taken.get("percentile", "99" if trtexec.version < (8, 5) else "90,95,99").split(",")
    ordered = sorted(times)
    shares = [
        f"percentile({one}%) = {ordered[min(len(ordered) - 1, int(len(ordered) * float(one) / 100))]:g} ms" for one in asked
    ]
    values = (ordered[0], ordered[-1], sum(ordered) / len(ordered), ordered[len(ordered) // 2])
    plain = [f"{name} = {value:g} ms" for name, value in zip(("min", "max", "mean", "median"), values, strict=True)]
    trtexec.say("I", "=== Performance summary ===")
    trtexec.say("I", f"Throughput: {len(times) / sum(times) * 1e3:g} qps")
    for name in ("Latency", "GPU Compute Time"):
        trtexec.say("I", f"{name}: {', '.join([*plain, *shares])}")
    trtexec.say("I", f"Total Host Walltime: {sum(times) / 1e3:g} s")


def _exports(trtexec, about, queries):
    if "exportTimes" in trtexec.taken:
        nan = trtexec.how == "nan"
        rows = [
            ", ".join(f'"{name}" : {"nan" if nan and name == "computeMs" else f"{value:.6g}"}' for name, value in one.items())
            for one in queries
        ]
        yield "exportTimes", "[\n  { " + " }\n, { ".join(rows) + " }\n]\n"
    if "exportLayerInfo" in trtexec.taken:
        yield "exportLayerInfo", '{"Layers": ' + json.dumps(about["layers"], indent=2) + ',\n"Bindings": ["input", "logits"]}\n'
    if "exportProfile" in trtexec.taken:
        rows = [f'  {{ "count" : {len(queries)} }}']
        for layer in about["layers"]:
            median = "" if trtexec.version < (8, 4) else '"medianMs" : 0.01, '
            name = json.dumps(layer if isinstance(layer, str) else layer["Name"])
            share = f'{median}"percentage" : {100 / len(about["layers"]):g}'
            rows.append(f', {{ "name" : {name}, "timeMs" : {0.01 * len(queries):g}, "averageMs" : 0.01, {share} }}')
        yield "exportProfile", "[\n" + "\n".join(rows) + "\n]\n"


def _output_json(outputs):
    rows = [
        f'{{ "name" : "{name}"\n  , "dimensions" : "{"x".join(map(str, array.shape))}"\n'
        f'  , "values" : [ {", ".join(f"{value:.6g}" for value in array.ravel())} ]\n  }}'
        for name, array in outputs.items()
    ]
    return "[\n  " + "\n, ".join(rows) + "\n]\n"


def _export(trtexec, option, content):
    """A failing export is silent."""
    if trtexec.how != "no json":
        cut = trtexec.how == "cut json" or (trtexec.how == "cut profile" and option == "exportProfile")
        Path(trtexec.taken[option]).write_text(content[: len(content) // 2] if cut else content)
