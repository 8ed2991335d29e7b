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

from edgekd.export.sessions import REFUSALS, open_model, refused

_GRAPH, _OUTPUT, _NAME = 7, 12, 1  # field numbers of onnx.proto3: of the model, of its graph, of a ValueInfoProto
_QUANTIZES = "/quantize"  # behind a site's name, the name of its QuantizeLinear
Execution = Callable[[NDArray[np.float32]], dict[str, NDArray[Any]]]


def outputs(tensors: Sequence[str]) -> bytes:
    """What a model's bytes are followed by, to have these tensors as outputs behind its own."""
    return _field(_GRAPH, b"".join(_field(_OUTPUT, _field(_NAME, name.encode())) for name in tensors))


def _field(number: int, content: bytes) -> bytes:
    length, size = bytearray(), len(content)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


def inner_tensors(model: Path, tensors: Sequence[str], *, optimised: bool) -> Execution:
    """Takes one image float32 [1,C,H,W] and gives these tensors by name; those only that are arrays.

    The image is repeated where the model's batch is fixed. Raises InputError: onnxruntime refuses the model or the image.
    """
    running = open_model(model, optimised=optimised, more=outputs(tensors))
    (given,) = running.get_inputs()
    batch = given.shape[0] if isinstance(given.shape[0], int) else 1

    def run(image: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        try:
            found = running.run(list(tensors), {given.name: image.repeat(batch, 0)}) if tensors else []  # none would ask for all
        except REFUSALS as error:
            raise refused(model, error) from error
        arrays = {name: value for name, value in zip(tensors, found, strict=True) if isinstance(value, np.ndarray)}
        return {name: value[:1] if value.shape[:1] == (batch,) else value for name, value in arrays.items()}

    return run


def inner_sites(model: Path, *, optimised: bool) -> Execution:
    """The same of an int8 file: of each rounded activation the values its integers stand for, float32, by the name of the site.

    In a file of others' the name is the tensor's. Grids that are not of a whole tensor are left out. The first site has a channel
    of zeros more than the images, where a file of ours pads them.
    """
    from edgekd.export.lint.graph import QUANTIZE, Graph
    from edgekd.export.lint.reading import read_model

    graph = Graph(read_model(model))
    grids = {}
    for node in graph.of(QUANTIZE):
        grid = graph.grid(node)
        if grid.scale is not None and grid.scale.size == 1 and not graph.rounds_a_constant(node):
            zero_point = 0 if grid.zero is None else grid.zero.item()
            site = node.name.removesuffix(_QUANTIZES) if node.name.endswith(_QUANTIZES) else node.output[0]
            grids[node.output[0]] = (site, np.float32(grid.scale.item()), np.float32(zero_point))
    integers = inner_tensors(model, list(grids), optimised=optimised)

    def run(image: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
        values = {}
        for tensor, found in integers(image).items():
            site, scale, zero_point = grids[tensor]
            values[site] = (found.astype(np.float32) - zero_point) * scale
        return values

    return run
