"""bench and build, on this machine and on a fake Jetson at the other end of a real ssh: what they say, and when they say no."""

import json
import sys
from functools import partial
from types import SimpleNamespace

import jetson_root
import pytest
import tiny_models as TINY
import trtexec
from click.testing import CliRunner
from sshd import NAME

from edgekd import targets
from edgekd.cli import main
from edgekd.core.files import sha256_of
from edgekd.pipeline import bench as module
from edgekd.report import render_bench
from edgekd.targets import MeasuringPlan, calm
from edgekd.targets.tensorrt import connection

JETSON = "jetson-orin-nano-super"


def edgekd(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """As little as has an interval, taken once; whether this machine is calm is decided by the test."""
    reasons = []
    monkeypatch.setattr(module, "PLAN", MeasuringPlan(rounds=2, queries=20, discard=1, round_s=0.0))
    monkeypatch.setattr(targets, "measure_calmly", partial(calm.measure_calmly, attempts=1))
    monkeypatch.setattr(calm, "suspicions", lambda measured, profile: tuple(reasons))
    monkeypatch.setattr(connection, "WARM_UP_S", 0.02)
    return reasons


@pytest.fixture
def files(tmp_path):
    made = tmp_path / "ä b"
    made.mkdir()
    return SimpleNamespace(
        fp32=TINY.float_model(made / "fp32.onnx"), int8=TINY.int8_model(made / "int8.onnx", 63),
        trt=TINY.symmetric_model(made / "trt.onnx"),
    )  # fmt: skip


@pytest.fixture
def jetson(sshd, tmp_path):
    """An Orin Nano Super with TensorRT 10.3; the words that lead to it, and ``install`` for another TensorRT."""
    root = jetson_root.orin_nano_super(tmp_path / "root")
    trtexec.install(root, "10.3")
    jetson_root.tegrastats(root)
    sshd.restart(environment={**sshd.environment, "EDGEKD_DEVICE_ROOT": str(root)})
    words = ("--target", JETSON, "--host", NAME, "--ssh-config", sshd.config, "--python", sys.executable)
    return SimpleNamespace(words=words, root=root, install=partial(trtexec.install, root))


def test_two_models_are_timed_in_the_same_rounds_and_their_ratio_told(files):
    result = edgekd("bench", files.int8, "--target", "local-cpu", "--against", files.fp32, "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["exit_code"], document["verdict"], document["error"]) == (0, 0, None, None)
    own, other = document["models"]
    assert [own["precision"], other["precision"], own["sha256"]] == ["int8", "fp32", sha256_of(files.int8)]
    assert (own["layers"]["int8"], own["layers"]["float"], other["layers"]["int8"], len(other["layers"]["float"])) == (
        1,
        [],
        0,
        2,
    )
    p50 = {one["name"]: {each["name"]: each for each in one["measurements"]}["latency_ms.p50"]["rounds"] for one in (own, other)}
    ratios = [slow / fast for slow, fast in zip(p50["fp32.onnx"], p50["int8.onnx"], strict=True)]
    assert document["speedup"]["rounds"] == pytest.approx(ratios) and len(ratios) == 2
    assert document["speedup"]["conditions"]["against"] == "fp32.onnx" and own["input"] == [1, 3, 8, 8]
    assert "opening int8.onnx" in result.stderr


def test_the_screen_has_percentiles_layers_device_and_ends_with_the_result(files):
    result = edgekd("bench", files.fp32, "--target", "local-cpu")
    assert result.exit_code == 0
    for said in ("latency_ms.p50", "latency_ms.p90", "latency_ms.p99", "throughput", "2 in floating point", "local-cpu: "):
        assert said in result.stdout
    last = result.stdout.splitlines()[-1]
    assert last.startswith("fp32.onnx: ") and "ms a query" in last and "speedup" not in result.stdout


def test_suspect_conditions_are_inconclusive_with_the_reason(files, quick):
    quick.append("the CPU was throttled 3 times")
    result = edgekd("bench", files.fp32, "--target", "local-cpu", "--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["verdict"], document["exit_code"], document["suspect"]) == (4, "INCONCLUSIVE", 4, quick)
    assert all(one["suspect"] == quick for one in document["models"][0]["measurements"])
    screen = " ".join(render_bench(document).split())
    assert "INCONCLUSIVE (exit 4)" in screen and "suspect conditions: the CPU was throttled 3 times" in screen


def test_a_model_against_itself_is_timed_twice(files):
    document = json.loads(edgekd("bench", files.fp32, "--target", "local-cpu", "--against", files.fp32, "--json").stdout)
    assert len({one["name"] for one in document["models"]}) == 2


REFUSED = {
    "unknown device": (("--target", "local-cpux"), "did you mean local-cpu"),
    "no host": (("--target", "orin-nano"), "--host [user@]HOST"),
    "a host for this machine": (("--target", "local-cpu", "--host", "a"), "needs no host"),
    "another target's host": (("--target", "linux", "--host", "jetson=a"), "there is one device here"),
    "two hosts": (("--target", "linux", "--host", "a", "--host", "b"), "give --host once"),
    "an option as host": (("--target", "linux", "--host", "-oProxyCommand=x"), "--host"),
    "an option as Python": (("--target", "linux", "--host", "a", "--python", "-c"), "is no program"),
    "a precision of onnxruntime": (("--target", "local-cpu", "--precision", "int8"), "runs the file as it is"),
    "int8 without scales": (("--target", "orin-nano", "--host", "a", "--precision", "int8"), "holds no int8 scales"),
}


@pytest.mark.parametrize("command", ["bench", "build"])
@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_is_refused_before_any_device_is_asked(files, monkeypatch, command, case):
    monkeypatch.setattr(targets, "connect", None)
    words, said = REFUSED[case]
    result = edgekd(command, files.fp32, *words, "--json")
    assert result.exit_code == 2 and said in result.stderr
    assert json.loads(result.stdout)["error"]["code"] == "input"


def test_int8_on_a_device_without_int8_units_is_refused(files):
    result = edgekd("bench", files.trt, "--target", "jetson-nano", "--host", "a")
    assert result.exit_code == 2 and "no int8 units" in result.stderr and "--precision" in result.stderr


def test_clocks_are_locked_where_that_is_asked_and_nowhere_else(files, jetson):
    refused = edgekd("bench", files.fp32, "--target", "local-cpu", "--lock-clocks")
    assert refused.exit_code == 2 and "cannot be locked" in refused.stderr
    done = json.loads(edgekd("bench", files.trt, *jetson.words, "--lock-clocks", "--json").stdout)
    assert done["conditions"]["clocks"] == {"asked": "lock", "locked_by_us": True, "restored": True} and done["labels"] == []
    assert (jetson.root / "state").read_text() == "unlocked\n"


def test_models_of_other_sizes_are_not_compared(files, tmp_path, monkeypatch):
    monkeypatch.setattr(TINY, "SIZE", 16)
    result = edgekd("bench", files.fp32, "--target", "local-cpu", "--against", TINY.float_model(tmp_path / "16.onnx"))
    assert result.exit_code == 2 and "different inputs" in result.stderr


def test_a_jetson_builds_and_times_engines_of_each_files_own_precision(files, jetson):
    result = edgekd("bench", files.trt, *jetson.words, "--against", files.fp32, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    own, other = document["models"]
    assert [own["precision"], other["precision"]] == ["int8", "fp32"] and document["identity"]["tensorrt"].startswith("10.3")
    assert "built_from_sha256" in other and "built_from_sha256" not in own  # its batch was free
    assert (own["layers"]["int8"], own["layers"]["float"]) == (2, []) and len(other["layers"]["float"]) == 2
    assert document["labels"] == ["clocks not locked"] and document["conditions"]["facts"]["via"] == "trtexec"
    assert {"power_w", "energy_mj"} <= {one["name"] for one in own["measurements"]}
    assert document["speedup"]["value"] > 0 and NAME not in result.stdout


def test_an_engine_comes_back_with_what_it_depends_on_and_is_reused(files, jetson, tmp_path):
    out = tmp_path / "engines"
    first = edgekd("build", files.trt, *jetson.words, "--output", out)
    assert first.exit_code == 0, first.stderr
    assert "built in " in first.stdout.splitlines()[-1] and "2 in int8, 0 in floating point" in first.stdout
    stem = f"trt.int8.{JETSON}"
    assert sorted(path.name for path in out.iterdir()) == [f"{stem}.{end}" for end in ("engine", "json", "layers.json", "log")]
    beside = json.loads((out / f"{stem}.json").read_text())
    assert (
        beside["engine"]["sha256"] == sha256_of(out / f"{stem}.engine") and (out / f"{stem}.engine").read_bytes()[:4] == b"ftrt"
    )
    assert (beside["onnx_sha256"], beside["compute_capability"]) == (sha256_of(files.trt), "8.7")
    assert beside["tensorrt"].startswith("10.3") and "--int8" in beside["words"] and beside["module"].startswith("p3767-0005")
    assert "&&&& PASSED" in (out / f"{stem}.log").read_text()
    again = json.loads(edgekd("build", files.trt, *jetson.words, "--output", out, "--json").stdout)
    assert again["model"]["reused"] is True and again["files"]["engine"] == str(out / f"{stem}.engine")


def test_a_float_file_may_be_built_in_fp16_where_an_option_decides_that(files, jetson, tmp_path):
    made = json.loads(edgekd("build", files.fp32, *jetson.words, "--precision", "fp16", "--output", tmp_path, "--json").stdout)
    assert made["model"]["precision"] == "fp16"
    assert "--fp16" in json.loads((tmp_path / f"fp32.fp16.{JETSON}.json").read_text())["words"]
    jetson.install("10.13")
    (jetson.root / "usr/bin/dpkg-query").unlink()
    refused = edgekd("build", files.fp32, *jetson.words, "--precision", "fp16", "--output", tmp_path)
    assert refused.exit_code == 2 and "takes the float type from the file" in refused.stderr


def test_a_build_that_fails_is_the_devices_fault_and_leaves_no_engine(files, jetson, tmp_path):
    jetson.install("10.3", fail={"build": "killed"})
    result = edgekd("build", files.trt, *jetson.words, "--output", tmp_path / "out", "--json")
    error = json.loads(result.stdout)["error"]
    assert (result.exit_code, error["code"], error["where"]) == (6, "device-memory", f"{JETSON}: build int8")
    assert "killed" in error["what"]
    assert not (tmp_path / "out").exists()


def test_without_tensorrt_there_the_device_lacks_something(files, jetson):
    (jetson.root / "usr/src/tensorrt/bin/trtexec").unlink()
    (jetson.root / "usr/bin/dpkg-query").unlink()
    result = edgekd("bench", files.trt, *jetson.words)
    assert result.exit_code == 5 and "no TensorRT" in result.stderr and "apt-get install" in result.stderr


def test_onnxruntime_lists_its_layers_and_saves_nothing(files, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = edgekd("build", files.int8, "--target", "local-cpu")
    assert result.exit_code == 0 and "QLinearConv" in result.stdout and "nothing to save" in result.stdout.splitlines()[-1]
    assert sorted(tmp_path.rglob("*")) == before
    document = json.loads(edgekd("build", files.int8, "--target", "local-cpu", "--json").stdout)
    assert document["files"] == {} and document["model"]["layers"]["int8"] == 1


def test_a_board_over_ssh_opens_the_file_itself_where_the_environment_says_it_is(files, sshd, monkeypatch):
    monkeypatch.setenv("EDGEKD_HOST_LINUX", NAME)
    result = edgekd("build", files.int8, "--target", "linux", "--ssh-config", sshd.config, "--python", sys.executable, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["model"]["layers"]["int8"], document["files"], document["target"]["device"]) == (1, {}, "linux")


def test_a_device_nobody_reaches_is_the_devices_fault(files, sshd):
    sshd.stop()
    result = edgekd("bench", files.int8, "--target", "linux", "--host", NAME, "--ssh-config", sshd.config, "--json")
    error = json.loads(result.stdout)["error"]
    assert (result.exit_code, error["code"]) == (6, "device") and "nothing listens" in error["what"] and error["fix"]
