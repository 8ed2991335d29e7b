"""A device without a network through the whole chain: a kit of the run, run on a fake Jetson by itself, and its reply judged."""

import shutil
import subprocess
import sys

import fake_gpu
import pytest
import trtexec
from jetson_root import write
from small_chain import document_of, edgekd, statuses

from edgekd.report import read

RECIPE = """\
edgekd: 1
name: kit
compute: {threads: 1}
data: {source: digits, image_size: 16}
teacher: {model: resnet18, width: 0.25, epochs: 1}
student: {model: mobilenet_v2, width: 0.35}
distill: {method: label, epochs: 1}
quantize: {mode: ptq, calibration_images: 16}
targets:
  jetson: {device: jetson-orin-nano-8gb, runtime: tensorrt, precision: int8, required: when-connected}
gates:
  benchmark: {jetson: {parity: {top1_agreement: {min: 0}}}}
"""
# The fake is in a hurry, and a process for each image would take minutes.
IN_A_HURRY = "; ".join(
    [
        "import edgekd.targets.tensorrt.connection as c", "c.WARM_UP_S = 0.02", "import edgekd.targets.kit.making as m",
        "m.MOST_BY_PROCESSES = 2", "import edgekd.targets.plan as p", "p.LEAST_ROUNDS, p.LEAST_QUERIES, p.ROUND_S = 2, 10, 0.0",
        "import edgekd.stages.preflight as f", "f.ROUND_S = 0.0",
    ]
)  # fmt: skip
LATENCIES = {f"latency_ms{one}.{q}" for one in ("", "_fp32", "_fp16") for q in ("p50", "p90", "p99")}
NAMES = {
    "preflight": {*(f"latency_ms.{one}" for one in ("p50", "p90", "p99", "fastest")), "speedup", "speedup_fp16", "size_mb"},
    "build": {"build_s", "size_mb", "layers.float"},
    "benchmark": {"top1", "top1_fp32", "top1_drop", *LATENCIES, "speedup", "speedup_fp16", "throughput",
                  "parity.top1_agreement", "parity.sqnr_db", "parity.max_abs"},
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with the run of a recipe and the kit of it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "kit.yaml").write_text(RECIPE)
    assert document_of(edgekd("pipeline", "kit.yaml", "--json", cwd=folder, before=IN_A_HURRY))["unmeasured"] == ["jetson"]
    kit = edgekd("kit", "runs/kit", "--target", "jetson", cwd=folder, before=IN_A_HURRY)
    assert kit.returncode == 0, kit.stdout + kit.stderr
    assert "2 of 359 test images, for TensorRT 8.2 to 11.1" in kit.stdout
    assert "edgekd pipeline kit.yaml --reply jetson-reply.zip" in kit.stdout
    return folder


@pytest.fixture
def run(made, tmp_path):
    """Runs edgekd in a copy of that folder, which is ``tmp_path``."""
    shutil.copytree(made, tmp_path, symlinks=True, dirs_exist_ok=True)
    return lambda *words: edgekd(*words, cwd=tmp_path, before=IN_A_HURRY)


def an_orin_nano(root):
    write(root, "proc/sys/kernel/arch", "aarch64\n")
    write(root, "proc/device-tree/compatible", "nvidia,p3767-0005\0nvidia,tegra234\0")


def test_a_device_with_pythons_tensorrt_and_no_trtexec_answers_the_same_kit(run, tmp_path):
    if fake_gpu.COMPILER is None:
        pytest.skip(fake_gpu.NO_COMPILER)
    gpu = fake_gpu.FakeGpu(fake_gpu.compiled(tmp_path), tmp_path)
    an_orin_nano(gpu.root)
    bare = {"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    command = [gpu.python("10.3.0", FAKE_CUDA_CAPABILITY="87"), "-E", "jetson-kit.pyz"]
    there = subprocess.run(command, cwd=tmp_path, env=bare, capture_output=True, text=True, timeout=300, check=False)
    assert there.returncode == 0, there.stdout + there.stderr
    assert gpu.calls("cudaGraphLaunch") and gpu.complaints() == []

    judged = run("pipeline", "kit.yaml", "--reply", "jetson-reply.zip", "--json")
    document = document_of(judged)
    assert (judged.returncode, document["verdict"], document["unmeasured"]) == (0, "PASS", []), judged.stdout + judged.stderr
    measured = {
        one["name"]: {each["name"]: each for each in one["measurements"]} for one in document["stages"] if one.get("target")
    }
    assert {stage: set(found) for stage, found in measured.items()} == NAMES
    latency = measured["benchmark"]["latency_ms.p50"]["conditions"]
    assert (latency["via"], latency["tensorrt"], latency["by"]) == ("the Python API", "10.3.0", "a kit, on the device alone")
    assert measured["build"]["layers.float"]["value"] == 0 and measured["benchmark"]["parity.top1_agreement"]["value"] == 1


def test_a_kit_takes_the_place_of_a_way_to_the_device(run, tmp_path):
    an_orin_nano(tmp_path / "root")
    trtexec.install(tmp_path / "root", "10.3")
    bare = {"EDGEKD_DEVICE_ROOT": str(tmp_path / "root"), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    there = subprocess.run([sys.executable, "-S", "-E", "jetson-kit.pyz"], cwd=tmp_path, env=bare, capture_output=True, text=True,
                           timeout=300, check=False)  # fmt: skip
    assert there.returncode == 0, there.stdout + there.stderr

    judged = run("pipeline", "kit.yaml", "--reply", "jetson-reply.zip", "--json")
    document = document_of(judged)
    assert (judged.returncode, document["verdict"], document["unmeasured"]) == (0, "PASS", []), judged.stdout + judged.stderr
    measured = {one["name"]: one["measurements"] for one in document["stages"] if one.get("target")}
    assert {stage: {one["name"] for one in found} for stage, found in measured.items()} == NAMES
    by_name = {one["name"]: one for one in measured["benchmark"]}
    assert by_name["top1"]["n"] == 2 and by_name["latency_ms.p50"]["conditions"]["by"] == "a kit, on the device alone"
    assert document["resume"] == "edgekd pipeline kit.yaml --reply jetson-reply.zip"
    assert {"engine-int8", "engine-fp16", "engine-fp32"} <= {
        one.kind for one in read(tmp_path / "runs/kit").steps("build")[0].artifacts
    }
    again = document_of(run("pipeline", "kit.yaml", "--reply", "jetson-reply.zip", "--json"))
    assert set(statuses(again).values()) == {"cached"}

    longer = ("--set", "gates.benchmark.jetson.latency_ms.p99.max=9", "--json")
    other_plan = run("pipeline", "kit.yaml", "--reply", "jetson-reply.zip", *longer)
    error = document_of(other_plan)["error"]
    assert other_plan.returncode == 7 and "plan.queries: 331 is asked, the kit has 10" in error["seen"]
    assert error["fix"] == "make and run a new kit: edgekd kit runs/kit --target jetson"

    content = bytearray((tmp_path / "jetson-reply.zip").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "tampered.zip").write_bytes(content)
    tampered = run("pipeline", "kit.yaml", "--reply", "tampered.zip")
    assert tampered.returncode == 7 and "other bytes than its seal says: parts/" in tampered.stderr

    (tmp_path / "kit.yaml").write_text(RECIPE.replace("epochs: 1}\nquant", "epochs: 2}\nquant"))
    changed = run("kit", "runs/kit", "--target", "jetson")
    assert changed.returncode == 2 and "the recipe has changed since the run" in changed.stderr
