"""CUDA's runtime by ctypes, against a C library that checks every handle, and against NVIDIA's own where there is one."""

import contextlib
import ctypes
import os
from pathlib import Path

import numpy as np
import pytest

from edgekd.device import Problem, cuda

PLACES = ((Path("/usr/local"), "cuda*/lib*/libcudart.so"), (Path(np.__file__).parents[1], "nvidia/*/lib/libcudart.so.*"))
REAL = sorted(str(path) for folder, pattern in PLACES for path in folder.glob(pattern))


@pytest.fixture
def fake(gpu, monkeypatch):
    """Settings of the library; loads it when called with them."""

    def load(**settings):
        for name, value in gpu.environment(**settings).items():
            monkeypatch.setenv(name, value)
        return cuda.load()

    return load


def test_it_is_looked_for_below_the_device_root_only(gpu, monkeypatch):
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(gpu.root))
    assert all(path.startswith(str(gpu.root)) for path in cuda.candidates())
    monkeypatch.delenv("EDGEKD_DEVICE_ROOT")
    assert cuda.candidates()[: len(cuda.NAMES)] == list(cuda.NAMES)


def test_no_library_is_told_with_what_was_tried(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(tmp_path))
    with pytest.raises(Problem, match="was not found") as refused:
        cuda.load()
    assert refused.value.code == "environment" and "libcudart.so.12" in refused.value.seen


def test_a_library_of_another_kind_is_told_with_the_loaders_words(monkeypatch, tmp_path):
    place = tmp_path / "usr/local/cuda/lib64/libcudart.so"
    place.parent.mkdir(parents=True)
    place.write_bytes(b"not a library")
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(tmp_path))
    with pytest.raises(Problem, match="was not found") as refused:
        cuda.load()
    assert "file too short" in refused.value.seen or "invalid ELF header" in refused.value.seen


def test_handles_and_addresses_above_32_bits_arrive_whole(fake, gpu):
    runtime = fake()
    given = np.arange(6, dtype=np.float32).reshape(2, 3)
    with runtime.stream() as stream, runtime.device_memory(24) as address, runtime.pinned((2, 3), "float32") as array:
        assert min(stream, address, array.ctypes.data) > 2**32
        array[:] = given
        runtime.copy_to_device(address, array, stream)
        array[:] = 0
        runtime.copy_to_host(array, address, stream)
        runtime.synchronise(stream)
        assert np.array_equal(array, given)
    assert gpu.complaints() == []
    assert len(gpu.calls("cudaFree")) == len(gpu.calls("cudaFreeHost")) == len(gpu.calls("cudaStreamDestroy")) == 1


def test_an_address_cut_to_32_bits_would_be_seen(fake, gpu):
    runtime = fake()
    with runtime.stream() as stream, pytest.raises(Problem, match="CUDA refuses cudaStreamSynchronize"):
        runtime.synchronise(stream & 0xFFFFFFFF)
    assert gpu.complaints()[0].startswith("no such stream")


def test_events_measure_milliseconds_of_the_real_clock(fake):
    import time

    runtime = fake()
    with runtime.stream() as stream, runtime.event() as start, runtime.event() as end:
        runtime.record(start, stream)
        time.sleep(0.02)
        runtime.record(end, stream)
        runtime.wait(end)
        assert runtime.milliseconds(start, end) >= 20


@pytest.mark.parametrize("version", ["10020", "11040", "12000", "12060", "13000"])
def test_a_graph_is_instantiated_in_the_form_of_that_cuda(fake, gpu, version):
    runtime, ran = fake(FAKE_CUDA_VERSION=version), []
    library = ctypes.CDLL(str(gpu.library))
    kind = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    work = kind(lambda _: ran.append(1))
    library.fake_enqueue.argtypes = (ctypes.c_void_p, kind, ctypes.c_void_p, ctypes.c_int)
    with runtime.stream() as stream:
        with runtime.captured(stream, lambda: library.fake_enqueue(stream, work, None, 0) == 0) as graph:
            assert ran == []  # noted, not run
            runtime.launch(graph, stream)
            runtime.launch(graph, stream)
            runtime.synchronise(stream)
        assert ran == [1, 1]
    form = runtime._library.cudaGraphInstantiate.argtypes
    assert len(form) == (3 if int(version) >= 12000 else 5)
    assert gpu.complaints() == [] and len(gpu.calls("cudaGraphDestroy")) == len(gpu.calls("cudaGraphExecDestroy")) == 1


