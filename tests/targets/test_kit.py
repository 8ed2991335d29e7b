"""Kits on a fake Jetson: run alone, killed, failing; their replies asked by the ordinary connections, tampered with, foreign."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import tiny_models as TINY
import trtexec
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd import targets
from edgekd.core import DeviceError, InputError, IntegrityError
from edgekd.device.kit_reply import SEAL
from edgekd.targets import MeasuringPlan
from edgekd.targets.kit.making import Asked, most_images, write_kit
from edgekd.targets.kit.reply import Reply
from edgekd.targets.tensorrt import connection as module

GLANCE = MeasuringPlan(rounds=1, queries=10, discard=0, round_s=0.0)
PLAN = MeasuringPlan(rounds=1, queries=20, discard=0, round_s=0.0)
BENCHMARK = MeasuringPlan(rounds=1, queries=30, discard=0, round_s=0.0)
NEW_KIT = "edgekd kit runs/x --target jetson"
OLD_PYTHON = next(map(str, Path.home().glob(".pyenv/versions/3.6.*/bin/python")), "")
COMPATIBLE = "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0"
SPEC = {"device": "orin-nano", "runtime": "tensorrt", "precision": "fp32", "required": "always", "threads": 1,
        "tensorrt": None, "host": None, "python": "python3", "clocks": "as-is"}  # fmt: skip


def target(**changes):
    return targets.resolve("jetson", SimpleNamespace(**{**SPEC, **changes}))


def made(folder, kit, aim, files, images, plan=BENCHMARK):
    """Write a kit of the same files as sketch and as student."""
    asked = Asked(files, images[:1], GLANCE, PLAN, images[:1], plan, [images])
    about = {"recipe": "small", "images": len(images), "test_images": 9, "new_kit": NEW_KIT}
    folder.mkdir()
    return write_kit(kit, aim, asked, about, folder)


class Jetson:
    """A fake one below ``folder``, a kit for it beside, and what was made of what."""

    def __init__(self, folder, version="10.3", **switches):
        self.folder, self.root, self.kit = folder, folder / "root", folder / "kit" / "jetson-kit.pyz"
        for path, content in {"proc/sys/kernel/arch": "aarch64\n", "proc/device-tree/compatible": COMPATIBLE}.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(content)
        (folder / "home").mkdir()
        self.kit.parent.mkdir()
        self.install(version, **switches)
        self.fp32 = TINY.float_model(folder / "f.onnx", batch=1, opset=13)
        self.images = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
        self.made = made(folder / "parts", self.kit, target(), self.files, self.images)

    def files(self, stage, identity):
        flavours = targets.candidates(target(), identity)
        return dict.fromkeys(flavours, self.fp32)

    def install(self, version="10.3", **switches):
        trtexec.install(self.root, version, **switches)

    @property
    def command(self):
        return [sys.executable, "-S", "-E", str(self.kit)]

    @property
    def environment(self):
        return {"EDGEKD_DEVICE_ROOT": str(self.root), "HOME": str(self.folder / "home"), "PATH": "/usr/bin:/bin"}

    def run(self, command=None):
        return subprocess.run(
            command or self.command, cwd="/", env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )

    @property
    def reply(self):
        return self.kit.parent / "jetson-reply.zip"

    def connect(self, reply=None):
        return targets.connect(target(), targets.Reach(replies={"jetson": reply or self.reply}))


@pytest.fixture(autouse=True)
def soon_warm(monkeypatch):
    monkeypatch.setattr(module, "WARM_UP_S", 0.02)


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """A Jetson whose kit ran to its end, in a bare environment and without site-packages."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "WARM_UP_S", 0.02)
        jetson = Jetson(tmp_path_factory.mktemp("jetson"))
    jetson.ran = jetson.run()
    assert jetson.ran.returncode == 0, jetson.ran.stdout + jetson.ran.stderr
    return jetson


def logits(jetson):
    session = onnxruntime.InferenceSession(str(jetson.fp32), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"input": one[None]})[0] for one in jetson.images])


def all_that_is_asked(jetson, exact=True):
    """What preflight, build and benchmark ask; returns the last measurement."""
    with jetson.connect() as connection:
        assert connection.probe()["identity"]["module"] == "p3767-0005"
        (sketched,) = connection.build({"fp32": jetson.fp32}).values()
        connection.measure({"fp32": sketched.file}, jetson.images[:1], GLANCE)
        connection.measure({"fp32": sketched.file}, jetson.images[:1], PLAN)
        (built,) = connection.build({"fp32": jetson.fp32}).values()
        assert built.file.read_bytes()[:4] == b"ftrt" and "&&&& PASSED" in built.log and len(built.layers) > 1
        got = connection.infer(built.file, jetson.images)
        assert np.allclose(got, logits(jetson), rtol=0 if exact else 1e-5, atol=0) and connection.most_images() == 2
        return connection.measure({"fp32": built.file}, jetson.images[:1], BENCHMARK)


