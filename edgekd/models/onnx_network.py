"""A float ONNX file of any framework as a torch network that computes the same, so that it can be quantized as one.

onnxruntime simplifies the file first (its basic level folds constants and shape arithmetic, merges batch norms and explicit pads
into convolutions); what is left is rewritten node by node with the rules of ``onnx_ops``, and both are compared on real images.
"""

from __future__ import annotations

import math
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper
from torch import Tensor, fx, nn

from edgekd.core import InputError
from edgekd.models.onnx_ops import OPS, Refused
from edgekd.models.onnx_reading import REFUSALS, opened, read_whole, reason

LEAST_DB = 60.0  # between the file and the network made of it; float32 sums in another order are at 100 and more
_COMPARED = 8  # images
_QUANTIZED = {
    "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger",
}  # fmt: skip
_UNWANTED = ["MatMulAddFusion"]  # it folds other axes into the batch
_FIX = "export it without that, or give edgekd.quantize the network it was exported from, if that is a torch nn.Module"


def image_shape(path: Path) -> tuple[int, int | None, int | None]:
    """Channels, height and width of the file's one input; a side that is free is None.

    Raises InputError: no such file, not ONNX, weights in a second file, another input than one float32 [N, C, H, W].
    """
    _, model = read_whole(path)
    _, channels, height, width = _sizes(_input(model, path), path)
    if channels is None:
        raise _wrong_input(f"{_input(model, path).name}: its channels are free", path)
    return channels, height, width


def from_onnx(path: Path, images: NDArray[np.float32]) -> fx.GraphModule:
    """The network of a float ONNX classifier: float32 [N,C,H,W] -> what the file answers, [N, classes]; layers have the names of
    the file's nodes. A batch that the file fixes is free here.

    images: float32 [N,C,H,W], what it takes: their size settles free sides, and on the first of them file and network are
    compared. Raises InputError: as ``image_shape``, several outputs, a file that is quantized already, an operator without a rule
    (named, with its node), a network that does not compute what the file does.
    """
    content, model = read_whole(path)
    if held := sorted({node.op_type for node in model.graph.node} & _QUANTIZED):
        fix = "give the float file that it was made from"
        raise InputError("this file is quantized already", where=str(path), seen=", ".join(held), fix=fix)
    if len(model.graph.output) != 1:
        fix = "export the network with its logits as the one output"
        raise InputError(
            f"the file has {len(model.graph.output)} outputs",
            where=str(path),
            seen=", ".join(value.name for value in model.graph.output),
            fix=fix,
        )
    batch = _settle_input(model, images.shape, path)
    walk = _Walk(_simplified(model, path), path, batch)
    network = walk.network(torch.from_numpy(np.ascontiguousarray(images[:1])).repeat(batch, 1, 1, 1))
    _compare(network, content, path, images[:_COMPARED], batch)
    return network


def _input(model: ModelProto, path: Path) -> Any:
    held = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in held]
    if len(inputs) != 1:
        raise _wrong_input(", ".join(value.name for value in inputs) or "none", path)
    return inputs[0]


def _sizes(value: Any, path: Path) -> list[int | None]:
    tensor = value.type.tensor_type
    dims = [dim.dim_value or None for dim in tensor.shape.dim]
    if tensor.elem_type != onnx.TensorProto.FLOAT or len(dims) != 4:
        raise _wrong_input(f"{value.name}: {onnx.TensorProto.DataType.Name(tensor.elem_type)} {dims}", path)
    if dims[3] in (1, 3) and dims[1] not in (1, 3):
        fix = "export it channels first (tf2onnx: --inputs-as-nchw)"
        raise InputError("the file takes images with the channels last", where=str(path), seen=f"{dims}", fix=fix)
    return dims


def _wrong_input(seen: str, path: Path) -> InputError:
    fix = "export the network with one float32 input [N, channels, height, width]; N, height and width may be free"
    return InputError("the file does not take one batch of float32 images", where=str(path), seen=seen, fix=fix)


def _settle_input(model: ModelProto, shape: tuple[int, ...], path: Path) -> int:
    """Fix every side of the input, in the model itself: the batch that it has, or 1. Returns the batch."""
    value = _input(model, path)
    sizes = _sizes(value, path)
    batch = sizes[0] or 1
    if any(size is not None and size != given for size, given in zip(sizes[1:], shape[1:], strict=True)):
        what, seen = "the images have another shape than the file takes", f"{list(shape[1:])}, not {sizes[1:]}"
        raise InputError(what, where=str(path), seen=seen, fix="give calibration images as the network is given them")
    for dim, size in zip(value.type.tensor_type.shape.dim, (batch, *shape[1:]), strict=True):
        dim.dim_value = size
    for known in (*model.graph.output, *model.graph.value_info):  # inferred anew
        known.type.tensor_type.ClearField("shape")
    return batch


def _simplified(model: ModelProto, path: Path) -> ModelProto:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 4
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        options.optimized_model_filepath = str(Path(folder, "simple.onnx"))
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"], disabled_optimizers=_UNWANTED
            )
        except REFUSALS as error:
            fix = "a whole .onnx file of standard operators that this onnxruntime knows"
            raise InputError("onnxruntime refuses the ONNX file", where=str(path), seen=reason(error), fix=fix) from error
        return onnx.load(options.optimized_model_filepath)


