"""Cuts and grafts on quantized ONNX graphs whose pairs are named NAME/quantize, NAME/dequantize: to break one rule at a time."""

from onnx import helper, numpy_helper

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def node(model, kind, where=lambda node: True):
    return next(node for node in model.graph.node if node.op_type == kind and where(node))


def put(model, name, value):
    tensor = next(one for one in model.graph.initializer if one.name == name)
    tensor.CopyFrom(numpy_helper.from_array(value, name))


def take_out(model, pair):
    """Remove the pair of nodes with this name: whoever read it reads its source."""
    nodes = {node.name: node for node in model.graph.node}
    first, second = nodes[f"{pair}/quantize"], nodes[f"{pair}/dequantize"]
    for node in model.graph.node:
        node.input[:] = [first.input[0] if one == second.output[0] else one for one in node.input]
    model.graph.node.remove(first)
    model.graph.node.remove(second)


def put_in(model, tensor, grid_of):
    """A pair behind a tensor, on another pair's grid."""
    grid = list(next(node for node in model.graph.node if node.name == f"{grid_of}/quantize").input[1:])
    place = next(number for number, node in enumerate(model.graph.node) if tensor in node.output) + 1
    for node in model.graph.node:
        node.input[:] = ["again" if one == tensor else one for one in node.input]
    model.graph.node.insert(place, helper.make_node(QUANTIZE, [tensor, *grid], ["again.q"], name="again/quantize"))
    model.graph.node.insert(place + 1, helper.make_node(DEQUANTIZE, ["again.q", *grid], ["again"], name="again/dequantize"))


def conv_output(model, name):
    return node(model, "Conv", lambda node: node.name == name).output[0]
