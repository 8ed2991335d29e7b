"""TensorRT through the real agent and a fake trtexec of each family: engines are built, kept, timed, asked, and never guessed."""

import re
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import onnxruntime
import pytest
import tiny_models as TINY
import trtexec
from sshd import NAME

from edgekd import targets
from edgekd.core import DeviceError, EdgekdError, EnvironmentProblem, InputError, IntegrityError
from edgekd.device.plan_header import built_by, head
from edgekd.targets import MeasuringPlan
from edgekd.targets.host import Host
from edgekd.targets.tensorrt import connection as module
from edgekd.targets.tensorrt.connection import TensorrtConnection
from edgekd.targets.tensorrt.installed import installed
from edgekd.targets.tensorrt.log import read_log
from edgekd.targets.transport.local import LocalTransport
from edgekd.targets.transport.ssh import SshTransport

QUICK = MeasuringPlan(rounds=1, queries=20, discard=0, round_s=0.0)
ORIN_NANO = {
    "proc/sys/kernel/arch": "aarch64\n",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0",
}
NEW, EVERY = "10.3", tuple(trtexec.VERSIONS)


class Device:
    """A fake Orin Nano below one folder, reached by ``transport``."""

    probed: ClassVar[dict] = {}  # by version: what a probe finds is the same every time, and probing takes its time

    def __init__(self, root, home, transport):
        self.root, self.home, self._transport = root, home, transport
        self.home.mkdir(exist_ok=True)
        for path, content in ORIN_NANO.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(content)

    def connect(self, version=NEW, **switches):
        """switches: of ``trtexec.install``."""
        trtexec.install(self.root, version, **switches)
        spec = SimpleNamespace(device="orin-nano", runtime="tensorrt", precision="int8", required="always", threads=1,
                               tensorrt=None, host=None, python="python3", clocks="as-is")  # fmt: skip
        connection = TensorrtConnection(targets.resolve("jetson", spec), self._transport)
        connection.installed = self.probed.setdefault(version, None) or connection.installed
        self.probed[version] = connection.installed
        return connection

    def work_file(self, name):
        return self._transport.get(name)

    @property
    def engines(self):
        return sorted((self.home / ".cache/edgekd/engines").glob("*[0-9a-z]"))


@pytest.fixture
def device(request, tmp_path, monkeypatch):
    """Reached as this machine; through a real sshd with the parameter "ssh", or "old", where it has Python 3.6 and no numpy."""
    monkeypatch.setattr(module, "WARM_UP_S", 0.02)
    root = tmp_path / "root"
    way = getattr(request, "param", "local")
    if way != "local":
        sshd = request.getfixturevalue("sshd")
        sshd.restart(environment={**sshd.environment, "EDGEKD_DEVICE_ROOT": str(root)})
        transport, home = SshTransport("jetson", Host.parse(NAME), PYTHONS[way], sshd.config), sshd.home
    else:
        monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(root))
        monkeypatch.setenv("HOME", str(tmp_path / "home of the device"))
        transport, home = LocalTransport(), tmp_path / "home of the device"
    yield Device(root, home, transport)
    transport.close()


PYTHONS = {"ssh": sys.executable, "old": next(map(str, Path.home().glob(".pyenv/versions/3.6.*/bin/python")), "")}
OVER_SSH = pytest.mark.parametrize("device", ["ssh"], indirect=True)


@pytest.fixture
def student(tmp_path):
    """The int8 file, the float file, one image, and what onnxruntime computes of it."""
    image = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    int8 = TINY.symmetric_model(tmp_path / "ä b.onnx")
    fp32 = TINY.float_model(tmp_path / "f.onnx", batch=1, opset=13)
    return SimpleNamespace(int8=int8, fp32=fp32, image=image, logits=answer(int8, image))


def answer(model, image):
    (logits,) = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"]).run(None, {"input": image})
    return logits


@pytest.fixture
def engine(tmp_path, student):
    """Makes the engine of the int8 file, as a version's fake builds it."""

    def made(version=NEW):
        path = tmp_path / f"{version}.plan"
        path.write_bytes(trtexec.engine(student.int8, version))
        return path

    return made