def test_a_kit_run_alone_without_numpy_answers_all_that_the_steps_ask(answered):
    measured = all_that_is_asked(answered)
    assert [len(one) for one in measured["rounds"]["fp32"]] == [30] and measured["facts"]["via"] == "trtexec"
    assert measured["facts"]["by"] == "a kit, on the device alone"
    assert re.fullmatch(r"\S+Z to \S+Z", measured["facts"]["device_clock"])
    steps = re.findall(r"\[\d/6\] (.*), about \d+ (?:s|min) left", answered.ran.stdout)
    timed = "time fp32, 1 round"
    assert steps == ["preflight: build fp32", *[f"preflight: {timed}"] * 2, "student: build fp32", "student: ask fp32",
                     f"student: {timed}"]  # fmt: skip
    assert [path.name for path in answered.kit.parent.iterdir() if path.name != "jetson-kit.pyz"] == ["jetson-reply.zip"]


@pytest.mark.skipif(not OLD_PYTHON, reason="no Python 3.6 below ~/.pyenv")
def test_a_kit_runs_with_python_3_6_on_the_oldest_tensorrt(tmp_path):
    jetson = Jetson(tmp_path, "8.2")
    ran = jetson.run([OLD_PYTHON, str(jetson.kit)])
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert all_that_is_asked(jetson, exact=False)["facts"]["tensorrt"].startswith("8.2")


def test_what_the_kit_was_not_made_for_is_refused_and_named_with_the_way_to_a_new_kit(answered, tmp_path):
    other = TINY.float_model(tmp_path / "other.onnx", batch=1, opset=13, other="5")
    with answered.connect() as connection:
        engine = connection.build({"fp32": answered.fp32})["fp32"].file
        odd = tmp_path / "odd.plan"
        odd.write_bytes(engine.read_bytes() + b"!")
        asked = {
            "models.fp32.onnx.sha256": lambda: connection.build({"fp32": other}),
            "plan.queries: 31 is asked": lambda: connection.measure(
                {"fp32": engine}, answered.images[:1], MeasuringPlan(rounds=1, queries=31, discard=0, round_s=0.0)
            ),
            "inputs[0].sha256": lambda: connection.infer(engine, answered.images + 1),
            "example.sha256": lambda: connection.measure({"fp32": engine}, answered.images[:1] + 1, BENCHMARK),
            "engine.sha256": lambda: connection.infer(odd, answered.images),
        }
        for part, ask in asked.items():
            with pytest.raises(IntegrityError) as error:
                ask()
            assert part in error.value.seen and NEW_KIT in error.value.fix and error.value.exit_code == 7
            assert ("--remeasure" in error.value.fix) == (part == "engine.sha256")


def test_a_kit_of_another_edgekd_or_another_target_is_refused(answered, monkeypatch):
    reach = targets.Reach(replies={"board": answered.reply})
    with (
        pytest.raises(IntegrityError, match="does not answer") as error,
        targets.connect(targets.resolve("board", SimpleNamespace(**SPEC)), reach),
    ):
        pass
    assert error.value.seen == "it is of the target jetson"
    monkeypatch.setattr("edgekd.targets.transport.recorded.build_zipapp", lambda: b"a later agent")
    with pytest.raises(IntegrityError) as error, answered.connect():
        pass
    assert error.value.seen.startswith("agent")


def test_a_reply_finds_its_target_and_one_way_to_a_device_is_enough(answered, tmp_path):
    specs = {"cpu": SimpleNamespace(**{**SPEC, "device": "local-cpu"}), "jetson": SimpleNamespace(**SPEC)}
    environment = {"EDGEKD_HOST_JETSON": "somewhere"}
    reach = targets.reach_of(specs, environment=environment, replies=[answered.reply])
    assert reach.replies == {"jetson": answered.reply} and reach.hosts == {}
    assert targets.why_not_measured(specs, reach) == {}
    for hosts, replies in ((["jetson=here"], 1), ([], 2)):
        with pytest.raises(InputError, match="two ways"):
            targets.reach_of(specs, hosts, replies=[answered.reply] * replies)
    with pytest.raises(IntegrityError, match="target that the recipe does not have"):
        targets.reach_of({"cpu": specs["cpu"]}, replies=[answered.reply])
    os.mkfifo(tmp_path / "pipe.zip")  # one that nobody writes to would keep us waiting without end
    for name, said in {"none.zip": "no such reply", "pipe.zip": "no plain file", ".": "no plain file"}.items():
        with pytest.raises(InputError, match=said):
            targets.reach_of(specs, replies=[tmp_path / name])


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_one_byte_changed_anywhere_in_a_reply_is_refused(answered, place, mask):
    content = bytearray(answered.reply.read_bytes())
    content[int(place * len(content))] ^= mask
    refused(answered, bytes(content))


