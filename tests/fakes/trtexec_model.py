"""What the fake builder accepts, and what it makes of it: TensorRT's rules for files, an engine's bytes, its layers."""

import hashlib
import json

CEILING = {(8, 2): 13, (8, 5): 17, (8, 6): 17, (10, 0): 20, (11, 0): 20}  # the newest opset, from this version on
# As users' reports give them; from 10.13 on made up.
SERIALIZATION = {(8, 2): 205, (8, 4): 213, (8, 5): 232, (8, 6): 228, (10, 0): 236, (10, 3): 239, (10, 13): 242, (10, 16): 244,
                 (11, 0): 250}  # fmt: skip
_HEAVY = {"Conv": "CaskConvolution", "Gemm": "CaskGemmMatrixMultiply", "MatMul": "CaskGemmMatrixMultiply"}
_IMPORTED = {
    "Add", "AveragePool", "Cast", "Clip", "Concat", "Constant", "Conv", "DequantizeLinear", "Flatten", "Gemm",
    "GlobalAveragePool", "HardSigmoid", "LeakyRelu", "MatMul", "MaxPool", "Mul", "QuantizeLinear", "ReduceMean", "Relu",
    "Reshape", "Sigmoid", "Slice", "Transpose",
}  # fmt: skip


class Refused(Exception):
    """why: "op", "zero point", "rules", "int8 missing", "int8 alone"; text: of which the words are made."""

    def __init__(self, why, text=""):
        super().__init__(why)
        self.why, self.text = why, text


def accepted(path, version, taken):
    """The ONNX model, or Refused."""
    import onnx
    import tensorrt_rules
    from onnx import TensorProto

    model = onnx.load(path)
    nodes = model.graph.node
    newest = next(opset for since, opset in reversed(CEILING.items()) if version >= since)
    for number, node in enumerate(nodes):
        if node.op_type not in _IMPORTED:
            raise Refused("op", (number, node.op_type, node.output[0]))
    strong = "stronglyTyped" in taken or version >= (11,)
    quantized = any(node.op_type == "QuantizeLinear" for node in nodes)
    halves = any(one.data_type == TensorProto.FLOAT16 for one in model.graph.initializer)
    if quantized:
        broken = tensorrt_rules.broken_rules(model, newest, TensorProto.FLOAT16 if halves else TensorProto.FLOAT)
    else:
        broken = list(tensorrt_rules._Graph(model)._file(newest))
    if any("zero point" in rule for rule in broken):
        raise Refused("zero point")
    if halves and not strong:
        broken.append("float16 in the file, and types are chosen by options")
    try:  # a strongly typed network is typed by its file: what is mixed there without a Cast is not told apart by the builder
        onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    except onnx.shape_inference.InferenceError as error:
        broken.append(f"types of the file: {error}")
    if broken:
        raise Refused("rules", "; ".join(broken))
    if quantized and not strong and "int8" not in taken:
        raise Refused("int8 missing")
    if not quantized and "int8" in taken:
        raise Refused("int8 alone")
    return model


def plan_of(model, version, capability, taken):
    """An engine's bytes: the header every version has, then, where the real ones keep what is theirs, our own. taken: the
    builder's options."""
    body, detailed = model.SerializeToString(), taken.get("profilingVerbosity") == "detailed"
    layers = layers_of(model, version, half="fp16" in taken) if detailed else layer_names(model)
    about = {"serialization": _of(SERIALIZATION, version), "capability": capability, "layers": layers,
             "quantized": any(node.op_type == "QuantizeLinear" for node in model.graph.node),
             "sha256": hashlib.sha256(body).hexdigest()}  # fmt: skip
    told = json.dumps(about).encode()
    header = b"ftrt" + bytes(20) + bytes((*version, 0)[:4]) + bytes(4)
    return header + len(told).to_bytes(8, "little") + told + body


def read_plan(content):
    """(about, ONNX bytes) of an engine; None for what is none, or cut."""
    size = int.from_bytes(content[32:40], "little")
    if content[:4] != b"ftrt" or len(content) < 40 + size:
        return None
    about, body = json.loads(content[40 : 40 + size]), content[40 + size :]
    return (about, body) if hashlib.sha256(body).hexdigest() == about["sha256"] else None


def serialization(version):
    return _of(SERIALIZATION, version)


def _of(table, version):
    return next(value for since, value in reversed(table.items()) if version >= since)


def layer_names(model):
    """As --exportLayerInfo lists them where the engine was not built with detailed verbosity."""
    return [name for name, _ in _listed(model)]


def layers_of(model, version, half):
    """As --exportLayerInfo lists them in detail. half: whether an option let the builder take float16 for what is float32."""
    from onnx import TensorProto, shape_inference

    graph = shape_inference.infer_shapes(model).graph
    kinds = {one.name: one.type.tensor_type.elem_type for one in (*graph.value_info, *graph.input, *graph.output)}
    made, listed = {node.output[0]: node for node in model.graph.node}, []
    for name, node in _listed(model):
        source = made.get(node.input[0])
        while source is not None and source.op_type in ("Flatten", "Reshape"):
            source = made.get(source.input[0])
        int8 = source is not None and source.op_type == "DequantizeLinear"
        half_side = half or kinds.get(node.output[0]) == TensorProto.FLOAT16
        plain = "Channel major FP16 format where channel % 8 == 0" if half_side else "Row major linear FP32"
        kind = "Thirty-two wide channel vectorized row major Int8 format" if int8 else plain
        tensor = {"Location": "Device", "Dimensions": [1, 16, 8, 8]}
        layer = {
            "Name": name, "LayerType": _HEAVY.get(node.op_type, "PointWiseV2"),
            "Inputs": [{"Name": node.input[0], **tensor, "Format/Datatype": kind}],
            "Outputs": [{"Name": node.output[0], **tensor, "Format/Datatype": plain}],
            "TacticValue": "0x0000000000000000",
        }  # fmt: skip
        if node.op_type in _HEAVY:
            layer["ParameterType"] = "Convolution" if node.op_type == "Conv" else "MatrixMultiply"
            layer["Weights"] = {"Type": "Int8" if int8 else "Half" if half_side else "Float", "Count": 432}
        listed.append({**layer, "StreamId": 0, "Metadata": f"[ONNX Layer: {name}]"} if version >= (8, 6) else layer)
    return listed


def _listed(model):
    """(name, node) of what is a layer of its own."""
    silent = ("QuantizeLinear", "DequantizeLinear", "Constant")
    for number, node in enumerate(model.graph.node):
        if node.op_type not in silent:
            yield node.name or f"{node.op_type}_{number}", node
