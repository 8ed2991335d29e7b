"""The agent answers every request with one JSON object between its markers, and never outlives its deadline or its host."""

import contextlib
import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgekd.device import agent as agent_module
from edgekd.device import build_zipapp
from edgekd.device.integrity import sha256_of


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "edgekd.pyz").write_bytes(build_zipapp())
    return folder


def start(work, verb, **options):
    command = [sys.executable, "-E", str(work / "edgekd.pyz"), "agent", verb, "--token", "t"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, **pipes, **options)


def ask(work, verb, content=None, **request):
    if content is None:
        content = json.dumps({"workdir": str(work), "deadline_s": 60, "threads": 1, **request}).encode()
    child = start(work, verb)
    stdout, stderr = child.communicate(content, timeout=120)
    reply = json.loads(stdout.decode().split("EDGEKD-t-BEGIN\n")[1].split("\nEDGEKD-t-END")[0])
    return SimpleNamespace(reply=reply, error=reply.get("error", {}), status=child.returncode, stderr=stderr.decode())


def described(work, name):
    return {"path": name, "sha256": sha256_of(work / name)}


NOT_REQUESTS = [(b"", "not JSON"), (b"[1]", "not an object"), (b"{}", "not an object"), (b"\xff{", "not JSON")]


@pytest.mark.parametrize(("content", "said"), [*NOT_REQUESTS, (b" " * 2**21, "not an object")])
def test_a_request_that_is_none_is_answered(work, content, said):
    done = ask(work, "probe", content)
    assert (done.error["code"], done.status) == ("device", 0) and said in done.error["what"]


def test_an_unknown_verb_is_answered_with_the_known_ones(work):
    assert ask(work, "format-disk").error["fix"] == "one of: build, infer, measure, probe, round"


def hanging_request(work, deadline_s):
    """The agent will read a file without end."""
    (work / "endless").symlink_to("/dev/zero")
    endless = {"path": "endless", "sha256": "0" * 64}
    return json.dumps({"workdir": str(work), "deadline_s": deadline_s, "threads": 1, "models": {"m": endless}}).encode()


def test_a_hanging_verb_says_so_at_its_deadline_and_ends(work):
    child = start(work, "build", start_new_session=True)
    stdout, _ = child.communicate(hanging_request(work, 1.5), timeout=60)
    assert b'"code": "device"' in stdout and b"not finished after 1.5 s" in stdout and b"EDGEKD-t-END" in stdout
    assert child.returncode == -signal.SIGKILL  # its whole process group


def test_the_kernels_alarm_ends_an_agent_whose_interpreter_is_stuck(work):
    held = "import ctypes; ctypes.PyDLL(None).sleep(60)"  # native code that never lets go of the interpreter
    code = f"import sys; sys.path.insert(0, {str(work / 'edgekd.pyz')!r}); from edgekd_device import agent; "
    child = subprocess.Popen([sys.executable, "-c", code + "agent._watch('x', 0.2, print); " + held])
    assert child.wait(30) == -signal.SIGALRM


HOST = """
import subprocess, sys, time
agent = subprocess.Popen([sys.executable, sys.argv[1], "agent", "build", "--token", "t"], stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL, start_new_session=True)
agent.stdin.write(sys.argv[2].encode())
agent.stdin.close()
print(agent.pid, flush=True)
time.sleep(60)
"""


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_agent_dies_with_the_process_that_started_it(work):
    command = [sys.executable, "-c", HOST, str(work / "edgekd.pyz"), hanging_request(work, 60).decode()]
    host = subprocess.Popen(command, stdout=subprocess.PIPE)
    with contextlib.closing(host.stdout):
        agent = int(host.stdout.readline())
        time.sleep(1.5)  # until it reads without end
        assert lives(agent)
        host.kill()
        host.wait()
    deadline = time.monotonic() + 20
    while lives(agent) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not lives(agent)


