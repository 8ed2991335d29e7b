"""A target driven by TensorRT's Python API, end to end: host, agent in a process of its own, ctypes, stand-ins for the rest."""

import sys

import fake_gpu
import numpy as np
import pytest
import tiny_models as tiny

from edgekd.core import DeviceError, EdgekdError, EnvironmentProblem, InputError
from edgekd.device import onnxrt
from edgekd.targets.jetson.identity import describe
from edgekd.targets.plan import MeasuringPlan
from edgekd.targets.profiles import profile
from edgekd.targets.target import Target
from edgekd.targets.tensorrt import connection as module
from edgekd.targets.tensorrt.connection import TensorrtConnection
from edgekd.targets.tensorrt.flags import build_flags
from edgekd.targets.tensorrt.installed import Installed
from edgekd.targets.transport.local import LocalTransport

IMAGES = np.random.default_rng(5).normal(size=(5, 3, 8, 8)).astype(np.float32)
PLAN = MeasuringPlan(rounds=2, queries=4, discard=2, round_s=0.0, budget_s=2.0)
TARGET = Target("rtx", profile("rtx-desktop"), "tensorrt", "fp16", "always", 1)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    if fake_gpu.COMPILER is None:
        pytest.skip(fake_gpu.NO_COMPILER)
    return fake_gpu.compiled(tmp_path_factory.mktemp("cudart"))


@pytest.fixture
def reached(library, tmp_path, monkeypatch):
    """A connection to a device of one version; its agent runs under an interpreter that has the stand-ins."""
    monkeypatch.setattr(module, "WARM_UP_S", 0.1)
    gpu, transports = fake_gpu.FakeGpu(library, tmp_path), []

    def reach(version="10.3.0", **settings):
        settings = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1", **settings}
        monkeypatch.setattr(sys, "executable", str(gpu.python(version, **settings)))
        transports.append(LocalTransport())
        connection = TensorrtConnection(TARGET, transports[-1])
        connection.installed = Installed((*map(int, version.split(".")), 1), "tensorrt", describe({}))
        return connection

    yield reach, gpu
    for one in transports:
        one.close()


def test_build_time_and_infer_through_the_agent(reached, tmp_path):
    connect, gpu = reached
    connection, path = connect("10.13.3"), tiny.float_model(tmp_path / "m.onnx", batch=1)
    built = connection.build({"fp16": path, "fp32": path})
    assert not built["fp16"].reused and "&&&& PASSED edgekd.tensorrt" in built["fp16"].log
    assert {layer["dtype"] for layer in built["fp32"].layers} == {"float"}
    assert connection.build({"fp16": path})["fp16"].reused
    measured = connection.measure({name: one.file for name, one in built.items()}, IMAGES[:1], PLAN)
    assert measured["facts"]["via"] == "the Python API" and connection.most_images() is connection.images_a_call() is None
    assert {name: [len(one) for one in rounds] for name, rounds in measured["rounds"].items()} == {"fp16": [4, 4], "fp32": [4, 4]}
    assert measured["launched"] == "graph" and len(measured["spans"]["fp16"]) == 2
    assert all(ms > 0 for rounds in measured["rounds"].values() for one in rounds for ms in one)
    logits = connection.infer(built["fp16"].file, IMAGES)
    assert np.array_equal(logits, onnxrt.run(onnxrt.open_session(path), IMAGES))
    assert gpu.complaints() == []


def failing(connection, path):
    with pytest.raises(EdgekdError) as failed:
        connection.build({"fp16": path})
    return failed.value


@pytest.mark.parametrize(("settings", "kind", "said"), [
    ({"FAKE_CUDA_FAIL": "cudaGetDeviceCount:35"}, DeviceError, "cudaErrorInsufficientDriver"),
    ({"FAKE_TENSORRT_BROKEN": "1"}, EnvironmentProblem, "libnvinfer.so.10"),
    ({"FAKE_CUDA_MEMORY": "1000"}, DeviceError, "Requested amount of GPU memory"),
])  # fmt: skip
def test_what_a_device_lacks_is_told_as_its_own_kind_of_error(reached, tmp_path, settings, kind, said):
    connect, _ = reached
    error = failing(connect(**settings), tiny.float_model(tmp_path / "m.onnx", batch=1))
    assert isinstance(error, kind) and said in f"{error.what} {error.seen}" and error.where.startswith("rtx: build")


def test_what_tensorrt_cannot_parse_is_told_with_its_reason(reached, tmp_path):
    from onnx import TensorProto, helper, save

    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 8, 8])
    out = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])
    nodes = [helper.make_node("Det", ["input"], ["logits"], name="the_odd_one")]
    save(helper.make_model(helper.make_graph(nodes, "g", [image], [out])), str(tmp_path / "m.onnx"))
    error = failing(reached[0](), tmp_path / "m.onnx")
    assert isinstance(error, (InputError, DeviceError)) and "No importer registered for op: Det" in f"{error.what} {error.seen}"


def test_an_engine_of_another_version_and_a_gpu_without_memory_are_device_errors(reached, tmp_path):
    connect, _ = reached
    engine = connect("10.3.0").build({"fp16": tiny.float_model(tmp_path / "m.onnx", batch=1)})["fp16"].file
    for settings, said in (
        ({"version": "10.13.3"}, "built by 10.3.0, here is 10.13.3"),
        ({"FAKE_CUDA_MEMORY": "700"}, "out of memory"),
    ):
        with pytest.raises(DeviceError) as failed:
            connect(**settings).infer(engine, IMAGES)
        assert said in f"{failed.value.what} {failed.value.seen}"


@pytest.mark.parametrize("version", fake_gpu.VERSIONS)
@pytest.mark.parametrize("precision", module.PRECISIONS)
def test_every_word_the_host_builds_with_is_understood(library, tmp_path, monkeypatch, version, precision):
    from edgekd.device import tensorrt_build

    monkeypatch.syspath_prepend(str(fake_gpu.MODULE))
    monkeypatch.setenv("FAKE_TENSORRT_VERSION", version)
    for name in [one for one in sys.modules if one.partition(".")[0] == "tensorrt"]:
        monkeypatch.delitem(sys.modules, name)
    import tensorrt as trt

    major, minor, _ = map(int, version.split("."))
    asked = tensorrt_build.read_words(trt, build_flags((major, minor), precision))
    by_options = (major, minor) < (10, 12)
    assert asked["strongly_typed"] != by_options and asked["tf32"] == (precision != "fp32") and asked["workspace"] == 1 << 30
    wanted = sorted(one.upper() for one in precision.split("+") if one != "fp32") if by_options else []
    assert sorted(asked["flags"]) == wanted
    assert asked["level"] == (3 if (major, minor) >= (8, 6) else None)
