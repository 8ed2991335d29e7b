from pathlib import Path

import hard_nets
import numpy as np
import pytest
import torch
from torch import nn

from edgekd import export
from edgekd.export.lint.leaks import leaked_paths
from edgekd.export.marked import without_markers

NAMES = [kind.__name__ for kind in hard_nets.NETS]


@pytest.mark.parametrize("name", NAMES)
def test_the_marked_graph_has_every_site_once_and_weighted_nodes_carry_their_layers_name(exported, name):
    quantized, marked = exported(name)
    sites = [node.attribute[0].s.decode() for node in marked.graph.node if node.domain == "edgekd"]
    assert sorted(sites) == sorted(entry["name"] for entry in quantized.sites["sites"])
    named = {node.name for node in marked.graph.node if node.op_type in ("Conv", "Gemm")}
    assert named >= {entry["layer"] for entry in quantized.sites["layers"]}


@pytest.mark.parametrize("name", NAMES)
def test_nothing_of_this_machine_is_in_the_file(exported, name):
    _, marked = exported(name)
    content = marked.SerializeToString()
    assert leaked_paths(marked) == []
    for word in (b"/home", b"/tmp", b"site-packages", b".py", str(Path(__file__).parent).encode()):
        assert word not in content
    assert not marked.metadata_props and not any(node.metadata_props or node.doc_string for node in marked.graph.node)


def test_a_path_in_a_doc_string_is_found(exported):
    _, marked = exported("Residual")
    copy = without_markers(marked)
    copy.graph.node[0].doc_string = f'File "{Path(torch.__file__)}", line 3'
    assert leaked_paths(copy)


@pytest.mark.parametrize("name", NAMES)
def test_pools_reshapes_and_slices_are_single_ops_without_shape_arithmetic(exported, name):
    _, marked = exported(name)
    kinds = {node.op_type for node in marked.graph.node}
    assert not kinds & {"ReduceMean", "Shape", "Gather", "Split", "CastLike", "BatchNormalization"}
    assert {(one.domain, one.version) for one in marked.opset_import} == {("", 18), ("edgekd", 1)}
    assert marked.ir_version == 8


def test_height_and_width_are_static_and_the_batch_is_free(exported):
    _, marked = exported("Shuffled")
    dims = [dim.dim_param or dim.dim_value for dim in marked.graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", 3, 16, 16]


class BakedBatch(nn.Module):
    """What an image gets depends on its place in the batch: no batch but the traced one means the same."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head((x - x.mean(0, keepdim=True) * 0.5).mean((2, 3)))


def test_a_graph_that_mixes_the_batch_keeps_a_batch_of_one():
    marked = export.float_export(BakedBatch().eval(), (8, 8))
    assert marked.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1


def test_a_plain_network_exports_too_and_nobody_warns(tmp_path, recwarn):
    torch.manual_seed(0)
    net = nn.Sequential(hard_nets.conv(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 64, 3)).eval()
    marked = export.float_export(net, (8, 8))
    (tmp_path / "a.onnx").write_bytes(without_markers(marked).SerializeToString())
    images = hard_nets.images(5, 8)
    logits = export.run_onnx(tmp_path / "a.onnx", images.numpy(), optimised=True)
    with torch.no_grad():
        assert np.allclose(logits, net(images).numpy(), atol=1e-5)
    assert not recwarn.list
