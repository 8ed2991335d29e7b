"""A bundle's engine runs on the machine it is for, and nowhere else; on stand-ins for TensorRT and CUDA. No TensorRT ran here."""

import gc
import json
import os
import subprocess
import sys
import threading

import fake_gpu
import numpy as np
import pytest
from PIL import Image

from edgekd.device import Problem, build_zipapp, examine, load, tensorrt_log, verify

# Runs a program as on a machine where edgekd misses some packages; the stand-in for TensorRT still computes by onnxruntime.
WITHOUT = """
import builtins, runpy, sys
missing, real = sys.argv[1].split(","), builtins.__import__

def bare(name, globals=None, locals=None, fromlist=(), level=0):
    asking = (globals or {}).get("__name__", "")
    if name.partition(".")[0] in missing and asking.startswith("edgekd_device"):
        raise ImportError("No module named %r" % name)
    return real(name, globals, locals, fromlist, level)

builtins.__import__ = bare
sys.argv[:] = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def machine(gpu, monkeypatch):
    """This process as a machine with one version of TensorRT; call it to make it one."""
    monkeypatch.syspath_prepend(str(fake_gpu.MODULE))

    def start(version="10.3.0", **settings):
        for name, value in gpu.environment(version, **settings).items():
            monkeypatch.setenv(name, value)
        for name in [one for one in sys.modules if one.partition(".")[0] == "tensorrt"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setattr(tensorrt_log, "_made", [])

    start.gpu = gpu
    yield start
    tensorrt_log._made.clear()


def plan(tiny, folder, built_by=(10, 3, 0), seed=None):
    """An engine of the stand-in's kind, of the tiny float net; seed: of another net."""
    from tensorrt import building

    path = tiny.float_model(folder / "one.onnx", batch=1)
    content = path.read_bytes()
    if seed is not None:
        import onnx
        from onnx import numpy_helper

        model = onnx.load_from_string(content)
        for one in model.graph.initializer:
            values = np.random.default_rng(seed).normal(size=tuple(one.dims)).astype("f4")
            one.CopyFrom(numpy_helper.from_array(values, one.name))
        content = model.SerializeToString()
    path.unlink()
    return building.plan({}, content, built_by)


@pytest.fixture
def with_engine(bundle, tiny, machine, tmp_path):
    """The bundle, with an engine for TensorRT 10.3.0 and compute capability 8.7, on such a machine."""
    machine()
    tiny.add_engine(bundle, plan(tiny, tmp_path))
    return bundle


def test_a_machine_with_its_tensorrt_and_gpu_runs_the_engine_by_itself_or_by_name(with_engine, machine):
    pixels = np.load(with_engine / "golden/inputs.npy")
    expected = load(with_engine, "fp32").logits_of_pixels(pixels)
    for flavour in (None, "tensorrt"):
        opened = load(with_engine, flavour)
        assert (opened.flavour, opened.path) == ("tensorrt", "models/jetson/student.fp32.engine")
        begun = len(machine.gpu.calls())
        assert np.allclose(opened.logits_of_pixels(pixels), expected, atol=1e-6)
        assert "cudaMemcpyAsync" in machine.gpu.calls()[begun:]
        assert opened.predict(pixels[0])[0]["label"] in opened.labels
    assert load(with_engine, "ort-w7").flavour == "ort-w7"


@pytest.mark.parametrize(("version", "settings", "code", "here"), [
    ("10.13.3", {}, "input", "TensorRT 10.13.3"), ("8.6.1", {}, "input", "TensorRT 8.6.1"),
    ("10.3.0", {"FAKE_CUDA_CAPABILITY": "72"}, "input", "compute capability 7.2"),
    ("10.3.0", {"FAKE_CUDA_DEVICES": "0"}, "device", "there is no GPU"),
    ("10.3.0", {"FAKE_TENSORRT_BROKEN": "1"}, "environment", "TensorRT's Python module cannot be imported"),
])  # fmt: skip
def test_any_other_machine_runs_onnxruntime_and_says_why_when_the_engine_is_asked_for(
    with_engine, machine, version, settings, code, here
):
    machine(version, **settings)
    assert load(with_engine).flavour in ("ort", "ort-w7", "fp32")
    with pytest.raises(Problem, match="no engine that this machine can run") as refused:
        load(with_engine, "tensorrt")
    wanted = "it is for TensorRT 10.3.0.30, compute capability 8.7 (jetson-orin-nano-8gb); here: "
    assert refused.value.code == code and wanted + here in refused.value.seen and refused.value.fix


