"""Training in several processes inside a stage: real ones, started by torchrun, killed, failing, refused before they start."""

import functools
import json
import os
import signal
import time
from pathlib import Path

import kills
import pytest
import torch

from edgekd import distill, models
from edgekd.core import InputError, RecipeError
from edgekd.pipeline.ready import require_ready
from edgekd.recipe import load, part_of_batch
from edgekd.stages import parallel, smoke
from edgekd.stages.context import Context
from edgekd.stages.images import open_images
from edgekd.stages.training import train

ALONE = """
import torch.distributed as dist
from edgekd.core import InputError

def fails(context):
    if dist.get_rank() == 1:
        raise InputError("only one of them sees this", where="rank 1")
    dist.barrier()  # waits for what will not come
"""


@pytest.fixture
def recipe(tmp_path):
    """A recipe, with changes to its text."""

    def make(devices=2, method="sld", **sizes):
        (tmp_path / "tiny.yaml").write_text(kills.RECIPE.replace("method: sld", f"method: {method}"))
        changed = [
            f"compute.devices={devices}",
            "compute.precision=fp32",
            *(f"{name}.batch_size={size}" for name, size in sizes.items()),
        ]
        return load(tmp_path / "tiny.yaml", changed)

    return make


def walk(folder):
    """Only the student trains; its teacher is a file, untrained."""
    models.save(tiny_teacher(), folder / "given.safetensors")
    given = "teacher={model: resnet18, width: 0.125, weights: ./given.safetensors, epochs: 0}"
    shorter = (given, "distill.epochs=1", "data.train_per_class=64")
    return kills.start(folder, "--until", "distill", "--devices", "2", *(word for one in shorter for word in ("--set", one)))


@functools.cache
def tiny_teacher():
    return models.create("resnet18", classes=10, image_size=8, width=0.125)


def family(pid):
    """The process and all below it."""
    return [pid, *(one for child in kills.children(pid) for one in family(child))]


def alive(pid):
    try:
        return "(zombie)" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def ranks_of(pids):
    return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[-3:-2] == [b"rank"]]


def test_a_training_of_which_one_process_was_killed_leaves_nobody_behind_and_goes_on_to_the_same_bits(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    undisturbed, command = walk(whole), walk(killed)
    kills.wait_until(lambda: kills.steps_done(killed, "distill") >= 4, command)
    everybody = family(command.pid)
    os.kill(ranks_of(everybody)[-1], signal.SIGKILL)
    assert command.wait(60) == 5
    deadline = time.monotonic() + 30
    while any(map(alive, everybody)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(alive, everybody))
    assert "was killed" in (killed / "progress.txt").read_text()
    assert walk(killed).wait(300) == undisturbed.wait(300) == 0
    assert kills.resumption(killed).startswith("distill at step")
    assert kills.digests(killed) == kills.digests(whole)
    (trained,) = (
        step for step in json.loads((whole / "runs/tiny/report.json").read_text())["stages"] if step["name"] == "distill"
    )
    assert trained["notes"]["compute"]["processes"] == 2


def test_an_error_of_one_process_is_the_error_and_nobody_waits_for_ever(recipe, tmp_path, monkeypatch):
    (tmp_path / "alone.py").write_text(ALONE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    places = {name: str(tmp_path / name) for name in ("folder", "cache", "checkpoint")}
    document = {**recipe().as_json(), "folder": str(tmp_path)}
    request = {"entry": "alone:fails", "recipe": document, "target": None, "inputs": {}, "smoke": False, "last": False, **places}
    with pytest.raises(InputError) as failed:
        parallel.run(request, 2, lambda event: None)
    assert (failed.value.what, failed.value.where) == ("only one of them sees this", "rank 1")


def test_torchrun_that_cannot_start_is_told_with_its_arguments(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv(parallel.NODES, "--no-such-flag")
    with pytest.raises(Exception, match="did not start") as failed:
        parallel.run({"entry": "edgekd.stages.teacher:run"}, 2, lambda event: None)
    assert (failed.value.exit_code, failed.value.seen) == (5, "EDGEKD_TORCHRUN=--no-such-flag")


def test_only_what_trains_runs_in_several_processes(recipe, monkeypatch):
    entries = [f"edgekd.stages.{stage}:run" for stage in ("sketch", "teacher", "distill", "quantize", "export")]
    assert [parallel.several(entry, recipe(2)) for entry in entries] == [False, True, True, True, False]
    assert not any(parallel.several(entry, recipe(1)) for entry in entries)
    monkeypatch.setenv(parallel.NODES, "--nnodes=2")
    assert parallel.several("edgekd.stages.teacher:run", recipe(1))


def test_batches_without_equal_shares_are_refused_before_anything_starts(recipe):
    with pytest.raises(RecipeError) as refused:
        require_ready(recipe(3, teacher=64, distill=63))
    assert refused.value.what == "teacher.batch_size cannot be parted equally among 3 devices"
    assert refused.value.fix == "teacher.batch_size: 66, or another compute.devices"
    require_ready(recipe(3, teacher=66, distill=63, quantize=30))


def test_a_feedback_batch_is_as_large_in_any_number_of_processes_or_refused(recipe):
    sizes = [part_of_batch(64, share) for share in (0.01, 0.3, 0.375, 0.9, 1.0)]
    assert (sizes, part_of_batch(63, 1.0), part_of_batch(6, 0.3)) == ([8, 16, 24, 56, 64], 63, 6)
    require_ready(recipe(2, "ffkd", distill=64))
    with pytest.raises(RecipeError) as refused:
        require_ready(recipe(3, "ffkd", teacher=66, distill=66, quantize=66))
    assert (refused.value.seen, refused.value.fix) == ("0.3 of 66 images: 16", "feedback_batch_share: 1")
    require_ready(recipe(3, "ffkd-public", teacher=66, distill=66, quantize=66))
    assert smoke.shortened(recipe(3, "ffkd", teacher=66, distill=66, quantize=66)).distill.feedback_batch_share == 1


def test_what_processes_on_several_nodes_cannot_part_is_refused_in_training(recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(distill.parallel, "processes", lambda: 3)
    for size, method, where in ((64, "kd", "batch_size"), (66, "ffkd", "distill.feedback_batch_share")):
        context = Context(recipe(1, method, distill=size), tmp_path)
        images = open_images(context)
        student, teacher = (models.create("resnet18", classes=10, image_size=8, width=0.125) for _ in range(2))
        options = distill.create(context.recipe.distill)
        with pytest.raises(InputError, match="cannot be parted") as refused:
            train(context, [student], options, context.recipe.distill, "distill", torch.device("cpu"), teacher=teacher)
        assert refused.value.where == where
        assert len(images.train) > size


def test_a_smoke_run_has_equal_shares_too(recipe):
    assert smoke.shortened(recipe(3, teacher=66, distill=63, quantize=30)).teacher.batch_size % 3 == 0