@OVER_SSH
@pytest.mark.parametrize("version", EVERY)
def test_every_version_builds_times_and_answers_as_onnxruntime_does(device, student, version):
    connection = device.connect(version)
    (built,) = connection.build({"int8": student.int8}).values()
    assert built.file.read_bytes()[:4] == b"ftrt" and "&&&& PASSED" in built.log and not built.reused and built.build_s > 0
    heavy = [(layer["op"], layer["dtype"]) for layer in built.layers if layer["op"] in ("Conv", "MatMul")]
    assert heavy == [("Conv", "int8"), ("MatMul", "int8")] and all(layer["ms"] > 0 for layer in built.layers)
    measured = connection.measure({"int8": built.file}, student.image, QUICK)
    facts = measured["facts"]
    assert facts["via"] == "trtexec" and facts["tensorrt"].startswith(version) and connection.most_images() == 1000
    assert connection.images_a_call() == 100
    assert [len(times) for times in measured["rounds"]["int8"]] == [20] and min(measured["rounds"]["int8"][0]) > 0
    assert all(start < end for start, end in measured["spans"]["int8"]) and len(measured["conditions"]["between"]) == 1
    got = connection.infer(built.file, student.image)
    exact = version not in ("8.2", "8.4", "8.5")  # outputs are decimals of six digits there
    assert got.dtype == np.float32 and np.allclose(got, student.logits, rtol=0 if exact else 1e-5, atol=0)


@pytest.mark.parametrize("version", ["10.3", "11"])
def test_up_to_10_11_float16_is_an_option_and_then_a_file_strongly_typed(device, student, tmp_path, version):
    connection, files = device.connect(version), {"fp16": student.fp32, "int8+fp16": student.int8}
    halves = {name: TINY.in_half(path, tmp_path / f"{name}.half.onnx") for name, path in files.items()}
    by_option = version == "10.3"
    assert [connection.flavour(name) for name in files] == (["fp32-b1", "trt"] if by_option else ["fp16", "trt-fp16"])
    built = connection.build(files if by_option else halves)
    types = {name: {layer["dtype"] for layer in one.layers if layer["op"] in ("Conv", "MatMul")} for name, one in built.items()}
    assert types == {"fp16": {"float16"}, "int8+fp16": {"int8"}}
    assert built_by(head(built["fp16"].file), "here")[:3] == connection.installed.version[:3]
    got = connection.infer(built["int8+fp16"].file, student.image)
    assert np.allclose(got, answer((files if by_option else halves)["int8+fp16"], student.image), rtol=0, atol=1e-6)
    if by_option:
        with pytest.raises(InputError, match="cannot read the model"):
            connection.build({"fp16": halves["fp16"]})


@pytest.mark.skipif(not PYTHONS["old"], reason="no Python 3.6 below ~/.pyenv")
@pytest.mark.parametrize("device", ["old"], indirect=True)
def test_a_device_with_python_3_6_and_no_numpy_does_it_all(device, student):
    connection = device.connect("8.2")
    (built,) = connection.build({"int8": student.int8}).values()
    assert len(connection.measure({"int8": built.file}, student.image, QUICK)["rounds"]["int8"][0]) == 20
    assert np.allclose(connection.infer(built.file, student.image), student.logits, rtol=1e-5, atol=0)


def test_an_engine_is_built_once_and_again_for_another_file_or_version(device, student):
    def built(model=student.int8, precision="int8", version=NEW):
        return device.connect(version).build({precision: model})[precision]

    first, second = built(), built()
    assert (first.reused, second.reused) == (False, True) and first.build_s == second.build_s and first.log == second.log
    assert first.layers == second.layers and first.file.read_bytes() == second.file.read_bytes()
    float_one = built(student.fp32, "fp32")
    assert not float_one.reused and "A new timing cache" in first.log and "bytes of timing cache from" in float_one.log
    first.file.write_bytes(b"")  # what a host does to its copy
    assert not built(version="8.6").reused and built().reused


