"""The local machine through the very protocol a remote one would speak: real sessions, real processes, real trouble."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgekd import targets
from edgekd.core import DeviceError, DeviceMemoryError, EdgekdError, EnvironmentProblem, InputError, IntegrityError, LockedError
from edgekd.device.lock import measuring_lock
from edgekd.targets import MeasuringPlan, Reach, calm, client, connect, float_layers
from edgekd.targets.transport import Answer
from edgekd.targets.transport.local import LocalTransport

QUICK = MeasuringPlan(rounds=2, queries=20, discard=2, round_s=0.0)


def scripted(monkeypatch, code):
    """The agent's place is taken by a zipapp that runs ``code``."""
    import io
    import zipfile

    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("__main__.py", "import os, sys, time, signal\ntoken = sys.argv[-1]\n" + code)
    monkeypatch.setattr(client, "build_zipapp", content.getvalue)


def test_probe_says_the_same_identity_twice_and_conditions(local):
    with connect(local, Reach()) as connection:
        first, second = connection.probe(), connection.probe()
    assert first["identity"] == second["identity"] and first["identity"]["versions"]["numpy"] == np.__version__
    assert first["conditions"]["clock_s"] < second["conditions"]["clock_s"]


@pytest.mark.parametrize("key", ["machine", "arch"])
def test_a_device_that_becomes_another_is_refused(local, monkeypatch, key):
    one = {"machine": "a", "arch": "x86_64", "clock": 1}
    identities = iter([one, {**one, "clock": 2}, {**one, key: "b"}])
    monkeypatch.setattr(targets.Connection, "_call", lambda self, *ignored: {"identity": next(identities)})
    with connect(local, Reach()) as connection:
        assert connection.probe()["identity"]["clock"] + connection.probe()["identity"]["clock"] == 3
        with pytest.raises(DeviceError, match="not what it was a moment ago") as refused:
            connection.probe()
    assert refused.value.seen == f"{key}: {one[key]}, then b"


def test_build_tells_float_from_int8(local, models):
    with connect(local, Reach()) as connection:
        built = connection.build(models)
    assert {name: len(float_layers(one.layers)) for name, one in built.items()} == {"fp32": 2, "int8": 0}
    assert all(one.build_s > 0 and one.size_mb > 0 and one.peak_memory_mb > 0 for one in built.values())


def test_measure_gives_every_query_of_every_round_and_the_conditions(local, models, images):
    with connect(local, Reach()) as connection:
        got = connection.measure(models, images[:1], QUICK)
    assert {name: [len(one) for one in rounds] for name, rounds in got["rounds"].items()} == {"fp32": [20, 20], "int8": [20, 20]}
    assert all(ms > 0 for rounds in got["rounds"].values() for one in rounds for ms in one)
    assert len(got["conditions"]["between"]) == 2 and isinstance(targets.suspicions(got, local.profile), tuple)


@pytest.mark.parametrize(("chunk_bytes", "batch"), [(64 << 20, 1), (2 * 768, 1), (3 * 768, 2), (1, 64)])
def test_infer_is_the_same_in_any_chunks_and_batches(local, models, images, monkeypatch, chunk_bytes, batch):
    import onnxruntime

    expected = onnxruntime.InferenceSession(str(models["fp32"]), providers=["CPUExecutionProvider"]).run(None, {"input": images})[
        0
    ]
    monkeypatch.setattr(targets.cpu, "CHUNK_BYTES", chunk_bytes)
    with connect(local, Reach()) as connection:
        for optimised in (True, False):
            got = connection.infer(models["fp32"], images, optimised=optimised, batch=batch)
            assert (got.shape, got.dtype) == ((7, 4), np.float32)
            assert np.allclose(got, expected, atol=1e-6)


def test_a_measurement_waits_for_another_and_then_names_it(local, models, images):
    with measuring_lock(120), connect(local, Reach()) as connection, pytest.raises(LockedError) as refused:
        connection.measure(models, images[:1], QUICK, lock_wait_s=0.1)
    assert f"process {os.getpid()} of user" in refused.value.seen and refused.value.exit_code == 8


def test_the_work_folder_is_private_and_gone_afterwards(local, models, images):
    with connect(local, Reach()) as connection:
        folder = Path(connection._transport.workdir)
        assert folder.stat().st_mode & 0o777 == 0o700
        connection.infer(models["fp32"], images)
    assert not folder.exists()


def test_the_work_folder_is_gone_after_an_error_too(local):
    with pytest.raises(RuntimeError), connect(local, Reach()) as connection:
        folder = Path(connection._transport.workdir)
        raise RuntimeError
    assert not folder.exists()