def test_files_with_other_bytes_are_refused(work, tiny):
    tiny.float_model(work / "m.onnx")
    paths = ("m.onnx", "none.onnx", f"../{work.name}/m.onnx", str(work / "m.onnx"))
    for wrong in [{"path": path, "sha256": "0" * 64} for path in paths]:
        assert ask(work, "build", models={"m": wrong}).error["code"] == "integrity"


def test_a_pickle_is_not_opened(work, tiny):
    tiny.float_model(work / "m.onnx")
    np.save(work / "x.npy", np.array([{}], dtype=object))
    done = ask(work, "infer", model=described(work, "m.onnx"), inputs=[described(work, "x.npy")], optimised=True, batch=1)
    assert done.error["code"] == "integrity" and "numpy" in done.error["what"]


def test_what_a_library_prints_does_not_reach_the_reply(work):
    (work / "sitecustomize.py").write_text("print('a banner on stdout')")
    child = subprocess.run(
        [sys.executable, str(work / "edgekd.pyz"), "agent", "probe", "--token", "t"], input=b'{"deadline_s": 30}',
        capture_output=True, env={**os.environ, "PYTHONPATH": str(work)}, timeout=60, check=True,
    )  # fmt: skip
    assert child.stdout.startswith(b"a banner") and b'BEGIN\n{"identity"' in child.stdout


def test_a_bug_is_told_with_its_place_and_without_a_traceback(work):
    done = ask(work, "build", models=7)
    assert done.error["code"] == "bug" and "onnxverbs.py:" in done.error["seen"] and "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_the_devices_and_named(number):
    told = agent_module._told(OSError(number, "No space left on device", "/work/x"), "build")
    assert (told.code, told.what, told.seen) == ("device", "the device's disk is full", "/work/x")


def test_an_unknown_backend_is_answered_with_the_known_ones(work):
    done = ask(work, "build", backend="ncnn", models={})
    assert done.error["code"] == "device" and done.error["fix"] == "one of: onnxruntime, openvino, tensorrt, trtexec"


@pytest.fixture
def measuring(work, tiny):
    """A request of three rounds; each process that answers one runs ``first`` before, and is told in the file started."""
    tiny.float_model(work / "a.onnx")
    np.save(work / "example.npy", np.zeros((1, 3, 8, 8), np.float32))
    plan = {"rounds": 3, "queries": 12, "block": 5, "discard": 1, "round_s": 0.0, "budget_s": 1.0}

    def measure(first="pass"):
        (work / "real.pyz").write_bytes((work / "edgekd.pyz").read_bytes())
        real, started = str(work / "real.pyz"), str(work / "started")
        told = f"open({started!r}, 'a').write('%d ' % os.getpid())\n    {first}"
        lines = f"import os, runpy, sys\nif sys.argv[2] == 'round':\n    {told}\nrunpy.run_path({real!r}, run_name='__main__')\n"
        (work / "edgekd.pyz").write_text(lines)
        models, example = {"a": described(work, "a.onnx")}, described(work, "example.npy")
        return ask(work, "measure", models=models, example=example, plan=plan, lock_wait_s=60)

    return measure


def test_each_round_is_timed_in_a_process_of_its_own_and_all_are_told(measuring, work):
    reply = measuring().reply
    assert [len(one) for one in reply["rounds"]["a"]] == [15, 15, 15] and reply["turns"] == [3, 3, 3]
    assert len(reply["conditions"]["between"]) == len(reply["conditions"]["waited_share"]["a"]) == 3
    assert len(reply["spans"]["a"]) == 9 and len(set((work / "started").read_text().split())) == 3


def test_a_round_whose_process_is_killed_is_the_devices_trouble(measuring):
    done = measuring("os.kill(os.getpid(), 9)")
    assert (done.error["code"], done.status) == ("device-memory", 0)
    assert done.error["what"] == "round 1 ended with status -9 and without a reply" and "memory" in done.error["fix"]
