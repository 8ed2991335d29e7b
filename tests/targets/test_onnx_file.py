"""What an ONNX file says of itself, without the onnx package; and a free batch made one, with nothing else changed."""

import os
from pathlib import Path

import onnx
import pytest
import tiny_models as TINY
from onnx import TensorProto, helper

from edgekd.core import InputError
from edgekd.targets import read_onnx, with_one_image
from edgekd.targets.tensorrt.precision import is_possible, own_precision, require_possible


def _of(path, *inputs, weights=(), nodes=None):
    names = [one.name for one in inputs]
    made = nodes or [helper.make_node("Identity", [names[0] if names else "w"], ["y"])]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    onnx.save(helper.make_model(helper.make_graph(made, "g", inputs, [output], list(weights))), str(path))
    return path


def _input(name="x", kind=TensorProto.FLOAT, shape=(1, 3, 8, 8)):
    return helper.make_tensor_value_info(name, kind, shape)


def test_input_and_kind_are_read(tmp_path):
    free, fixed = read_onnx(TINY.float_model(tmp_path / "f.onnx")), read_onnx(TINY.symmetric_model(tmp_path / "ä s.onnx"))
    assert (free.input, free.shape, free.one_query, free.quantized) == ("input", (None, 3, 8, 8), (1, 3, 8, 8), False)
    assert (fixed.shape, fixed.quantized, fixed.half) == ((1, 3, 8, 8), True, False)


def test_inputs_that_are_weights_do_not_count(tmp_path):
    weight = helper.make_tensor("w", TensorProto.FLOAT16, [2], [1.0, 2.0])
    model = read_onnx(_of(tmp_path / "old.onnx", _input(), _input("w", TensorProto.FLOAT16, (2,)), weights=[weight]))
    assert (model.input, model.half) == ("x", True)


REFUSED = {
    "two inputs": (lambda path: _of(path, _input(), _input("z")), "2 inputs", "x, z"),
    "no input": (lambda path: _of(path, weights=[helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])]), "0 inputs", "none"),
    "bytes": (lambda path: _of(path, _input(kind=TensorProto.UINT8)), "not float32", "x: uint8 [1, 3, 8, 8]"),
    "a sequence": (lambda path: _of(path, _input(shape=(1, 77))), "four dimensions", "[1, 77]"),
    "a free size": (lambda path: _of(path, _input(shape=(1, 3, "H", 8))), "size of the model's input is free", "[1, 3, free, 8]"),
    "text": (lambda path: path.write_text("hello, hello") and path, "not an ONNX file", ""),
    "nothing": (lambda path: (path.write_bytes(b"") and path) or path, "not an ONNX file", "no network"),
    "nowhere": (lambda path: path, "cannot be read", "No such file"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_timed_is_refused_with_what_it_is(tmp_path, case):
    make, what, seen = REFUSED[case]
    with pytest.raises(InputError, match=what) as refused:
        read_onnx(make(tmp_path / "m.onnx"))
    assert seen in refused.value.seen and refused.value.fix and str(tmp_path / "m.onnx") == refused.value.where


def test_a_file_cut_anywhere_is_refused_and_never_a_bug(tmp_path):
    content = TINY.float_model(tmp_path / "f.onnx").read_bytes()
    for end in range(0, len(content), 7):
        (tmp_path / "cut.onnx").write_bytes(content[:end])
        with pytest.raises(InputError):
            read_onnx(tmp_path / "cut.onnx")


def test_weights_in_another_file_are_refused(tmp_path):
    path = tmp_path / "m.onnx"
    onnx.save(onnx.load(str(TINY.float_model(tmp_path / "f.onnx"))), str(path), save_as_external_data=True, size_threshold=0)
    with pytest.raises(InputError, match="another file"):
        read_onnx(path)


def test_one_image_is_all_that_changes_of_a_free_batch(tmp_path):
    path = TINY.float_model(tmp_path / "f.onnx", **{"edgekd.weight_bits": "7"})
    expected = onnx.load(str(path))
    for value in (*expected.graph.input, *expected.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    assert onnx.load_from_string(with_one_image(read_onnx(path))) == expected
    unnamed = onnx.load(str(path))
    unnamed.graph.input[0].type.tensor_type.shape.dim[0].Clear()
    onnx.save(unnamed, str(path))
    unnamed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    assert onnx.load_from_string(with_one_image(read_onnx(path))) == unnamed
    fixed = TINY.symmetric_model(tmp_path / "s.onnx")
    assert with_one_image(read_onnx(fixed)) == fixed.read_bytes()


POSSIBLE = [  # (file, precision, TensorRT, possible)
    ("fp32", "fp32", (10, 13), True), ("fp32", "fp16", (10, 3), True), ("fp32", "fp16", (10, 13), False),
    ("fp32", "int8", (8, 6), False), ("int8", "int8", (11, 0), True), ("int8", "int8+fp16", (8, 5), True),
    ("int8", "int8+fp16", (11, 0), False), ("int8", "fp32", (10, 3), False), ("int8", "fp16", (10, 3), False),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "precision", "version", "possible"), POSSIBLE)
def test_a_file_decides_the_precision_and_up_to_10_11_an_option_may_add_fp16(tmp_path, kind, precision, version, possible):
    make = {"fp32": TINY.float_model, "int8": TINY.symmetric_model}[kind]
    model = read_onnx(make(tmp_path / "m.onnx"))
    assert own_precision(model) == kind
    if possible:
        require_possible(model, precision, version)
        assert is_possible(model, precision)
    else:
        with pytest.raises(InputError) as refused:
            require_possible(model, precision, version)
        assert f"--precision {kind}" in refused.value.fix


@pytest.mark.parametrize(("kind", "said"), [("device", "a device or pipe"), ("huge", "ONNX allows 2 GiB")])
def test_what_has_no_end_or_is_too_large_for_onnx_is_refused_unread(tmp_path, monkeypatch, kind, said):
    path = Path("/dev/zero")
    if kind == "huge":
        path = tmp_path / "huge.onnx"
        path.touch()
        os.truncate(path, (1 << 31) + 1)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail("it was read"))
    with pytest.raises(InputError, match="not an ONNX file") as refused:
        read_onnx(path)
    assert said in refused.value.seen and refused.value.where == str(path)