BUILD_FAILS = {
    "killed": ("trtexec was killed", "", "dmesg"),
    "memory": ("(?i)memory", "could not be allocated|OutOfMemory", ""),
    "disk full": ("could not be written", "Saving engine to file failed", "disk"),
    "no verdict": ("ended without saying PASSED", "", ""),
    "no file": ("no engine", "", "disk"),
    "cut file": ("engine", "Magic tag does not match", ""),
}


@pytest.mark.parametrize("how", BUILD_FAILS)
def test_a_failed_build_says_why_and_leaves_nothing_behind(device, student, how):
    what, seen, fix = BUILD_FAILS[how]
    with pytest.raises(DeviceError, match=what) as refused:
        device.connect(fail={"build": how}).build({"int8": student.int8})
    error = refused.value
    assert (error.exit_code, error.where) == (6, "jetson: build int8") and error.fix and fix in error.fix
    assert re.search(seen, error.seen)
    assert not any(path.is_dir() for path in device.engines)


@pytest.mark.parametrize(("how", "said"), [
    ("no json", "wrote no layers"), ("cut json", "cut short"), ("cut profile", "times is cut short"), ("killed", "killed"),
])  # fmt: skip
def test_an_engine_whose_layers_are_not_told_is_none(device, student, how, said):
    with pytest.raises(DeviceError, match=said):
        device.connect(fail={"layers": how}).build({"int8": student.int8})
    assert not any(path.is_dir() for path in device.engines)


def _odd(path):
    return TINY.symmetric_model(path, op="Erf")


def _asymmetric(path):
    return TINY.symmetric_model(path, zero_point=3)


UNFIT = {"int8": (_odd, "Erf|op"), "int8+fp16": (_asymmetric, "(?i)symmetric|zero point"), "fp32": (TINY.symmetric_model, "int8")}


@pytest.mark.parametrize("precision", UNFIT)
def test_models_tensorrt_cannot_take_are_the_users_to_change(device, tmp_path, precision):
    make, said = UNFIT[precision]
    with pytest.raises(EdgekdError, match=said) as refused:
        device.connect().build({precision: make(tmp_path / "unfit.onnx")})
    assert refused.value.exit_code in (2, 6) and refused.value.fix


def test_int8_of_a_file_without_scales_is_refused(device, student):
    with pytest.raises(EdgekdError):
        device.connect().build({"int8": student.fp32})


def test_a_model_to_build_is_named_by_its_precision(device, student):
    with pytest.raises(InputError, match="named by its precision"):
        device.connect().build({"student": student.int8})


@pytest.mark.parametrize(
    ("how", "said"),
    [("killed", "killed"), ("no json", "wrote no times"), ("nan", "no number"), ("cut json", "cut short"),
     ("no verdict", "PASSED"), ("other module", "another module"), ("memory", "memory")],
)  # fmt: skip
def test_a_measurement_that_failed_is_none(device, student, engine, how, said):
    with pytest.raises(DeviceError, match=f"(?i){said}") as refused:
        device.connect(fail={"time": how}).measure({"int8": engine()}, student.image, QUICK)
    assert refused.value.where == "jetson: measure int8" and refused.value.exit_code == 6


def test_times_and_words_of_an_earlier_measurement_are_none_of_a_later(device, student, engine):
    (times,) = device.connect().measure({"int8": engine()}, student.image, QUICK)["rounds"]["int8"]
    with pytest.raises(DeviceError, match="wrote no times"):
        device.connect(fail={"time": "no json"}).measure({"int8": engine()}, student.image, QUICK)
    log = device.work_file("block-0-0.log").read_text()
    assert len(times) == 20 and log.count("&&&& RUNNING") == 1


FOREIGN = [("8.6", "8.7", "another TensorRT"), (NEW, "7.2", "another GPU|device|comput")]


@pytest.mark.parametrize(("built_by", "capability", "said"), FOREIGN)
def test_an_engine_of_another_version_or_chip_is_refused_as_such(device, student, engine, built_by, capability, said):
    with pytest.raises(DeviceError, match=f"(?i){said}"):
        device.connect(capability=capability).infer(engine(built_by), student.image)


