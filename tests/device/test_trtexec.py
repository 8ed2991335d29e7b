"""trtexec under the real agent: found below the device's root, never outliving whoever asked, its images cut without numpy."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tiny_models as TINY
import trtexec as fake

from edgekd.device import build_zipapp, engine_cache, trtexec
from edgekd.device.arrays import raw_rows
from edgekd.device.files import Files
from edgekd.device.integrity import sha256_of
from edgekd.device.problem import Problem

WORDS = ["--int8", "--fp16", "--memPoolSize=workspace:64", "--skipInference", "--profilingVerbosity=detailed"]


@pytest.fixture
def work(tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "edgekd.pyz").write_bytes(build_zipapp())
    TINY.symmetric_model(folder / "m.onnx")
    return folder


def agent(work, fail):
    """A running agent that builds, and the process id of its trtexec once that has reached its failure."""
    fake.install(work.parent / "root", "10.3", fail={"build": fail})
    model = {"onnx": {"path": "m.onnx", "sha256": sha256_of(work / "m.onnx")}, "words": WORDS, "layer_words": [],
             "sidecar": {"a": 1}, "timing_key": 1}  # fmt: skip
    request = {"workdir": str(work), "deadline_s": 60, "backend": "trtexec", "models": {"int8": model}}
    own = {"EDGEKD_DEVICE_ROOT": str(work.parent / "root"), "HOME": str(work.parent), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-E", str(work / "edgekd.pyz"), "agent", "build", "--token", "t"]
    with (work.parent / "request").open("w+b") as stdin:
        stdin.write(json.dumps(request).encode())
        stdin.seek(0)
        child = subprocess.Popen(command, stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=own)
    half = list_until(lambda: list((work.parent / ".cache/edgekd/engines").glob(".building-*/engine.plan")))
    assert half and half[0].stat().st_size > 0
    (pid,) = list_until(lambda: [one.name for one in Path("/proc").iterdir() if runs(one, half[0].parent)])
    return child, pid


def runs(process, folder):
    with contextlib.suppress(OSError):
        return b"/trtexec\0" in (process / "cmdline").read_bytes() and (process / "cwd").readlink() == folder
    return False


def list_until(found):
    for _ in range(600):
        if listed := found():
            return listed
        time.sleep(0.05)
    return []


def test_a_build_killed_half_way_dies_whole_and_leaves_nothing_taken_for_an_engine(work):
    child, trtexec_pid = agent(work, "hang saving")
    child.send_signal(signal.SIGKILL)
    child.wait(30)
    assert list_until(lambda: [True] if gone(trtexec_pid) else [])
    home = work.parent / ".cache/edgekd/engines"
    assert [one.name[:10] for one in home.iterdir()] == [".building-"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(work.parent))
        patch.delenv("XDG_CACHE_HOME", raising=False)
        assert engine_cache.find({"a": 1}) is None
        with engine_cache.building(1, 1000) as folder:
            assert [str(one) for one in home.iterdir()] == [folder]


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_of_each_image_the_outputs_come_back_and_nothing_else(work, monkeypatch):
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(work.parent / "root"))
    fake.install(work.parent / "root", "10.3")
    (work / "e.plan").write_bytes(fake.engine(work / "m.onnx", "10.3"))
    np.save(work / "x.npy", np.zeros((2, 3, 8, 8), np.float32))
    files = Files(str(work))
    request = {"engine": files.kept(str(work / "e.plan")), "inputs": [files.kept(str(work / "x.npy"))], "input": "input",
               "words": ["--iterations=1", "--duration=0", "--warmUp=0", "--dumpRawBindingsToFile"],
               "until": time.monotonic() + 60}  # fmt: skip
    reply = trtexec.infer(request, files)
    lines = [json.loads(line) for line in Path(files.checked(reply["outputs"][0])).read_text().splitlines()]
    assert reply["status"] == 0 and [list(one["raw"]) for one in lines] == [["logits.output.1.4.fp32.raw"]] * 2
    assert all('"logits"' in one["json"] for one in lines)


def test_trtexec_is_looked_for_below_the_root_and_not_outside(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "elsewhere"))
    fake.install(tmp_path / "elsewhere", "10.3").rename(tmp_path / "elsewhere/trtexec")
    assert trtexec.find() is None
    program = fake.install(tmp_path, "10.3")
    assert trtexec.find() == str(program)
    program.chmod(0o644)
    assert trtexec.find() is None
    monkeypatch.delenv("EDGEKD_DEVICE_ROOT")
    monkeypatch.setattr(trtexec, "PLACES", ())
    assert trtexec.find() == str(tmp_path / "elsewhere/trtexec")


def test_images_are_cut_from_an_array_file_without_numpy(tmp_path):
    images = np.random.default_rng(0).normal(size=(3, 2, 4, 5)).astype(np.float32)
    np.save(tmp_path / "x.npy", images)
    assert list(raw_rows(str(tmp_path / "x.npy"))) == [one.tobytes() for one in images]


@pytest.mark.parametrize("array", [np.zeros((2, 3)), np.zeros((2, 3), np.int32), np.asfortranarray(np.zeros((2, 3), np.float32))])
def test_other_arrays_are_refused(tmp_path, array):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(Problem) as refused:
        list(raw_rows(str(tmp_path / "x.npy")))
    assert refused.value.code == "integrity"


@pytest.mark.parametrize("keep", [0, 5, 40, 139])
def test_a_cut_array_is_refused(tmp_path, keep):
    np.save(tmp_path / "x.npy", np.zeros((1, 3), np.float32))
    (tmp_path / "x.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:keep])
    with pytest.raises(Problem):
        list(raw_rows(str(tmp_path / "x.npy")))
