"""What an ONNX network computes inside: any of its tensors as further outputs of the same file.

The file's own bytes stay as they are: in protobuf a message is extended by appending to it, so that neither the onnx package nor
a temporary file is needed. An optimised session whose Q outputs are exposed gives the same logits to the bit, as a test holds;
one whose float tensors are exposed does not, because what is exposed cannot be fused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.core import InputError
from edgekd.export.sessions import REFUSALS, session

_GRAPH, _OUTPUT, _NAME = 7, 12, 1  # field numbers of onnx.proto3: of the model, of its graph, of a ValueInfoProto
Execution = Callable[[NDArray[np.float32]], dict[str, NDArray[Any]]]


def exposed(content: bytes, tensors: Sequence[str]) -> bytes:
    """The model with these tensors as outputs behind its own."""
    outputs = b"".join(_field(_OUTPUT, _field(_NAME, name.encode())) for name in tensors)
    return content + _field(_GRAPH, outputs)


def _field(number: int, content: bytes) -> bytes:
    length, size = bytearray(), len(content)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


def inner_tensors(model: Path, tensors: Sequence[str], *, optimised: bool) -> Execution:
    """Takes images float32 [N,C,H,W] and gives these tensors by name; those only that are arrays.

    Raises InputError: onnxruntime refuses the model.
    """
    try:
        running = session(exposed(model.read_bytes(), tensors), optimised=optimised)
    except REFUSALS as error:
        raise InputError("onnxruntime refuses the model", where=str(model), seen=str(error).splitlines()[0]) from error
    (given,) = running.get_inputs()

    def run(images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        found = running.run(list(tensors), {given.name: images})
        return {name: value for name, value in zip(tensors, found, strict=True) if isinstance(value, np.ndarray)}

    return run


def inner_sites(model: Path, *, optimised: bool) -> Execution:
    """The same of an int8 file of ours: by the names of its sites, their values as its integers have them, float32.

    The first site has a channel of zeros more than the images, where the file pads them.
    """
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(model)).graph
    constants = {one.name: one for one in graph.initializer}
    grids = {
        node.output[0]: (node.name.removesuffix("/quantize"), *(numpy_helper.to_array(constants[one]) for one in node.input[1:3]))
        for node in graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in constants
    }
    integers = inner_tensors(model, list(grids), optimised=optimised)

    def run(images: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        values = {}
        for tensor, found in integers(images).items():
            site, scale, zero_point = grids[tensor]
            values[site] = (found.astype(np.float32) - np.float32(zero_point)) * np.float32(scale)
        return values

    return run