def test_a_cut_engine_is_refused_as_such(device, student, engine):
    cut = engine()
    cut.write_bytes(cut.read_bytes()[:-100])
    with pytest.raises(DeviceError, match=r"(?i)cut|engine"):
        device.connect().infer(cut, student.image)


@OVER_SSH
@pytest.mark.parametrize(("how", "said"), [("no json", "no outputs"), ("cut json", "cut short"), ("killed", "killed")])
def test_answers_that_are_missing_are_not_made_up(device, student, engine, how, said):
    with pytest.raises(DeviceError, match=said):
        device.connect("8.2", fail={"infer": how}).infer(engine("8.2"), student.image)


def test_a_trtexec_that_hangs_is_ended_at_the_deadline_and_its_last_line_shown(device, student, monkeypatch):
    connection = device.connect(fail={"build": "hang"})
    monkeypatch.setattr(module, "_BUILD_S", 3.0)
    with pytest.raises(DeviceError, match="not done in time") as refused:
        connection.build({"int8": student.int8})
    assert "TensorRT version: 10.3.0" in refused.value.seen and not any(path.is_dir() for path in device.engines)


def test_without_tensorrt_the_environment_is_at_fault(device):
    with pytest.raises(EnvironmentProblem, match="no TensorRT") as refused:
        installed({"said": {}}, "jetson: probe")
    assert refused.value.exit_code == 5 and "apt-get install" in refused.value.fix


def test_a_version_nobody_knows_is_refused_before_anything_is_built():
    with pytest.raises(EnvironmentProblem, match="not known"):
        installed({"said": {"trtexec": "/t", "trtexec_banner": "&&&& RUNNING TensorRT.trtexec [TensorRT v9100] # t"}}, "here")


BANNER = "&&&& RUNNING TensorRT.trtexec [TensorRT v%s] # trtexec --help"


@pytest.mark.parametrize(
    ("number", "in_python", "backend"),
    [("8201", "8.2.1.8", "trtexec"), ("8502", "8.5.2.2", "tensorrt"), ("100300", "10.3.0", "tensorrt"),
     ("100300", "10.13.3", "trtexec"), ("100300", None, "trtexec"), ("110000", "11.0.0", "trtexec")],
)  # fmt: skip
def test_python_drives_tensorrt_where_it_has_that_very_one_and_we_know_its_calls(number, in_python, backend):
    said = {"trtexec": "/t", "trtexec_banner": BANNER % number, "tensorrt_python": in_python}
    assert installed({"said": said}, "here").backend == backend


def test_an_engine_changed_on_the_way_is_refused(device, student, monkeypatch):
    get = LocalTransport.get
    monkeypatch.setattr(LocalTransport, "get", lambda self, name: _spoilt(get(self, name)))
    with pytest.raises(IntegrityError, match="other bytes"):
        device.connect().build({"int8": student.int8})


def _spoilt(path):
    if path.suffix == ".plan":
        path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    return path


def test_models_take_turns_in_an_order_turned_round_every_time(device, student, engine):
    plan = MeasuringPlan(rounds=2, queries=5, discard=0, round_s=0.0)
    spans = device.connect().measure({"int8": engine(), "fp32": engine()}, student.image, plan)["spans"]
    order = sorted((start, name) for name, blocks in spans.items() for start, _ in blocks)
    assert [name for _, name in order] == ["fp32", "int8", "int8", "fp32"]


@OVER_SSH
def test_a_trtexec_ends_with_the_connection_it_was_asked_through(device, student, engine, sshd):
    connection, asked = device.connect(fail={"time": "hang"}), engine()

    def cut():
        until(lambda: any("exportTimes" in _words(pid) for pid in sshd.agents()))
        sshd.cut()

    cutter = threading.Thread(target=cut)
    cutter.start()
    with pytest.raises(DeviceError):
        connection.measure({"int8": asked}, student.image, QUICK)
    cutter.join()
    until(lambda: not sshd.agents())