@pytest.mark.parametrize("enqueued", [False, True])
def test_what_cannot_be_captured_gives_no_graph_and_leaves_no_error_behind(fake, gpu, enqueued):
    runtime = fake()

    def enqueue():
        if enqueued:  # a call that a capture does not allow spoils it, whatever the enqueuer believes
            with pytest.raises(Problem):
                runtime.synchronise(stream)
        return enqueued

    with runtime.stream() as stream:
        with runtime.captured(stream, enqueue) as graph:
            assert graph is None
        runtime.synchronise(stream)
    assert runtime._library.cudaGetLastError() == 0 and gpu.complaints() == []


def test_a_capture_that_raises_is_ended_before_the_error_goes_on(fake):
    runtime = fake()
    with runtime.stream() as stream:
        with pytest.raises(ZeroDivisionError), runtime.captured(stream, lambda: 1 // 0):
            pass
        with runtime.captured(stream, lambda: True) as graph:  # the next one is not refused as a second
            assert graph


FUNCTIONS = sorted(
    {*cuda._ARGUMENTS, "cudaGraphInstantiate"} - {"cudaRuntimeGetVersion", "cudaGetDeviceCount", "cudaSetDeviceFlags"}
)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_functions_return_code_is_checked(fake, gpu, name):
    runtime = fake(FAKE_CUDA_FAIL=f"{name}:719")
    told = pytest.raises(Problem, match=f"CUDA refuses {name}")
    captures = name in ("cudaStreamEndCapture", "cudaGraphInstantiate")  # these mean: no graph
    if captures:
        walk(runtime, graph_expected=False)
        assert runtime._library.cudaGetLastError() == 0  # forgotten: what follows is not blamed for it
    else:
        with told as failed:
            walk(runtime)
        assert failed.value.code == "device" and failed.value.seen.startswith("cudaErrorLaunchFailure: ")
    assert gpu.calls(name)


def walk(runtime, graph_expected=True):
    """Every function once."""
    with contextlib.ExitStack() as held:
        stream, start, end = (held.enter_context(one) for one in (runtime.stream(), runtime.event(), runtime.event()))
        address, array = held.enter_context(runtime.device_memory(16)), held.enter_context(runtime.pinned((4,), "float32"))
        assert runtime.compute_capability() == "8.7"
        runtime.copy_to_device(address, array, stream)
        runtime.copy_to_host(array, address, stream)
        runtime.record(start, stream)
        runtime.record(end, stream)
        runtime.wait(end)
        runtime.milliseconds(start, end)
        graph = held.enter_context(runtime.captured(stream, lambda: True))
        assert bool(graph) == graph_expected
        if graph:
            runtime.launch(graph, stream)
        runtime.synchronise(stream)


def test_out_of_memory_says_how_much_was_asked_for(fake, gpu):
    runtime = fake(FAKE_CUDA_MEMORY="1000")
    with pytest.raises(Problem, match="out of memory") as refused, runtime.device_memory(4096):
        pass
    assert (refused.value.where, refused.value.code) == ("cudaMalloc 4096 bytes", "device-memory")
    assert "cudaErrorMemoryAllocation" in refused.value.seen and "smaller batch" in refused.value.fix


@pytest.mark.parametrize(("settings", "seen"), [({"FAKE_CUDA_FAIL": "cudaGetDeviceCount:35"}, "InsufficientDriver"),
                                                ({"FAKE_CUDA_FAIL": "cudaGetDeviceCount:100"}, "NoDevice"),
                                                ({"FAKE_CUDA_DEVICES": "0"}, "")])  # fmt: skip
def test_no_driver_and_no_gpu_are_told_with_the_groups_to_join(fake, settings, seen):
    with pytest.raises(Problem) as refused:
        fake(**settings)
    assert refused.value.code == "device" and seen in (refused.value.seen or "") and "video and render" in refused.value.fix


def test_the_first_failure_is_told_when_releasing_fails_too(fake):
    runtime = fake(FAKE_CUDA_FAIL="cudaFree:719")
    with pytest.raises(ZeroDivisionError), runtime.device_memory(16):
        1 // 0  # noqa: B018


def test_waiting_is_set_to_spin_before_anything_else_uses_the_gpu(fake, gpu):
    fake()
    assert gpu.calls()[:3] == ["cudaRuntimeGetVersion", "cudaGetDeviceCount", "cudaSetDeviceFlags"]


@pytest.mark.skipif(not REAL, reason="no CUDA runtime of NVIDIA's here")
@pytest.mark.parametrize("path", REAL)
def test_nvidias_own_library_has_every_function_by_that_name(path):
    library = ctypes.CDLL(os.path.realpath(path))
    for name in (*cuda._ARGUMENTS, "cudaGraphInstantiate", "cudaGetErrorName", "cudaGetErrorString", "cudaGetLastError"):
        assert hasattr(library, name)
    try:
        cuda.Runtime(library, path)
    except Problem as problem:  # typed and called for real up to the first function that needs a driver
        assert problem.seen is None or problem.seen.startswith("cudaError")
