"""Sessions are right on this CPU, and what they execute is said by onnxruntime itself."""

import sys

import numpy as np
import pytest

from edgekd.device import Problem, onnxrt, probe

SATURATES = probe.needs_seven_bit_weights(probe.identity()["arch"], probe.identity()["isa"])
BRIGHT = np.full((3, 3, 8, 8), 255 / 64, np.float32)  # every quantized activation is 255


def exact(largest_weight):
    """All channels but the second are +, that one is -; requantized to steps of 8 around 128, clipped to int8's reach."""
    total = 3 * 8 * 8 * (255 / 64) * (largest_weight / 127)
    return np.clip(np.round(np.array([total, -total, total, total]) / 8), -128, 127) * 8


@pytest.mark.parametrize(("bits", "largest"), [("8", 127), ("7", 63)])
def test_integer_sums_are_exact_for_both_kinds_of_weights(tiny, tmp_path, bits, largest):
    path = tiny.int8_model(tmp_path / "m.onnx", largest, **{"edgekd.weight_bits": bits})
    assert "QLinearConv" in {layer["op"] for layer in onnxrt.executed_layers(path, BRIGHT[:1])}
    assert np.array_equal(onnxrt.run(onnxrt.open_session(path), BRIGHT), np.tile(exact(largest), (3, 1)))


@pytest.mark.skipif(not SATURATES, reason="this CPU has VNNI or is Arm: its sums do not saturate")
def test_without_the_precise_option_eight_bit_sums_saturate_here(tiny, tmp_path, monkeypatch):
    path = tiny.int8_model(tmp_path / "m.onnx", 127, **{"edgekd.weight_bits": "8"})
    monkeypatch.setattr(onnxrt, "session_config", lambda path, identity: {})
    assert not np.array_equal(onnxrt.run(onnxrt.open_session(path), BRIGHT)[0], exact(127))


@pytest.mark.parametrize(
    ("isa", "bits", "precise"),
    [(["avx2"], "8", True), (["avx2"], "7", False), (["avx2"], None, True), (["avx512_vnni"], "8", False)],
)
def test_the_precise_option_is_set_where_sums_would_saturate(tiny, tmp_path, isa, bits, precise):
    path = tiny.float_model(tmp_path / "m.onnx", **({"edgekd.weight_bits": bits} if bits else {}))
    config = onnxrt.session_config(path, {"arch": "x86_64", "isa": isa})
    assert ("session.x64quantprecision" in config, config["session.set_denormal_as_zero"]) == (precise, "1")


def test_float_layers_are_seen_as_executed_and_no_profile_is_left(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tiny.float_model(tmp_path / "m.onnx")
    layers = onnxrt.executed_layers(path, np.zeros((1, 3, 8, 8), np.float32))
    assert [layer["op"] for layer in layers if layer["dtype"] == "float"].count("Conv") == 1
    assert {layer["provider"] for layer in layers} == {"CPUExecutionProvider"}
    assert [one.name for one in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize(("fixed", "batch"), [("N", 1), ("N", 3), ("N", 100), (1, 5), (4, 1)])
def test_any_batching_gives_one_row_an_image_in_order(tiny, tmp_path, fixed, batch):
    path = tiny.float_model(tmp_path / "m.onnx", batch=fixed)
    images = np.random.default_rng(0).normal(size=(7, 3, 8, 8)).astype(np.float32)
    one_by_one = onnxrt.run(onnxrt.open_session(tiny.float_model(tmp_path / "n.onnx")), images)
    assert one_by_one.shape == (7, 4)
    assert np.allclose(onnxrt.run(onnxrt.open_session(path), images, batch), one_by_one, atol=1e-6)


def test_build_says_size_time_memory_and_layers(tiny, tmp_path):
    path = tiny.float_model(tmp_path / "m.onnx")
    built = onnxrt.build(path, threads=1)
    assert built["size_mb"] == path.stat().st_size / 1e6
    assert 0 < built["load_s"] < 60 and 10 < built["peak_memory_mb"] < 4000 and len(built["layers"]) >= 4


@pytest.mark.parametrize(("content", "code"), [(b"not a model at all", "input"), (b"", "device"), (b"\x08\x09", "device")])
def test_what_is_no_model_is_refused_in_words(tmp_path, content, code):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(Problem) as refused:
        onnxrt.open_session(tmp_path / "m.onnx")
    assert (refused.value.code, refused.value.where) == (code, str(tmp_path / "m.onnx"))


def test_a_model_that_does_not_go_into_memory_is_refused_as_such(tmp_path):
    """Its activations ask for more than the address space of a process, so that onnxruntime's own words are met."""
    onnx = pytest.importorskip("onnx")
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [helper.make_node("Expand", ["input", "size"], ["large"]), helper.make_node("Relu", ["large"], ["output"])]
    values = [helper.make_tensor_value_info(name, kinds.FLOAT, [1, 1, 1, 1]) for name in ("input", "output")]
    size = helper.make_tensor("size", kinds.INT64, [4], [1, 64, 1 << 20, 1 << 20])
    graph = helper.make_graph(nodes, "large", values[:1], [values[1]], [size])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), tmp_path / "m.onnx")
    with pytest.raises(Problem, match="lacks memory for the input") as refused:
        onnxrt.build(tmp_path / "m.onnx", threads=1)
    assert refused.value.code == "device-memory" and "allocate memory" in refused.value.seen


def test_an_input_of_another_shape_is_refused_in_words(tiny, tmp_path):
    session = onnxrt.open_session(tiny.float_model(tmp_path / "m.onnx"))
    for attempt in (lambda x: onnxrt.run(session, x), lambda x: onnxrt.query(session, x)):
        with pytest.raises(Problem, match="refuses the input"):
            attempt(np.zeros((1, 3, 9, 9), np.float32))


def test_no_memory_to_load_onnxruntime_is_not_told_as_its_absence(monkeypatch, tmp_path):
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('Exception caught: std::bad_alloc')")
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(Problem, match="no memory to load onnxruntime") as refused:
        onnxrt.open_session(tmp_path / "m.onnx")
    assert refused.value.code == "device" and "pip" not in refused.value.fix
