"""One run folder: held by another process, left by a killed one, moved away, and given other images."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from edgekd.cli import main
from edgekd.pipeline import chain

PARENT = pytest.mark.parametrize("toy_chain", [False], indirect=True, ids=["in the parent"])
HOLD = """
import sys, time
from pathlib import Path
from edgekd.core.lock import locked
with locked(Path(sys.argv[1]), "the run"):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def typed(walk, monkeypatch):
    """Type ``edgekd pipeline`` on the toy recipe and its two stages; returns what click's runner saw."""
    monkeypatch.chdir(walk.folder)
    (walk.folder / "toy.yaml").write_text(walk.recipe)

    def run(*words):
        return CliRunner().invoke(main, ["pipeline", "toy.yaml", "--run-dir", "run", "--json", *words])

    return run


@PARENT
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_run_interrupted_by_a_signal_ends_with_its_code_and_a_report(typed, walk, monkeypatch, number, code):
    monkeypatch.setenv("TOY", f"signal {number}")
    document = json.loads(typed().stdout)
    assert (document["exit_code"], document["verdict"], document["error"]["code"]) == (code, None, "interrupted")
    assert [step["status"] for step in document["stages"]] == ["done", "failed"]
    assert (walk.folder / "run/report.html").exists() and document["resume"].startswith("edgekd pipeline toy.yaml")
    monkeypatch.delenv("TOY")
    assert [step["status"] for step in json.loads(typed().stdout)["stages"]] == ["cached", "done"]


@pytest.fixture
def holder(tmp_path):
    """Another process that is in the middle of this run."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run/.lock")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@PARENT
def test_a_second_process_on_one_run_ends_with_8_and_names_the_first(typed, holder, walk):
    refused = typed()
    error = json.loads(refused.stdout)["error"]
    assert (refused.exit_code, error["code"], error["where"]) == (8, "locked", "run/.lock")
    since = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}"
    assert re.fullmatch(rf"process {holder.pid} on {re.escape(socket.gethostname())} since {since}", error["seen"])
    assert error["seen"] in refused.stderr and error["fix"] in refused.stderr
    assert walk.calls() == [] and os.listdir(walk.folder / "run") == [".lock"]  # noqa: PTH208


@PARENT
def test_the_lock_of_a_process_killed_with_kill_9_holds_nobody_up(typed, holder):
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert str(holder.pid) in Path("run/.lock").read_text()  # it is still there
    assert [step["status"] for step in json.loads(typed().stdout)["stages"]] == ["done", "done"]


@PARENT
def test_a_run_moved_as_a_whole_is_whole_and_goes_on_where_it_was(typed, walk, tmp_path):
    before = json.loads(typed().stdout)
    (tmp_path / "elsewhere").mkdir()
    shutil.move(tmp_path / "run", tmp_path / "elsewhere/moved")
    after = json.loads(typed("--run-dir", "elsewhere/moved").stdout)
    assert walk.calls() == [] and not (tmp_path / "run").exists()
    assert [step["status"] for step in after["stages"]] == ["cached", "cached"]
    assert [step["artifacts"] for step in after["stages"]] == [step["artifacts"] for step in before["stages"]]
    moved = tmp_path / "elsewhere/moved"
    assert not [path for path in moved.rglob("*") if path.is_symlink()]
    assert str(tmp_path / "run") not in "".join(path.read_text() for path in moved.rglob("*.json"))
    assert all((moved / one["path"]).is_file() for step in after["stages"] for one in step["artifacts"])


@pytest.fixture
def own_images(tmp_path, toy_chain, monkeypatch):
    """A folder of images that the toy stages, as the real ones, depend on; returns the words that name it."""
    stages = tuple(replace(stage, data=True) for stage in chain.CHAIN)
    monkeypatch.setattr(chain, "CHAIN", stages)
    monkeypatch.setattr(chain, "STAGES", {stage.name: stage for stage in stages})
    random = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "images" / label).mkdir(parents=True)
        for number in range(6):
            pixels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / label / f"{number}.png")
    return ("--set", "data={source: imagefolder, path: images, image_size: 8}")


@PARENT
def test_other_images_than_in_the_last_run_are_told_and_nothing_of_the_old_ones_is_reused(typed, own_images, tmp_path):
    def told(document):
        return [note for note in document["data"]["notes"] if "changed since the last run" in note]

    first = json.loads(typed(*own_images).stdout)
    again = json.loads(typed(*own_images).stdout)
    shutil.copy(tmp_path / "images/cat/0.png", tmp_path / "images/cat/new.png")
    changed = typed(*own_images)
    document = json.loads(changed.stdout)
    assert (told(first), told(again)) == ([], [])
    assert [step["status"] for step in again["stages"]] == ["cached", "cached"]
    assert [step["status"] for step in document["stages"]] == ["done", "done"]
    (note,) = told(document)
    was, now = first["data"]["digest"][:8], document["data"]["digest"][:8]
    assert f"(12 → 13 images, digest {was} → {now})" in note
    assert note in changed.stderr.splitlines()  # at once, before anything is made
    assert note in (tmp_path / "run/report.html").read_text()
    (tmp_path / "images/cat/new.png").unlink()
    back = json.loads(typed(*own_images).stdout)
    assert [step["status"] for step in back["stages"]] == ["cached", "cached"]  # the old images again, with what was made of them
    assert "(13 → 12 images" in told(back)[0]