def test_a_model_that_is_none_is_refused_by_name(local, tmp_path):
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with connect(local, Reach()) as connection, pytest.raises(InputError, match="not an ONNX file") as refused:
        connection.build({"bad": tmp_path / "m.onnx"})
    assert refused.value.where.startswith("cpu: build ")


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGABRT"])
def test_an_agent_killed_by_a_signal_is_named(local, monkeypatch, name):
    scripted(monkeypatch, f"os.write(2, b'last words'); os.kill(os.getpid(), signal.{name})")
    with connect(local, Reach()) as connection, pytest.raises(DeviceError, match=f"killed by {name}") as refused:
        connection.probe()
    assert (refused.value.exit_code, refused.value.seen, refused.value.where) == (6, "last words", "cpu: probe")
    assert type(refused.value) is DeviceError  # whatever it died of: no model was there


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        ("os.kill(os.getpid(), signal.SIGKILL)", DeviceMemoryError),
        ('os.write(2, b"what():  std::bad_alloc"); os.kill(os.getpid(), signal.SIGABRT)', DeviceMemoryError),
        ("os.kill(os.getpid(), signal.SIGABRT)", DeviceError),
        ("os.kill(os.getpid(), signal.SIGTERM)", DeviceError),
        ("raise SystemExit(3)", DeviceError),
        ("raise SystemExit('OpenBLAS error: Memory allocation still failed after 10 retries, giving up.')", DeviceMemoryError),
    ],
)
def test_an_agent_that_dies_for_want_of_memory_with_a_model_says_something_about_the_model(local, models, monkeypatch, end, kind):
    scripted(monkeypatch, end)
    with connect(local, Reach()) as connection, pytest.raises(DeviceError) as refused:
        connection.build(models)
    assert type(refused.value) is kind and refused.value.exit_code == 6


def test_an_agent_killed_from_outside_while_it_measures(local, models, images):
    """The real agent, found by its folder and killed with -9 by another process."""
    with measuring_lock(120), connect(local, Reach()) as connection:  # while we hold the lock, it waits, and can be found
        killer = subprocess.Popen([sys.executable, "-c", KILLER, connection._transport.workdir])
        with pytest.raises(DeviceMemoryError, match="killed by SIGKILL") as refused:
            connection.measure(models, images[:1], QUICK, lock_wait_s=60)
        assert killer.wait(30) == 0
    assert "out of memory" in refused.value.fix


KILLER = """
import os, signal, sys, time
while True:
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            words = open(f"/proc/{pid}/cmdline").read().split("\\0")
        except OSError:
            continue
        if sys.argv[1] + "/edgekd.pyz" in words and int(pid) != os.getpid():
            os.kill(int(pid), signal.SIGKILL)
            raise SystemExit
    time.sleep(0.05)
"""


def test_a_hung_agent_is_killed_with_its_children(local, monkeypatch, tmp_path):
    scripted(
        monkeypatch,
        "import subprocess\nchild = subprocess.Popen(['sleep', '300'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid))\ntime.sleep(300)",
    )
    monkeypatch.setattr(client, "_PROBE_S", 0.5)
    monkeypatch.setattr(client, "_GRACE_S", 1.5)
    with connect(local, Reach()) as connection, pytest.raises(DeviceError, match="hung: nothing was heard") as refused:
        connection.probe()
    assert refused.value.exit_code == 6
    child = int((tmp_path / "pid").read_text())
    for _ in range(100):
        stat = Path(f"/proc/{child}/stat")
        if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("a child of the hung agent lives on")


def test_an_interrupt_kills_the_agent(local, monkeypatch, tmp_path):
    scripted(
        monkeypatch,
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nos.kill(os.getppid(), signal.SIGINT)\ntime.sleep(300)",
    )
    with pytest.raises(KeyboardInterrupt), connect(local, Reach()) as connection:
        connection.probe()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


@pytest.mark.parametrize(
    ("code", "said", "seen"),
    [
        ("print('Welcome to Ubuntu')", "gave no reply and ended with status 0", "Welcome to Ubuntu"),
        ("sys.exit('no such device')", "gave no reply and ended with status 1", "no such device"),
        ("print('EDGEKD-%s-BEGIN' % token)", "gave no reply", "BEGIN"),
        ("print('EDGEKD-0-BEGIN\\n{}\\nEDGEKD-0-END')", "gave no reply", "EDGEKD-0"),
        ("print('EDGEKD-%s-BEGIN\\nnot json\\nEDGEKD-%s-END' % (token, token))", "not JSON", "not json"),
        ("print('EDGEKD-%s-BEGIN\\n[1]\\nEDGEKD-%s-END' % (token, token))", "not an object", "[1]"),
        ("pass", "gave no reply", "nothing"),
    ],
)  # fmt: skip
def test_garbage_is_shown_as_what_it_is(local, monkeypatch, code, said, seen):
    scripted(monkeypatch, code)
    with connect(local, Reach()) as connection, pytest.raises(DeviceError, match=said) as refused:
        connection.probe()
    assert seen in refused.value.seen and "\n" not in refused.value.seen


def reply(body):
    """Code that prints the Python expression ``body`` (a string) as the agent's reply."""
    return f"print('EDGEKD-%s-BEGIN\\n%s\\nEDGEKD-%s-END' % (token, {body}, token))"