def test_a_folder_called_tensorrt_beside_the_app_is_no_tensorrt(with_engine, tmp_path, monkeypatch):
    (tmp_path / "app/tensorrt").mkdir(parents=True)
    monkeypatch.delitem(sys.modules, "tensorrt")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "app"), *(one for one in sys.path if one != str(fake_gpu.MODULE))])
    assert load(with_engine).flavour in ("ort", "ort-w7")
    with pytest.raises(Problem, match="no engine that this machine can run") as refused:
        load(with_engine, "tensorrt")
    assert refused.value.code == "environment" and "has no attribute '__version__'" in refused.value.seen


def test_an_engine_that_tells_no_gpu_is_nobodys(bundle, tiny, machine, tmp_path):
    machine()
    tiny.add_engine(bundle, plan(tiny, tmp_path), compute_capability=None)
    assert load(bundle).flavour != "tensorrt"


def test_the_header_is_believed_before_the_manifest(bundle, tiny, machine, tmp_path):
    machine()
    tiny.add_engine(bundle, plan(tiny, tmp_path, built_by=(10, 13, 3)))
    begun = len(machine.gpu.calls())
    assert load(bundle).flavour != "tensorrt"
    with pytest.raises(Problem) as refused:
        load(bundle, "tensorrt")
    assert refused.value.code == "device" and "built by 10.13.3, here is 10.3.0" in refused.value.seen
    assert "cudaStreamCreateWithFlags" not in machine.gpu.calls()[begun:]  # nothing was loaded


def test_a_damaged_engine_is_damage_and_never_a_reason_to_take_another_model(with_engine):
    path = with_engine / "models/jetson/student.fp32.engine"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(Problem, match="damaged") as refused:
        load(with_engine)
    assert refused.value.code == "integrity"
    assert verify(with_engine) == ["models/jetson/student.fp32.engine: has other bytes"]


def test_of_several_that_fit_the_one_built_on_this_module_is_taken(with_engine, tiny, machine, tmp_path):
    other = tiny.add_engine(
        with_engine, plan(tiny, tmp_path), path="models/nx/student.fp32.engine", target="nx", module="p3767-0000"
    )
    assert load(with_engine).path == "models/jetson/student.fp32.engine"
    tree = machine.gpu.root / "proc/device-tree/compatible"
    tree.parent.mkdir(parents=True)
    tree.write_bytes(b"nvidia,p3768-0000+p3767-0000\0nvidia,p3767-0000\0nvidia,tegra234\0")
    assert load(with_engine).path == other


def test_the_engine_answers_its_golden_cases_where_it_runs(with_engine):
    lines, golden, not_run = examine(with_engine)
    assert (lines, not_run) == ([], {})
    assert golden["models/jetson/student.fp32.engine"]["agree"] == 6 and set(golden) > {"ort-w7", "fp32"}


@pytest.mark.parametrize(("precision", "noise_db", "right"), [
    ("fp32", 54, True), ("fp32", 46, False), ("fp16", 44, True), ("fp16", 36, False), ("int8", 19, True), ("int8", 11, False),
    ("int8+fp16", 19, True), ("int8+fp16", 11, False),
])  # fmt: skip
def test_an_engine_is_held_to_the_limits_of_its_precision(bundle, tiny, machine, tmp_path, precision, noise_db, right):
    machine()
    path = tiny.add_engine(bundle, plan(tiny, tmp_path), precision=precision)
    logits = np.load(bundle / "golden/logits-fp32-b1.npy")
    noise = logits * np.float32(10 ** (-noise_db / 20))  # every logit too large alike: no class changes
    np.save(bundle / "golden/logits-fp32-b1.npy", logits + noise)
    tiny.seal(bundle)
    assert [line.partition(": SQNR")[0] for line in verify(bundle)] == ([] if right else [f"golden cases of {path}"])


def test_an_engine_of_another_net_is_a_difference(bundle, tiny, machine, tmp_path):
    machine()
    path = tiny.add_engine(bundle, plan(tiny, tmp_path, seed=9), precision="int8")
    lines = verify(bundle)
    assert lines and all(line.startswith(f"golden cases of {path}: ") for line in lines)