def _words(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def until(true):
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_trtexec_says_against_its_own_times_is_told_once():
    log = read_log(Path(__file__).parents[2].joinpath("fixtures/trtexec/retyped/10.3.0_run_unstable.log").read_text())
    (told,) = module.concerns("int8", [([], log), ([], log)])
    assert told.startswith("int8: ") and "unstable" in told


def test_a_tensorrt_newer_than_the_known_ones_is_used_and_said_to_be_new():
    said = {"trtexec": "/usr/src/tensorrt/bin/trtexec", "trtexec_banner": "&&&& RUNNING TensorRT.trtexec [TensorRT v102000] # x"}
    found = installed({"said": said}, "jetson")
    assert found.release == (10, 20) and "newer than edgekd knows" in found.newer


def test_without_numpy_there_trtexec_answers_though_python_has_tensorrt():
    said = {"trtexec": "/t", "trtexec_banner": BANNER % "100300", "tensorrt_python": "10.3.0"}

    def backend(**versions):
        return installed({"said": said, "identity": {"versions": versions}}, "here").backend

    assert (backend(python="3.10.12", numpy="1.26"), backend(python="3.10.12")) == ("tensorrt", "trtexec")


RAN = "&&&& RUNNING TensorRT.trtexec [TensorRT v%s] # t\n[I] x\n&&&& PASSED TensorRT.trtexec [TensorRT v%s] # t\n"


def test_work_of_another_tensorrt_than_the_probe_found_is_refused(device):
    connection = device.connect("8.6")
    assert connection._judged(RAN % ("8602", "8602"), 0, "here").passed
    with pytest.raises(DeviceError, match=r"TensorRT 8.5.2 did this, and the probe found 8.6.2"):
        connection._judged(RAN % ("8502", "8502"), 0, "here")


@pytest.mark.parametrize("line", ["Created input binding for input with dimensions 1x3x8x8",
                                  "Input binding for input with dimensions 1x3x8x8 is created."])  # fmt: skip
def test_an_engine_of_other_images_is_seen_where_trtexec_would_take_them(line):
    module.check_input(f"[I] {line}\n", 192, "here")
    module.check_input("[I] nothing is told\n", 5, "here")
    with pytest.raises(DeviceError, match="other images") as refused:
        module.check_input(f"[I] {line}\n", 48, "here")
    assert refused.value.seen == "1x3x8x8, not 48 values"


def test_a_cuda_graph_that_was_not_to_be_had_and_the_time_with_gaps_are_read_of_the_log():
    soft = read_log(
        "[11/22/2026-05:50:53] [W] --useCudaGraph flag has been ignored.\n[11/22/2026-05:50:53] [I] Total Host Walltime: 3 s"
    )
    assert (module.launched([soft]), module.launched([read_log("")])) == ("enqueue", "graph")
    assert (module.busy_s([1000.0], soft), module.busy_s([1000.0], read_log("")), module.busy_s([4000.0], soft)) == (
        3.0,
        1.0,
        4.0,
    )


@pytest.mark.parametrize("in_python", ["8.2.1", "11.1.0"])
def test_a_python_module_that_is_not_driven_is_not_said_to_be_missing(in_python):
    with pytest.raises(EnvironmentProblem, match="is one that edgekd does not drive") as refused:
        installed({"said": {"tensorrt_python": in_python}}, "here")
    assert refused.value.seen == in_python


def test_what_a_device_removed_to_make_room_is_told_in_words(device, student, monkeypatch):
    connection = device.connect()
    asked = connection._call

    def full(verb, request, deadline_s):
        reply = asked(verb, request, deadline_s)
        reply["models"]["int8"]["removed"] = {"engines": 3, "bytes": 812_000_000}
        return reply

    assert connection.build({"int8": student.int8})["int8"].removed == ""
    monkeypatch.setattr(connection, "_call", full)
    told = connection.build({"int8": student.int8})["int8"].removed
    assert told == "the device removed 3 older engines, 812 MB, least recently used first"