@settings(max_examples=15, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_reply_cut_short_is_refused(answered, place):
    content = answered.reply.read_bytes()
    refused(answered, content[: int(place * len(content))])


def refused(jetson, content):
    path = jetson.folder / "tampered.zip"
    path.write_bytes(content)
    with pytest.raises(IntegrityError) as error:
        Reply.opened(path).close()
    return error.value


def sealed(content):
    return content + (SEAL % hashlib.sha256(content).hexdigest()).encode()


def test_the_part_that_was_changed_is_named(answered):
    content = answered.reply.read_bytes()
    with zipfile.ZipFile(answered.reply) as archive:
        for member in (archive.getinfo("reply.json"), archive.getinfo("kit.json"), archive.infolist()[-1]):
            at = member.header_offset + 30 + len(member.filename) + member.file_size // 2
            error = refused(answered, content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
            assert member.filename in str(error)
    assert "cut short" in str(refused(answered, content[:-1]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "../../.bashrc"}, "a file that no kit writes"), ({"name": "/etc/passwd"}, "a file that no kit writes"),
        ({"name": "parts/" + "0" * 63}, "a file that no kit writes"), ({"packed": True}, "not stored as it is"),
        ({"name": "kit.json"}, "a file twice"), ({"kit": b"{}"}, "is not the kit"), ({"head": b"[]"}, "is not an object"),
        ({"head": b"[" * 100_000}, "is not JSON"), ({"images": 0}, "cannot be read"), ({"images": -1}, "cannot be read"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_reply_that_was_sealed_by_someone_else_unfolds_nothing(answered, tmp_path, change, said):
    path, seal = tmp_path / "made.zip", (SEAL % ("0" * 64)).encode()
    with zipfile.ZipFile(answered.reply) as real, zipfile.ZipFile(path, "w") as archive:
        head, kit = real.read("reply.json"), real.read("kit.json")
        if "images" in change:
            kit = json.dumps({**json.loads(kit), "images": change["images"]}).encode()
            head = json.dumps({**json.loads(head), "kit": hashlib.sha256(kit).hexdigest()}).encode()
        archive.writestr("reply.json", change.get("head", head))
        archive.writestr("kit.json", change.get("kit", kit))
        how = zipfile.ZIP_DEFLATED if "packed" in change else zipfile.ZIP_STORED
        archive.writestr(change.get("name", "parts/" + "0" * 64), b"0" * 100, how)
        archive.comment = seal
    assert said in str(refused(answered, sealed(path.read_bytes()[: -len(seal)])))


def test_a_part_that_is_not_what_its_name_says_is_refused_when_it_is_asked_for(answered, tmp_path):
    path, seal = tmp_path / "made.zip", (SEAL % ("0" * 64)).encode()
    with zipfile.ZipFile(answered.reply) as real, zipfile.ZipFile(path, "w") as archive:
        for member in real.infolist():
            content = real.read(member)
            archive.writestr(member.filename, content + b"!" if content[:4] == b"ftrt" else content)
        archive.comment = seal
    path.write_bytes(sealed(path.read_bytes()[: -len(seal)]))
    with answered.connect(path) as connection, pytest.raises(IntegrityError, match="has other bytes"):
        connection.build({"fp32": answered.fp32})


def test_a_suspect_measurement_of_a_kit_is_taken_once_and_says_run_it_again(answered, monkeypatch):
    reasons = ("hot", "swapped", f"{targets.UNEVEN}fp32")
    monkeypatch.setattr("edgekd.targets.calm.suspicions", lambda *_: reasons)
    with answered.connect() as connection:
        engine = connection.build({"fp32": answered.fp32})["fp32"].file
        measured, told = targets.measure_calmly(connection, {"fp32": engine}, answered.images[:1], BENCHMARK)
    again = " (a kit measured this once: run the kit again)"
    assert told == ("hot" + again, "swapped", reasons[2] + again) and measured["set_aside"] == []


def test_a_killed_kit_leaves_no_process_and_goes_on_with_the_call_it_was_at(tmp_path):
    jetson = Jetson(tmp_path, fail={"time": "hang"})
    child = subprocess.Popen(jetson.command, env=jetson.environment, stdout=subprocess.PIPE, text=True)
    said = [child.stdout.readline() for _ in range(3)]
    assert "[1/6] preflight: build" in said[1] and "[2/6] preflight: time" in said[2]
    (work,) = jetson.kit.parent.glob("jetson-kit-*")
    busy = jetson.run()
    assert busy.returncode == 8 and "running already" in busy.stderr
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    until = time.monotonic() + 20
    while any(str(work) in one for one in commands()) and time.monotonic() < until:
        time.sleep(0.1)
    assert not [one for one in commands() if str(work) in one] and not jetson.reply.exists()
    first = (work / "calls/001.json").stat().st_mtime_ns
    jetson.install(fail={"infer": "memory"})
    jetson.root.joinpath("usr/src/tensorrt/bin/trtexec.json").touch()
    failed = jetson.run()
    assert failed.returncode == 6 and "student: ask fp32 failed" in failed.stderr, failed.stdout + failed.stderr
    assert "[1/6]" not in failed.stdout and "[2/6]" in failed.stdout and (work / "calls/001.json").stat().st_mtime_ns == first
    with jetson.connect() as connection:
        engine = connection.build({"fp32": jetson.fp32})["fp32"].file
        with pytest.raises(DeviceError, match="memory"):
            connection.infer(engine, jetson.images)
        with pytest.raises(IntegrityError) as error:
            connection.measure({"fp32": engine}, jetson.images[:1], BENCHMARK)
        assert "plan.queries" in error.value.seen
    jetson.install()
    again = jetson.run()
    assert again.returncode == 0 and "[4/6]" not in again.stdout and "[5/6]" in again.stdout and not work.exists()
    all_that_is_asked(jetson)


def test_a_disk_that_takes_no_more_is_told_with_its_place_and_what_to_do(answered, tmp_path):
    limit = "import os, resource as r, sys; r.setrlimit(r.RLIMIT_FSIZE, (20000,) * 2); os.execv(sys.argv[1], sys.argv[1:])"
    ran = answered.run([sys.executable, "-c", limit, *answered.command, "--folder", str(tmp_path)])
    assert ran.returncode == 6 and "the disk refuses: File too large" in ran.stderr and "--folder" in ran.stderr
    assert str(tmp_path) in ran.stderr and "Traceback" not in ran.stderr


def commands():
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().decode("utf-8", "replace"))
        except OSError:
            continue
    return found


def test_a_damaged_kit_names_the_file_and_runs_nothing(answered, tmp_path):
    content = answered.kit.read_bytes()
    with zipfile.ZipFile(answered.kit) as archive:
        member = next(one for one in archive.infolist() if one.filename.endswith(".onnx"))
    at = member.header_offset + 30 + len(member.filename) + 40
    kit = tmp_path / "jetson-kit.pyz"
    kit.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    ran = answered.run([sys.executable, str(kit)])
    assert ran.returncode == 7 and member.filename in ran.stderr and not (tmp_path / "jetson-reply.zip").exists()


def test_every_known_tensorrt_with_its_files_has_words_and_a_device_with_another_is_told(answered):
    chosen = answered.made["chosen_by"]
    assert {"8.2", "8.4", "8.5", "8.6", "10.0", "10.16", "11.1"} <= set(chosen) and len(answered.made["scripts"]) < len(chosen)
    assert json.loads(zipfile.ZipFile(answered.kit).read("kit.json")) == answered.made


def test_an_onnxruntime_device_is_asked_by_a_kit_as_well(tmp_path, models, images):
    aim, models = target(device="linux", runtime="onnxruntime", precision="int8"), dict(reversed(models.items()))
    kit = tmp_path / "kit" / "jetson-kit.pyz"
    kit.parent.mkdir()
    made(tmp_path / "parts", kit, aim, lambda *_: models, images)
    ran = subprocess.run([sys.executable, kit], capture_output=True, text=True, timeout=200, check=False,
                         env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)})  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    session = onnxruntime.InferenceSession(str(models["fp32"]), providers=["CPUExecutionProvider"])
    with targets.connect(aim, targets.Reach(replies={"jetson": kit.parent / "jetson-reply.zip"})) as connection:
        assert connection.most_images() == 7
        assert set(connection.build(models)) == {"fp32", "int8"} and connection.build({"int8": models["int8"]})["int8"].layers
        assert np.allclose(connection.infer(models["fp32"], images), session.run(None, {"input": images})[0], atol=1e-6)
        assert connection.infer(models["int8"], images, optimised=False).shape[0] == 7
        measured = connection.measure(models, images[:1], BENCHMARK)
    assert set(measured["rounds"]) == {"fp32", "int8"} and measured["facts"]["by"].startswith("a kit")


def test_a_kit_takes_along_what_is_asked_in_good_time_and_fits():
    assert (most_images(target(), 3 * 32 * 32 * 4), most_images(target(), 3 * 512 * 512 * 4)) == (1000, 170)
    board = targets.resolve(
        "board", SimpleNamespace(**{**SPEC, "device": "linux", "runtime": "onnxruntime", "precision": "int8"})
    )
    assert most_images(board, 3 * 32 * 32 * 4) == 43690
