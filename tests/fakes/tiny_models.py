"""Real ONNX files and a real bundle, small enough to make anew in every test. Loaded by conftest files with runpy."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SIZE, CLASSES = 8, 4
SPEC = {
    "image_size": [SIZE, SIZE],
    "resize": {"shorter": SIZE},
    "interpolation": "bilinear",
    "mean": [0.5] * 3,
    "std": [0.25] * 3,
}


def _save(path: Path, nodes, weights, metadata, batch="N", opset=17) -> Path:
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, SIZE, SIZE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, CLASSES])
    initializers = [numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "tiny", [image], [logits], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    helper.set_model_props(model, metadata)
    onnx.save(model, str(path))
    return path


def float_model(path: Path, batch="N", opset=17, **metadata: str) -> Path:
    """Conv, global average, Gemm: two float layers."""
    random = np.random.default_rng(0)
    weights = {"w": random.normal(size=(4, 3, 3, 3)).astype("f4"), "v": random.normal(size=(4, CLASSES)).astype("f4")}
    nodes = [
        helper.make_node("Conv", ["input", "w"], ["c"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "v"], ["logits"], name="fc"),
    ]
    return _save(path, nodes, weights, metadata, batch, opset)


def symmetric_model(path: Path, zero_point: int = 0, op: str | None = None) -> Path:
    """The float model as TensorRT takes it in int8: opset 13, a batch of one, Q/DQ around everything heavy. To break its rules:
    zero_point of the input's pair; op: one that nobody knows, at the end."""
    random = np.random.default_rng(0)
    weights = {
        "w": random.normal(size=(4, 3, 3, 3)).astype("f4"), "v": random.normal(size=(CLASSES, 4)).astype("f4"),
        "s": np.array(1 / 32, "f4"), "z": np.array(zero_point, "i1"), "z0": np.array(0, "i1"),
        "sw": np.full(4, 1 / 32, "f4"), "zw": np.zeros(4, "i1"),
    }  # fmt: skip
    nodes = []

    def rounded(tensor, scale="s", zero="z0", **axis):
        ends = [helper.make_node("QuantizeLinear", [tensor, scale, zero], [tensor + "_q"], name=tensor + "_q", **axis)]
        ends += [helper.make_node("DequantizeLinear", [tensor + "_q", scale, zero], [tensor + "_d"], name=tensor + "_d", **axis)]
        nodes.extend(ends)
        return tensor + "_d"

    x, w = rounded("input", zero="z"), rounded("w", "sw", "zw", axis=0)
    nodes.append(helper.make_node("Conv", [x, w], ["c"], pads=[1, 1, 1, 1], name="conv"))
    nodes.append(helper.make_node("GlobalAveragePool", [rounded("c")], ["p"], name="pool"))
    nodes.append(helper.make_node("Flatten", [rounded("p")], ["f"], name="flat"))
    last = "logits" if op is None else "almost"
    nodes.append(helper.make_node("Gemm", ["f", rounded("v", "sw", "zw", axis=0)], [last], transB=1, name="fc"))
    if op:
        nodes.append(helper.make_node(op, [last], ["logits"], name="odd"))
    return _save(path, nodes, weights, {}, batch=1, opset=13)


def in_half(source: Path, path: Path) -> Path:
    """A file of the above with float16 inside, scales too, and float32 at its ends, as a strongly typed network is given one."""
    model = onnx.load(str(source))
    graph, half, quantized = model.graph, TensorProto.FLOAT16, any(node.op_type == "QuantizeLinear" for node in model.graph.node)
    for one in graph.initializer:
        if one.data_type == TensorProto.FLOAT:
            one.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(one).astype(np.float16), one.name))
    for node in graph.node:
        node.input[:] = ["input_half" if name == "input" else name for name in node.input]
        node.output[:] = ["logits_half" if name == "logits" else name for name in node.output]
    graph.node.insert(0, helper.make_node("Cast", ["input"], ["input_half"], to=half, name="to_half"))
    graph.node.append(helper.make_node("Cast", ["logits_half"], ["logits"], to=TensorProto.FLOAT, name="from_half"))
    model.opset_import[0].version = 19 if quantized else model.opset_import[0].version  # the first with float16 scales
    model.ir_version = 9 if quantized else model.ir_version
    onnx.save(model, str(path))
    return path