def test_what_cannot_run_here_is_told_and_no_difference(with_engine, machine):
    machine("10.13.3")
    lines, golden, not_run = examine(with_engine)
    assert lines == [] and set(golden) == {"ort-w7", "fp32"}
    assert list(not_run) == ["models/jetson/student.fp32.engine"] and "here: TensorRT 10.13.3" in next(iter(not_run.values()))


def test_threads_share_an_engine_and_the_gpu_is_let_go_with_the_bundle(with_engine, machine):
    opened, pixels = load(with_engine), np.load(with_engine / "golden/inputs.npy")
    expected, got = [opened.logits_of_pixels(pixels[at : at + 1]) for at in range(6)], {}

    def ask(asked, at):
        got[at] = [asked.logits_of_pixels(pixels[at : at + 1]) for _ in range(20)]

    threads = [threading.Thread(target=ask, args=(opened, at)) for at in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert all(np.array_equal(one, expected[at]) for at in range(6) for one in got[at])
    del opened, one
    threads.clear()
    gc.collect()
    assert machine.gpu.complaints() == []


@pytest.mark.parametrize("engines", [3, [1], [{}], [{"path": "models/x", "flavour": "trt", "precision": 8}]])
def test_engines_of_another_shape_are_refused(bundle, tiny, engines):
    tiny.seal(bundle, engines=engines)
    with pytest.raises(Problem) as refused:
        load(bundle)
    assert refused.value.code == "integrity"


@pytest.fixture
def pyz(with_engine, tiny, gpu, tmp_path):
    """Run the bundle's own loader as a process where some packages are missing: (status, stdout, stderr)."""
    (with_engine / "edgekd.pyz").write_bytes(build_zipapp())
    tiny.seal(with_engine)
    Image.fromarray(np.load(with_engine / "golden/inputs.npy")[0]).save(tmp_path / "photo.png")

    def run(*words, missing="onnxruntime", version="10.3.0", **settings):
        command = [sys.executable, "-c", WITHOUT, missing, str(with_engine / "edgekd.pyz"), *words]
        environment = {**os.environ, **gpu.environment(version, **settings), "PYTHONPATH": str(fake_gpu.MODULE)}
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout, done.stderr

    return run


def test_with_nothing_but_tensorrt_numpy_and_pillow_photos_are_classified(pyz, with_engine, gpu):
    status, told, said = pyz("predict", "photo.png", "--json")
    expected = ["cat", "dog", "Käfer", "none"][int(np.load(with_engine / "golden/logits-fp32.npy")[0].argmax())]
    assert (status, said, json.loads(told)["predictions"][0]["label"]) == (0, "", expected)
    assert gpu.complaints() == []  # at the end of the process everything was released


def test_verify_there_runs_the_engine_and_claims_nothing_of_the_rest(pyz, tiny, with_engine, tmp_path):
    status, told, said = pyz("verify")
    assert (status, said) == (0, "")
    assert "models/tiny.ort-w7.onnx: NOT run here: onnxruntime cannot be imported" in told
    assert "every golden case that could run here agree" in told and "student.fp32.engine: NOT" not in told
    np.save(with_engine / "golden/logits-fp32-b1.npy", -np.load(with_engine / "golden/logits-fp32-b1.npy"))
    tiny.seal(with_engine)
    status, told, said = pyz("verify")
    assert status == 7 and "golden cases of models/jetson/student.fp32.engine" in told and "agree\n" not in told.splitlines()[-1]


@pytest.mark.parametrize("words", [["predict", "photo.png"], ["verify"]])
def test_where_nothing_can_run_all_it_has_and_all_it_needs_is_told(pyz, words):
    status, told, said = pyz(*words, version="10.13.3")
    assert (status, told) == (5, "") and "nothing in the bundle can run on this machine" in said
    assert (
        "onnxruntime cannot be imported" in said and "it is for TensorRT 10.3.0.30" in said and "here: TensorRT 10.13.3" in said
    )
    assert "pip install onnxruntime" in said and "build it again" in said


@pytest.mark.parametrize("missing", ["numpy", "PIL"])
def test_without_numpy_or_pillow_the_packages_to_install_are_named(pyz, missing):
    status, told, said = pyz("predict", "photo.png", missing=f"onnxruntime,{missing}")
    assert (status, told, "Traceback" in said) == (5, "", False)
    assert "apt install python3-numpy python3-pil" in said
