"""The reader of ONNX metadata agrees with the onnx package, and broken files are refused in words."""

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from edgekd.device import Problem
from edgekd.device.onnxmeta import read_metadata

words = st.dictionaries(st.text(min_size=1, max_size=20), st.text(max_size=300), max_size=5)


@given(words)
@settings(max_examples=60, deadline=None)
def test_it_reads_what_the_onnx_package_wrote(tmp_path_factory, metadata):
    graph = helper.make_graph([], "empty", [], [], doc_string="x" * 500)
    model = helper.make_model(graph, producer_name="someone", model_version=1 << 60)
    helper.set_model_props(model, metadata)
    path = tmp_path_factory.mktemp("m") / "m.onnx"
    onnx.save(model, str(path))
    assert read_metadata(path) == metadata


def test_it_reads_a_real_model(tiny, tmp_path):
    assert read_metadata(tiny.float_model(tmp_path / "m.onnx", **{"edgekd.weight_bits": "7"})) == {"edgekd.weight_bits": "7"}


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_give_a_dict_or_a_problem(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    path.write_bytes(content)
    try:
        assert isinstance(read_metadata(path), dict)
    except Problem as problem:
        assert (problem.code, problem.where) == ("input", str(path))


@pytest.mark.parametrize("content", [b"\x72\xff\xff\xff\xff\x7f", b"\x80" * 11, b"\x77", b"\x72\x05ab"])
def test_lengths_that_lie_are_refused(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(Problem, match="not an ONNX file"):
        read_metadata(tmp_path / "m.onnx")


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(Problem, match="No such file"):
        read_metadata(tmp_path / "none.onnx")