class _Walk:
    """Goes through a simplified model's nodes in order and builds the network beside it, computing one batch as it goes: a rule
    needs shapes, and a rule that is wrong is found where it is."""

    def __init__(self, model: ModelProto, path: Path, batch: int) -> None:
        self.model, self.path, self.batch = model, path, batch
        self.opset = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), 0)
        self.constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
        self._root, self._graph = nn.Module(), fx.Graph()
        self._nodes: dict[str, fx.Node] = {}  # by the name of the file's tensor
        self._values: dict[fx.Node, Any] = {}
        self._node = NodeProto()

    def network(self, images: Tensor) -> fx.GraphModule:
        value = _input(self.model, self.path)
        start = self._graph.placeholder("input")
        self._nodes[value.name], self._values[start] = start, images
        with torch.no_grad():
            for node in self.model.graph.node:
                self._one(node)
        self._graph.output(self._nodes[self.model.graph.output[0].name])
        network = fx.GraphModule(self._root, self._graph).eval()
        network.graph.eliminate_dead_code()
        network.delete_all_unused_submodules()
        network.recompile()
        return network

    def _one(self, node: NodeProto) -> None:
        self._node = node
        rule = OPS.get(node.op_type) if node.domain in ("", "ai.onnx") else None
        try:
            if rule is None:
                raise Refused("edgekd has no torch network for this operator")
            made = rule(self, node)
        except Refused as refused:
            seen = f"{f'{node.domain}.' if node.domain else ''}{node.op_type} ({node.name or node.output[0]})"
            raise InputError(str(refused), where=str(self.path), seen=seen, fix=_FIX) from refused
        for name, one in zip(node.output, made if isinstance(made, list) else [made], strict=False):
            self._nodes[name] = one

    def tensor(self, place: int) -> fx.Node:
        """An input that comes from the image. Raises Refused: it is a constant."""
        found = self._nodes.get(self._node.input[place])
        if found is None:
            raise Refused("one of its inputs is a constant where the rule needs a tensor")
        return found

    def is_constant(self, place: int) -> bool:
        return self._node.input[place] in self.constants

    def constant(self, place: int) -> NDArray[Any] | None:
        """A constant input, None where it is left out. Raises Refused: it is computed from the image."""
        name = self._node.input[place] if len(self._node.input) > place else ""
        if name in self._nodes:
            raise Refused("one of its inputs is computed from the image where the rule needs a constant")
        return self.constants[name] if name else None

    def shape(self, node: fx.Node) -> tuple[int, ...]:
        return tuple(self._values[node].shape)

    def module(self, node: fx.Node) -> nn.Module | None:
        return self._root.get_submodule(str(node.target)) if node.op == "call_module" else None

    def layer(self, module: nn.Module, *inputs: fx.Node) -> fx.Node:
        """A call of a module named as the node."""
        name = _identifier(self._node.name or self._node.output[0])
        while hasattr(self._root, name):
            name += "_again"
        self._root.add_module(name, module.eval())
        return self._done(self._graph.call_module(name, inputs), module, *inputs)

    def call(self, function: Any, *given: Any, **named: Any) -> fx.Node:
        """A call of a torch function; arrays among its arguments become buffers."""
        arguments = tuple(self._buffer(one) if isinstance(one, np.ndarray) else one for one in given)
        return self._done(self._graph.call_function(function, arguments, named), function, *arguments, **named)

    def _buffer(self, value: NDArray[Any]) -> fx.Node:
        name = f"constant_{len(self._values)}"
        self._root.register_buffer(name, torch.from_numpy(value.copy()))
        node = self._graph.get_attr(name)
        self._values[node] = self._root.get_buffer(name)
        return node

    def _done(self, made: fx.Node, function: Any, *given: Any, **named: Any) -> fx.Node:
        try:
            self._values[made] = function(*fx.map_arg(given, self._values.__getitem__), **named)
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise Refused(f"torch cannot compute it: {reason(error)}") from error
        return made


def _identifier(name: str) -> str:
    """A name that torch allows for a module."""
    plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")
    return plain if plain and not plain[0].isdigit() and not hasattr(nn.Module, plain) else f"node_{plain}"


def _compare(network: fx.GraphModule, content: bytes, path: Path, images: NDArray[np.float32], batch: int) -> None:
    """Raises InputError: network, given all images at once, and file, in its own batch, differ by more than rounding."""
    session = opened(content, path, torch.device("cpu"))
    name, expected = session.get_inputs()[0].name, []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        filled = np.concatenate([part, *[part[-1:]] * (batch - len(part))])
        try:
            expected.append(session.run(None, {name: filled})[0][: len(part)])
        except REFUSALS as error:
            raise InputError("onnxruntime cannot run the file", where=str(path), seen=reason(error)) from error
    reference = np.concatenate(expected).astype(np.float64)
    try:
        with torch.no_grad():
            answers = network(torch.from_numpy(np.ascontiguousarray(images))).numpy().astype(np.float64)
    except RuntimeError as error:
        seen = f"a batch of {len(images)}: {reason(error)}"
        raise InputError("the file mixes the images of a batch", where=str(path), seen=seen, fix=_FIX) from error
    noise = float(((answers - reference) ** 2).sum()) if answers.shape == reference.shape else math.inf
    apart = math.inf if noise == 0 else 10 * math.log10(max(float((reference**2).sum()), 1e-300) / noise)
    if not apart >= LEAST_DB:
        seen = f"{apart:.0f} dB over {len(images)} images, at least {LEAST_DB:.0f} is rounding"
        raise InputError("the network read from the file does not compute what the file does", where=str(path), seen=seen,
                         fix=_FIX + "; please report the file's operators")  # fmt: skip
