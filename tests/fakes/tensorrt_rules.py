"""The rules TensorRT sets for explicit Q/DQ files, as a list of what a file breaks. Knows ONNX only, not our passes."""

from collections.abc import Iterator

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
PASSING = ("Reshape", "Flatten", "Transpose", "Slice", "Expand", "MaxPool", "Concat")  # scales pass through these
ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "Sigmoid", "HardSigmoid")
GATES = ("Sigmoid", "HardSigmoid")


def broken_rules(model: ModelProto, newest_opset: int, float_type: int = TensorProto.FLOAT) -> list[str]:
    """What the file breaks, one line each; empty for a good one. float_type: of the scales and of everything not int8."""
    return list(_Graph(model).broken(newest_opset, float_type))


class _Graph:
    def __init__(self, model: ModelProto) -> None:
        self.model, self.nodes = model, list(model.graph.node)
        self.maker = {node.output[0]: node for node in self.nodes}
        self.value = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
        self.outputs = {one.name for one in model.graph.output}
        self.depth: dict[str, int] = {}  # convolutions on the longest way to a tensor
        for node in self.nodes:
            self.depth[node.output[0]] = (node.op_type == "Conv") + max((self.depth.get(one, 0) for one in node.input), default=0)

    def readers(self, name: str) -> list[NodeProto]:
        return [node for node in self.nodes if name in node.input]

    def kind(self, name: str) -> str | None:
        return self.maker[name].op_type if name in self.maker else None

    def sources(self, name: str) -> list[str]:
        """The tensors that a moved or joined one is made of."""
        node = self.maker.get(name)
        if node is None or node.op_type not in PASSING:
            return [name]
        data = node.input if node.op_type == "Concat" else node.input[:1]
        return [source for one in data for source in self.sources(one)]

    def before_rounding(self, name: str) -> str:
        """What a pair rounds; the tensor itself, if there is no pair."""
        above = self.maker[name].input[0] if self.kind(name) == DEQUANTIZE else ""
        return self.maker[above].input[0] if self.kind(above) == QUANTIZE else name

    def broken(self, newest_opset: int, float_type: int) -> Iterator[str]:
        yield from self._file(newest_opset)
        for node in self.nodes:
            if node.op_type in (QUANTIZE, DEQUANTIZE):
                yield from self._grid(node, float_type)
            if node.op_type == QUANTIZE:
                yield from self._pair(node)
            elif node.op_type == DEQUANTIZE and self.kind(node.input[0]) != QUANTIZE:
                yield f"{node.name}: alone"
            elif node.op_type in ("Conv", "Gemm"):
                yield from self._weighted(node)
            elif node.op_type in ("GlobalAveragePool", "AveragePool") and not self._is_rounded(node.input[0]):
                yield f"{node.name}: pools what is not quantized"
            elif node.op_type == "Add":
                yield from self._addition(node)
            elif node.op_type == "Concat":
                yield from self._joined(node)
            elif node.op_type == "BatchNormalization":
                yield f"{node.name}: a batch norm is left"
            elif node.op_type == "Clip" and not all(one in self.value for one in node.input[1:]):
                yield f"{node.name}: its ends are no constants"

    def _file(self, newest_opset: int) -> Iterator[str]:
        if [one.domain for one in self.model.opset_import] != [""] or self.model.opset_import[0].version > newest_opset:
            yield f"opset {self.model.opset_import}"
        if self.model.ir_version > (8 if self.model.opset_import[0].version <= 18 else 9):
            yield f"IR version {self.model.ir_version}"
        for value in (*self.model.graph.input, *self.model.graph.output):
            tensor = value.type.tensor_type
            if tensor.elem_type != TensorProto.FLOAT:
                yield f"{value.name}: not float32"
            if not all(dim.dim_value for dim in tensor.shape.dim) or tensor.shape.dim[0].dim_value != 1:
                yield f"{value.name}: not a static batch of one"
        for name in self.outputs:
            if any(self.kind(source) in (QUANTIZE, DEQUANTIZE) for source in self.sources(name)):
                yield f"{name}: logits are quantized"

    def _grid(self, node: NodeProto, float_type: int) -> Iterator[str]:
        if len(node.input) != 3:
            yield f"{node.name}: no zero point"
            return
        if not all(one in self.value for one in node.input[1:]):
            yield f"{node.name}: scale or zero point is no constant"
            return
        scale, zero_point = (self.value[one] for one in node.input[1:])
        if zero_point.dtype != np.int8 or zero_point.any():
            yield f"{node.name}: zero point is not int8 zero"
        if scale.dtype != helper.tensor_dtype_to_np_dtype(float_type) or not np.isfinite(scale).all() or not (scale > 0).all():
            yield f"{node.name}: scale is not positive and finite"
        if scale.shape != zero_point.shape or (node.input[0] in self.maker and self._rounds(node) is None and scale.ndim):
            yield f"{node.name}: scale is not one of the tensor, or its length not that of the zero point"

    def _rounds(self, node: NodeProto) -> str | None:
        """The constant that a Q, or the DQ behind it, rounds."""
        source = node.input[0] if node.op_type == QUANTIZE else self.before_rounding(node.output[0])
        return source if source in self.value else None

    def _pair(self, node: NodeProto) -> Iterator[str]:
        behind = self.readers(node.output[0])
        if not behind or node.output[0] in self.outputs or any(one.op_type != DEQUANTIZE for one in behind):
            yield f"{node.name}: alone"
            return
        if any(list(one.input[1:]) != list(node.input[1:]) or one.attribute != node.attribute for one in behind):
            yield f"{node.name}: two grids in a pair"
        readers = [reader for one in behind for reader in self.readers(one.output[0])]
        source = node.input[0]
        if self.kind(source) in (*PASSING, DEQUANTIZE):
            yield f"{node.name}: rounds again what is rounded"
        if self.kind(source) in GATES:
            yield f"{node.name}: rounds a gate"
        if source in self.value and any(
            reader.op_type not in ("Conv", "Gemm") or reader.input[1] != behind[0].output[0] for reader in readers
        ):
            yield f"{node.name}: rounds a constant that is no weight"
        gated = {reader.output[0] for reader in readers if reader.op_type in GATES}
        fused = [one for one in readers if one.op_type in ACTIVATIONS or (one.op_type == "Mul" and gated & set(one.input))]
        if self.kind(source) in ("Conv", "Gemm", "Add") and fused == readers:
            yield f"{node.name}: between {self.kind(source)} and its activation"

    def _is_rounded(self, name: str) -> bool:
        return all(self.kind(source) == DEQUANTIZE for source in self.sources(name))

    def _weighted(self, node: NodeProto) -> Iterator[str]:
        if not self._is_rounded(node.input[0]):
            yield f"{node.name}: its input is not quantized"
        if len(node.input) > 2 and node.input[2] not in self.value:
            yield f"{node.name}: its bias is no float constant"
        if self.kind(node.input[1]) != DEQUANTIZE or self.kind(self.maker[node.input[1]].input[0]) != QUANTIZE:
            yield f"{node.name}: its weight is not quantized"
            return
        pair = self.maker[node.input[1]]
        weight, scale = self.value[self.maker[pair.input[0]].input[0]], self.value[pair.input[1]]
        axis = next((one.i for one in pair.attribute if one.name == "axis"), 1)
        if axis != 0 or scale.shape != weight.shape[:1]:
            yield f"{node.name}: its weight is not quantized along axis 0"
        if node.op_type == "Gemm" and next((one.i for one in node.attribute if one.name == "transB"), 0) != 1:
            yield f"{node.name}: its channels are not on axis 0"

    def _addition(self, node: NodeProto) -> Iterator[str]:
        """The deepest bare convolution enters as it is, everything else rounded."""
        under = [self.before_rounding(one) for one in node.input]
        bare = [one for one in under if self.kind(one) == "Conv" and len(self.readers(one)) == 1]
        main = max(bare, key=self.depth.__getitem__, default=None)
        for name, source in zip(node.input, under, strict=True):
            if source == main and self.kind(name) == DEQUANTIZE:
                yield f"{node.name}: its main branch is quantized"
            elif source != main and not self._is_rounded(name):
                yield f"{node.name}: its skip branch is not quantized"

    def _joined(self, node: NodeProto) -> Iterator[str]:
        scales = {self.maker[one].input[1] if self.kind(one) == DEQUANTIZE else one for one in self.sources(node.output[0])}
        values = {self.value[one].item() if one in self.value else None for one in scales}
        if len(values) != 1 or None in values:
            yield f"{node.name}: joins what has different scales, or none"
