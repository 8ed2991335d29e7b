"""A runtime of another package, found by its entry point, works like onnxruntime: its backend travels with the agent."""

import json
import sys
import textwrap

import numpy as np
import pytest
import with_openvino
from sshd import NAME

from edgekd import targets
from edgekd.core import Artifact, EnvironmentProblem, InputError, Outcome, runtimes
from edgekd.core.files import sha256_of
from edgekd.device import Problem, backend_openvino
from edgekd.pipeline.kit import make_kit
from edgekd.recipe import loads
from edgekd.recipe.target import TargetSpec
from edgekd.stages import Input
from edgekd.stages.on_target import files_for
from edgekd.targets import MeasuringPlan, Reach, cpu_runtime
from edgekd.targets.openvino import RUNTIME

QUICK = MeasuringPlan(rounds=2, queries=10, discard=1, round_s=0.0)
VNNI, PLAIN, ARM = {"arch": "x86_64", "isa": ["avx_vnni"]}, {"arch": "x86_64", "isa": ["avx2"]}, {"arch": "aarch64", "isa": []}
BACKEND = '''
    """Answers with the sum of an image and its double; says who it is by an int8 layer of its own."""
    from . import timing
    from .arrays import write_array
    from .rounds import timed

    def build(request, files):
        one = {"load_s": 0.5, "size_mb": 1.0, "peak_memory_mb": None, "layers": [{"op": "Conv", "name": "own", "dtype": "int8"}]}
        return {"models": {name: one for name in request["models"]}}

    def one_round(request, files):
        queries = {name: lambda: None for name in request["models"]}
        return timing.timed_rounds(queries, request["plan"], lambda: None)

    def infer(request, files):
        outputs = []
        for number, described in enumerate(request["inputs"]):
            path = files.path("logits-%d.npy" % number)
            sums = files.array(described).sum((1, 2, 3))
            write_array(path, __import__("numpy").stack([sums, 2 * sums], 1))
            outputs.append(files.kept(path))
        return {"outputs": outputs}
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """An installed package that brings the runtime "toy"."""
    site = tmp_path / "site"
    info = site / "toy_for_edgekd-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-for-edgekd\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[edgekd.runtimes]\ntoy = toy_for_edgekd:RUNTIME\nlost = no_such_module:RUNTIME\n"
                                           "odd = toy_for_edgekd:Path\nonnxruntime = toy_for_edgekd:RUNTIME\n")  # fmt: skip
    (site / "backend_toy.py").write_text(textwrap.dedent(BACKEND))
    (site / "toy_for_edgekd.py").write_text(
        "from pathlib import Path\nfrom edgekd.targets.cpu_runtime import CpuRuntime\n"
        "RUNTIME = CpuRuntime(('numpy', 'pillow'), Path(__file__).with_name('backend_toy.py'), lambda identity, gated: 'ort')\n"
    )
    monkeypatch.syspath_prepend(str(site))
    for cached in (runtimes.added, cpu_runtime.cpu_runtime):
        cached.cache_clear()
    yield site / "backend_toy.py"
    for cached in (runtimes.added, cpu_runtime.cpu_runtime):
        cached.cache_clear()


def resolved(runtime, **rest):
    return targets.resolve("cpu", TargetSpec(device="local-cpu", runtime=runtime, **rest))


def test_a_runtime_of_another_package_builds_times_and_answers_on_its_target(toy, models, images):
    target = resolved("toy")
    assert target.precision == "int8" and targets.candidates(target, PLAIN) == {"int8": "ort", "fp32": "fp32"}
    with targets.connect(target, Reach()) as connection:
        identity = connection.probe()["identity"]
        built, timed = connection.build(models), connection.measure(models, images[:1], QUICK)
        logits = connection.infer(models["fp32"], images)
    assert (identity["backend"], identity["versions"]["numpy"]) == (sha256_of(toy), np.__version__)
    assert [len(targets.int8_layers(one.layers)) for one in built.values()] == [1, 1]
    assert {name: [len(one) for one in rounds] for name, rounds in timed["rounds"].items()} == {name: [20, 20] for name in models}
    sums = images.sum((1, 2, 3))
    assert np.allclose(logits, np.stack([sums, 2 * sums], 1), rtol=1e-5)


def test_a_package_that_is_broken_or_brings_something_else_is_named(toy):
    with pytest.raises(EnvironmentProblem, match="lost") as lost:
        targets.flavours_of({"cpu": TargetSpec(device="local-cpu", runtime="lost")})
    assert "no_such_module" in lost.value.seen and lost.value.fix
    with pytest.raises(EnvironmentProblem, match="odd") as odd:
        targets.flavours_of({"cpu": TargetSpec(device="local-cpu", runtime="odd")})
    assert "not an edgekd.targets.cpu_runtime.CpuRuntime" in odd.value.seen


def test_a_runtime_that_comes_with_edgekd_cannot_be_replaced(toy):
    assert runtimes.names() == ("onnxruntime", "tensorrt", "lost", "odd", "openvino", "toy")
    assert cpu_runtime.cpu_runtime("onnxruntime").comes_with_edgekd


def test_a_runtime_that_no_package_brings_is_refused():
    with pytest.raises(ValueError, match="is no runtime"):
        TargetSpec(device="local-cpu", runtime="toy")
    with pytest.raises(InputError, match="does not run openvino") as refused:
        targets.resolve("gpu", TargetSpec(device="rtx-desktop", runtime="openvino"))
    assert refused.value.fix == "runtime: tensorrt"


def test_openvino_is_found_by_its_entry_point_and_stands_in_the_schema():
    assert cpu_runtime.cpu_runtime("openvino") == RUNTIME
    assert "openvino" in json.dumps(TargetSpec.model_json_schema()["properties"]["runtime"])


@pytest.mark.parametrize(
    ("identity", "gated", "flavour"),
    [(VNNI, False, "ort"), (VNNI, True, "trt"), (ARM, True, "trt"), (PLAIN, False, "ort-w7"), (PLAIN, True, "ort-w7")],
)
def test_openvino_gets_the_file_that_is_fast_and_right_there(identity, gated, flavour):
    assert targets.candidates(resolved("openvino"), identity, gated=gated) == {"int8": flavour, "fp32": "fp32"}


def test_openvinos_files_are_exported_for_it_alone():
    ours = {"cpu": TargetSpec(device="local-cpu", runtime="openvino")}
    assert targets.flavours_of(ours) == ("fp32", "ort", "ort-w7", "trt") and targets.oldest_tensorrt(ours) is None
    assert targets.int8_flavours_of(ours) == ("ort", "ort-w7", "trt")
    assert targets.flavours_of({"cpu": TargetSpec(device="local-cpu", runtime="openvino", precision="fp32")}) == (
        "fp32", "ort", "ort-w7",
    )  # fmt: skip


def test_openvino_works_on_its_target_as_onnxruntime_does(models, images):
    with_openvino.require()
    with targets.connect(resolved("openvino"), Reach()) as connection:
        identity = connection.probe()["identity"]
        built, timed = connection.build(models), connection.measure(models, images[:1], QUICK)
        logits = connection.infer(models["fp32"], images, batch=2)
    with targets.this_machine() as here:
        expected = here.infer(models["fp32"], images)
    assert identity["versions"]["openvino"].startswith("20") and "backend" not in identity
    assert {name: len(targets.float_layers(one.layers)) for name, one in built.items()} == {"fp32": 2, "int8": 0}
    assert len(targets.int8_layers(built["int8"].layers)) == 1
    assert {name: [len(one) for one in rounds] for name, rounds in timed["rounds"].items()} == {name: [20, 20] for name in models}
    assert np.allclose(logits, expected, atol=1e-5)


def test_openvino_works_over_ssh(sshd, models):
    with_openvino.require()
    spec = TargetSpec(device="linux", runtime="openvino", python=sys.executable)
    reach = targets.reach_of({"board": spec}, [f"board={NAME}"], sshd.config)
    with targets.connect(targets.resolve("board", spec), reach) as connection:
        built = connection.build({"int8": models["int8"]})["int8"]
    assert not targets.float_layers(built.layers) and len(targets.int8_layers(built.layers)) == 1


def test_without_openvino_the_environment_is_at_fault(models, tmp_path, monkeypatch):
    (tmp_path / "openvino.py").write_text("raise ImportError('libtbb is missing')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "openvino", raising=False)
    with pytest.raises(Problem, match="cannot be imported") as refused:
        backend_openvino.opened(models["fp32"], 1)
    assert (refused.value.code, refused.value.fix) == ("environment", "pip install openvino") and "libtbb" in refused.value.seen


def test_a_kit_of_a_runtime_that_it_cannot_carry_is_refused_with_what_to_do(tmp_path):
    text = """\
edgekd: 1
name: a
data: {source: digits, image_size: 32}
teacher: {model: resnet18, epochs: 1}
student: {model: mobilenet_v2}
distill: {method: label, epochs: 1}
targets: {board: {device: linux, runtime: openvino}}
"""
    with pytest.raises(InputError, match="and not openvino") as refused:
        make_kit(loads(text, "a.yaml", tmp_path), tmp_path, {}, "board", tmp_path / "kit.pyz", tmp_path)
    assert "--host board=" in refused.value.fix


@pytest.mark.parametrize(("notes", "flavour"), [({}, "ort"), ({"gated": True}, "trt")])
def test_what_export_found_of_the_network_chooses_openvinos_file(tmp_path, notes, flavour):
    files = []
    for name in ("fp32", "ort", "ort-w7", "trt"):
        (tmp_path / f"student.{name}.onnx").write_bytes(name.encode())
        files.append(Artifact.of(name, tmp_path / f"student.{name}.onnx", tmp_path))
    made = Input(Outcome(tuple(files), (), notes), tmp_path)
    assert [path.read_text() for path in files_for(resolved("openvino"), VNNI, made).values()] == [flavour, "fp32"]
