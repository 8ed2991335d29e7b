"""OpenVINO's backend: right answers, and what is really executed, said by OpenVINO's own execution graph."""

import numpy as np
import pytest
import with_openvino

from edgekd.device import Problem, backend_openvino, onnxrt, probe
from edgekd.device.files import Files

SATURATES = probe.needs_seven_bit_weights(probe.identity()["arch"], probe.identity()["isa"])
IMAGES = np.random.default_rng(0).normal(size=(7, 3, 8, 8)).astype(np.float32)
BRIGHT = np.full((3, 3, 8, 8), 255 / 64, np.float32)


@pytest.fixture(autouse=True)
def _there():
    with_openvino.require()


@pytest.fixture
def path(tiny, tmp_path):
    return tiny.float_model(tmp_path / "m.onnx")


@pytest.mark.parametrize(("fixed", "batch"), [("N", 1), ("N", 3), (1, 5), (4, 1)])
def test_any_batching_gives_onnxruntimes_rows_in_order(tiny, tmp_path, path, fixed, batch):
    model = backend_openvino.opened(tiny.float_model(tmp_path / "f.onnx", batch=fixed), 1, batch)
    expected = onnxrt.run(onnxrt.open_session(path), IMAGES)
    assert np.allclose(backend_openvino.run(model, IMAGES), expected, atol=1e-5)


def test_float_and_int8_are_told_by_what_is_executed(tiny, tmp_path, path):
    told = {}
    for name, file in (("float", path), ("int8", tiny.int8_model(tmp_path / "q.onnx", 63))):
        layers = backend_openvino.executed_layers(backend_openvino.opened(file, 1))
        told[name] = {layer["op"]: (layer["dtype"], layer["name"]) for layer in layers if layer["op"] in ("Conv", "Gemm")}
        assert all(layer["provider"] and "Const" not in layer["op"] for layer in layers)
    assert told["float"] == {"Conv": ("float", "conv"), "Gemm": ("float", "logits")}
    assert told["int8"] == {"Conv": ("uint8", "conv")}


def test_sums_with_seven_bit_weights_are_exact(tiny, tmp_path):
    path = tiny.int8_model(tmp_path / "q.onnx", 63)
    expected = onnxrt.run(onnxrt.open_session(path, optimised=False), BRIGHT)
    assert np.array_equal(backend_openvino.run(backend_openvino.opened(path, 1), BRIGHT), expected)


@pytest.mark.skipif(not SATURATES, reason="this CPU has VNNI or is Arm: its sums do not saturate")
def test_sums_with_eight_bit_weights_are_wrong_where_the_cpu_lacks_vnni(tiny, tmp_path):
    """Why such a CPU gets the seven-bit file."""
    path = tiny.int8_model(tmp_path / "q.onnx", 127)
    expected = onnxrt.run(onnxrt.open_session(path, optimised=False), BRIGHT)
    assert not np.array_equal(backend_openvino.run(backend_openvino.opened(path, 1), BRIGHT), expected)


def test_an_apps_own_arithmetic_keeps_its_denormals(path):
    backend_openvino.run(backend_openvino.opened(path, 1), BRIGHT)
    assert 5e-324 + 0.0 > 0 and np.float32(1e-45) * np.float32(1.0) > 0


def test_build_says_size_time_memory_and_layers(path, tmp_path):
    files = Files(str(tmp_path))
    built = backend_openvino.build({"models": {"m": files.kept(str(path))}, "threads": 1}, files)["models"]["m"]
    assert built["size_mb"] == path.stat().st_size / 1e6 and 0 < built["load_s"] < 60 and 10 < built["peak_memory_mb"] < 4000
    assert {"Conv", "Gemm"} <= {layer["op"] for layer in built["layers"]}


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x09"])
def test_what_is_no_model_is_refused_in_words(tmp_path, content):
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(Problem, match="OpenVINO refuses the model") as refused:
        backend_openvino.opened(tmp_path / "m.onnx", 1)
    assert refused.value.seen and "\n" not in refused.value.seen


def test_what_it_cannot_do_is_refused_in_words(path, tmp_path):
    with pytest.raises(Problem, match="refuses the input"):
        backend_openvino.run(backend_openvino.opened(path, 1), np.zeros((1, 3, 9, 9), np.float32))
    files = Files(str(tmp_path))
    with pytest.raises(Problem, match="every node as written"):
        backend_openvino.infer(
            {"optimised": False, "model": files.kept(str(path)), "inputs": [], "threads": 1, "batch": 1}, files
        )