def int8_model(path: Path, largest_weight: int, **metadata: str) -> Path:
    """Q/DQ around one 1x1 convolution over all pixels, u8 activations (zero point 0) and s8 weights, all of them the largest:
    bright images drive u8 x s8 sums past 16 bits unless the weights are 7-bit. Then the mean of each channel."""
    signs = np.array([1, -1, 1, 1], "i1")
    weights = {
        "w": (signs[:, None, None, None] * np.full((CLASSES, 3, SIZE, SIZE), largest_weight)).astype("i1"),
        "one": np.array(1 / 64, "f4"), "w_scale": np.array(1 / 127, "f4"), "out": np.array(8.0, "f4"),
        "zero_u8": np.array(0, "u1"), "zero_i8": np.array(0, "i1"), "middle": np.array(128, "u1"),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["input", "one", "zero_u8"], ["q"]),
        helper.make_node("DequantizeLinear", ["q", "one", "zero_u8"], ["x"]),
        helper.make_node("DequantizeLinear", ["w", "w_scale", "zero_i8"], ["wf"]),
        helper.make_node("Conv", ["x", "wf"], ["c"], name="conv"),
        helper.make_node("QuantizeLinear", ["c", "out", "middle"], ["cq"]),
        helper.make_node("DequantizeLinear", ["cq", "out", "middle"], ["cf"]),
        helper.make_node("Flatten", ["cf"], ["logits"]),
    ]
    return _save(path, nodes, weights, metadata)


def bundle(folder: Path, logits_of) -> Path:
    """A bundle with two models, ort-w7 and fp32 (the same float net); logits_of(path, pixels) computes the golden logits."""
    for below in ("models", "golden"):
        (folder / below).mkdir(parents=True)
    pixels = np.random.default_rng(1).integers(0, 256, (6, SIZE, SIZE, 3), dtype=np.uint8)
    np.save(folder / "golden/inputs.npy", pixels)
    models = []
    for flavour, precision in (("ort-w7", "int8"), ("fp32", "fp32")):
        path = f"models/tiny.{flavour}.onnx"
        float_model(folder / path, **{"edgekd.weight_bits": "7"})
        np.save(folder / f"golden/logits-{flavour}.npy", logits_of(folder / path, pixels))
        models.append({"path": path, "flavour": flavour, "precision": precision, "weight_bits": 7, "for": "tests"})
    (folder / "preprocessing.json").write_text(json.dumps(SPEC))
    (folder / "labels.json").write_text(json.dumps(["cat", "dog", "Käfer", "none"]))
    seal(folder, models=models)
    return folder


def seal(folder: Path, **fields) -> None:
    """(Re)write the manifest for the files as they are, with ``fields`` changed."""
    manifest, detached = folder / "manifest.json", folder / "manifest.json.sha256"
    old = json.loads(manifest.read_text()) if manifest.exists() else {"schema": 1, "name": "tiny", "classes": CLASSES}
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in (manifest, detached)]
    files = [{"path": path.relative_to(folder).as_posix(), **_hashed(path.read_bytes())} for path in paths]
    content = json.dumps({**old, "files": files, **fields}, sort_keys=True, separators=(",", ":")).encode()
    manifest.write_bytes(content)
    detached.write_text(_hashed(content)["sha256"] + "  manifest.json\n")


def _hashed(content: bytes) -> dict:
    return {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def add_engine(folder: Path, content: bytes, **facts) -> str:
    """Into a bundle of ``bundle()``, sealed anew: an engine of its float net, with what onnxruntime says of that; its path."""
    described = {
        "path": "models/jetson/student.fp32.engine", "target": "jetson", "device": "jetson-orin-nano-8gb", "module": "p3767-0003",
        "precision": "fp32", "flavour": "fp32-b1", "tensorrt": "10.3.0.30", "compute_capability": "8.7", **facts,
    }  # fmt: skip
    engine = folder / described["path"]
    engine.parent.mkdir(parents=True, exist_ok=True)
    engine.write_bytes(content)
    (folder / f"golden/logits-{described['flavour']}.npy").write_bytes((folder / "golden/logits-fp32.npy").read_bytes())
    known = json.loads((folder / "manifest.json").read_text()).get("engines", [])
    seal(folder, engines=[*known, described])
    return described["path"]