def test_a_banner_before_the_reply_does_no_harm(local, monkeypatch):
    scripted(monkeypatch, "print('Welcome\\nEDGEKD-x-BEGIN\\n{}\\nEDGEKD-x-END')\n" + reply('\'{"identity": {"a": 1}}\''))
    with connect(local, Reach()) as connection:
        assert connection.probe()["identity"]["a"] == 1


def test_the_agent_sees_a_clean_environment(local, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/evil")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("SECRET_TOKEN", "x")
    scripted(monkeypatch, "import json\n" + reply("json.dumps({'identity': {}, 'env': sorted(os.environ), 'path': sys.path})"))
    with connect(local, Reach()) as connection:
        seen = connection.probe()
    assert set(seen["env"]) <= {"PATH", "HOME", "LD_LIBRARY_PATH", "TMPDIR", "EDGEKD_DEVICE_ROOT", "CUDA_VISIBLE_DEVICES",
                                "LC_ALL", "LC_CTYPE"}  # fmt: skip
    assert "/evil" not in seen["path"]


KINDS = {"environment": EnvironmentProblem, "integrity": IntegrityError, "device": DeviceError, "bug": EdgekdError}


@pytest.mark.parametrize("code", KINDS)
def test_the_agents_errors_keep_their_kind(local, monkeypatch, code):
    error = {"error": {"code": code, "what": "w", "where": "m.onnx", "seen": "s", "fix": "f"}}
    scripted(monkeypatch, reply(repr(json.dumps(error))))
    with connect(local, Reach()) as connection, pytest.raises(EdgekdError) as refused:
        connection.probe()
    assert type(refused.value) is KINDS[code] and str(refused.value) == "cpu: probe m.onnx: w" and refused.value.fix == "f"


def test_without_onnxruntime_the_environment_is_at_fault(local, models, monkeypatch, tmp_path):
    real = client.build_zipapp()
    (tmp_path / "real.pyz").write_bytes(real)
    scripted(
        monkeypatch,
        f"import runpy\nsys.modules['onnxruntime'] = None\nsys.path[0] = {str(tmp_path / 'real.pyz')!r}\n"
        f"from edgekd_device.__main__ import main\nsys.exit(main(sys.argv[1:]))",
    )
    with (
        connect(local, Reach()) as connection,
        pytest.raises(EnvironmentProblem, match="onnxruntime cannot be imported") as refused,
    ):
        connection.build(models)
    assert (refused.value.exit_code, refused.value.fix) == (5, "pip install onnxruntime")


def test_a_result_changed_on_the_way_is_refused(local, models, images, monkeypatch):
    get = LocalTransport.get

    def tampered(self, name):
        path = get(self, name)
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        return path

    monkeypatch.setattr(LocalTransport, "get", tampered)
    with connect(local, Reach()) as connection, pytest.raises(IntegrityError, match="other bytes"):
        connection.infer(models["fp32"], images)


def test_a_target_without_a_host_is_not_reached(local_spec):
    spec = local_spec(device="orin-nano", runtime="tensorrt")
    with pytest.raises(DeviceError, match="no host is given"), connect(targets.resolve("jetson", spec), Reach()):
        pass


def test_a_reply_is_found_whatever_surrounds_it():
    answer = Answer(-signal.SIGKILL, b"noise\nEDGEKD-ab-BEGIN\n{}\nEDGEKD-ab-END\nnoise", b"")
    assert client.reply_of(answer, "ab", "here", 1.0) == {}  # the agent spoke before it ended itself


def test_a_suspect_measurement_is_taken_again_and_never_chosen_for_its_speed(local, models, images, monkeypatch):
    reasons = iter([("busy",), ("busy", "drift"), ()])
    monkeypatch.setattr(calm, "suspicions", lambda measured, profile: next(reasons))
    with connect(local, Reach()) as connection:
        measured, suspect = calm.measure_calmly(connection, models, images[:1], QUICK, pause_s=0)
    assert (suspect, measured["set_aside"]) == ((), [["busy"], ["busy", "drift"]])


def test_a_suspect_measurement_that_took_too_long_is_not_repeated(local, models, images, monkeypatch):
    monkeypatch.setattr(calm, "suspicions", lambda measured, profile: ("busy",))
    plan = MeasuringPlan(rounds=1, queries=20, discard=2, round_s=0.0, budget_s=0.0)
    with connect(local, Reach()) as connection:
        measured, suspect = calm.measure_calmly(connection, models, images[:1], plan, pause_s=0)
    assert (suspect, measured["set_aside"]) == (("busy",), [])


def test_trouble_that_stays_is_told_with_the_last_measurement(local, models, images, monkeypatch):
    monkeypatch.setattr(calm, "suspicions", lambda measured, profile: ("busy",))
    with connect(local, Reach()) as connection:
        measured, suspect = calm.measure_calmly(connection, models, images[:1], QUICK, attempts=3, pause_s=0)
    assert (suspect, measured["set_aside"]) == (("busy",), [["busy"], ["busy"]])
