"""A sweep on the toy chain: what is shared, what is reused, what a failing run leaves, what is remembered, what is counted."""

import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from toy_chain import RECIPE

from edgekd.core import InputError, Interrupted, LockedError
from edgekd.core.lock import locked
from edgekd.core.signals import interruptible
from edgekd.pipeline import Asked, Stage, Sweep, apart, chain, keys
from edgekd.pipeline import sweep as pipeline_sweep
from edgekd.pipeline.state import Openings
from edgekd.report import parse_sweep, read
from edgekd.report.sweep_screen import failures

pytestmark = pytest.mark.parametrize("toy_chain", [False], indirect=True, ids=["in the parent"])


@pytest.fixture
def sweep(tmp_path, toy_chain, monkeypatch):
    """Sweep the toy recipe; returns the document, parsed. ``calls`` counts what really ran."""
    exams = {
        "teacher": Stage("teacher_exam", 1, "toy_stages:examined", ("teacher",), (), ()),
        "distill": Stage("exam", 1, "toy_stages:examined", ("distill",), (), ()),
    }
    stages = (chain.CHAIN[0], Stage("distill", 1, "toy_stages:taught", ("teacher",), ("seed", "distill"), ()))
    monkeypatch.setattr(chain, "EXAMS", exams)
    for module in (chain, pipeline_sweep):
        monkeypatch.setattr(module, "CHAIN", stages)
        monkeypatch.setattr(module, "STAGES", {stage.name: stage for stage in (*stages, *exams.values())})
    recipe = tmp_path / "toy.yaml"
    recipe.write_text(RECIPE)

    def run(*vary, listen=lambda event: None, jobs=1, folder=None, **more):
        asked = Asked(recipe, vary=vary, **more)
        return parse_sweep(Sweep(asked, folder, tmp_path, ["edgekd", "sweep", "toy.yaml"]).run(jobs, listen))

    def calls():
        return (tmp_path / ".store/calls.txt").read_text().splitlines()

    run.calls, run.folder = calls, tmp_path
    return run


def test_one_teacher_serves_all_and_a_second_sweep_makes_nothing(sweep):
    first = sweep("distill.method=label,kd", "seed=0,1")
    assert sorted(sweep.calls()) == ["distill"] * 4 + ["exam of student"] * 4 + ["exam of teacher", "teacher"]
    assert first.exit_code == 0 and len(first.teachers) == 1
    assert [len(arm.runs) for arm in first.arms] == [2, 2]
    again = sweep("distill.method=label,kd", "seed=0,1")
    assert len(sweep.calls()) == 10
    assert again.arms == first.arms
    sweep("distill.method=label,kd", "seed=0,1,2")
    assert sorted(sweep.calls()[10:]) == ["distill"] * 2 + ["exam of student"] * 2


def test_every_exam_counts_as_an_opening_of_the_test_images_once(sweep):
    document = sweep("seed=0,1")
    assert document.test_opened == 3  # the teacher, two students
    assert sweep("seed=0,1").test_opened == 3
    assert Openings(sweep.folder / ".store/test_opened.json").of(document.data.digest) == 3


def test_every_run_can_be_opened_as_a_report(sweep):
    document = sweep("distill.method=label,kd", "seed=0,1")
    for arm in document.arms:
        for run in arm.runs:
            report = read(Path(document.sweep) / run.folder)
            assert [step.status for step in report.stages if step.name == "exam"] in (["done"], ["cached"])
            assert report.recipe["seed"] == run.seed


def test_a_failing_run_says_why_and_does_not_stop_the_others(sweep, monkeypatch):
    monkeypatch.setenv("TOY", "exam error")  # of the teacher of seed 1
    document = sweep("teacher.seed=0,1", "seed=0,1")
    by_name = {arm.name: arm for arm in document.arms}
    assert [run.error for run in by_name["seed=0"].runs] == [None, None]
    assert [run.error.what for run in by_name["seed=1"].runs] == ["toy error"] * 2
    assert (document.exit_code, [arm.name for arm in document.arms]) == (2, ["seed=0", "seed=1"])
    assert by_name["seed=1"].test_top1 is None
    monkeypatch.delenv("TOY")
    assert sweep("teacher.seed=0,1", "seed=0,1").exit_code == 0


def test_an_interrupted_sweep_goes_on_with_what_it_has(sweep, monkeypatch):
    monkeypatch.setenv("TOY", "signal 15")
    with interruptible(), pytest.raises(Interrupted):
        sweep("seed=0,1")
    assert sweep.calls() == ["teacher", "exam of teacher", "distill"]
    monkeypatch.delenv("TOY")
    assert sweep("seed=0,1").exit_code == 0
    assert sweep.calls().count("teacher") == 1


def test_gates_of_the_recipe_do_not_stop_a_sweep(sweep):
    document = sweep("seed=0,1", overrides=("gates.teacher.top1.min=0.99",))
    assert document.exit_code == 0 and document.arms[0].test_top1.n == 2


def test_the_baseline_and_the_arms_to_match_must_be_arms(sweep):
    for asked in ({"baseline": "kdd"}, {"matched": ("kdd",)}):
        with pytest.raises(InputError, match="no arm 'kdd'; did you mean 'kd'"):
            sweep("distill.method=label,kd", **asked)
    with pytest.raises(InputError, match="cannot end at 'teacher'"):
        sweep("seed=0,1", until="teacher")


def test_the_first_arm_is_the_baseline_unless_one_is_named(sweep):
    assert sweep("distill.method=label,kd").baseline == "label"
    named = sweep("distill.method=label,kd", baseline="kd")
    assert [arm.name for arm in named.arms if arm.baseline] == ["kd"]


def test_a_matched_arm_trains_as_long_as_the_dearest_and_that_is_remembered(sweep):
    varied = ("distill.method=label,kd", "seed=0,1")
    document = sweep(*varied, matched=("label",))
    (arm,) = (arm for arm in document.arms if arm.matched)
    assert (arm.name, arm.matched, arm.changes[-1]) == ("label ×4 epochs", "label", "distill.epochs=4")
    assert {arm.name: arm.time_ratio for arm in document.arms}["kd"] == 4
    kept = Path(document.sweep) / "matched.json"
    changed = json.loads(kept.read_text())
    changed["epochs"]["label"] = 5  # as if it had been measured so
    kept.write_text(json.dumps(changed))
    again = sweep(*varied, matched=("label",))
    assert "distill.epochs=5" in next(arm for arm in again.arms if arm.matched).changes
    kept.write_text("{")  # damaged: measured again
    third = sweep(*varied, matched=("label",))
    assert "distill.epochs=4" in next(arm for arm in third.arms if arm.matched).changes
    longer = sweep(*varied, matched=("label",), overrides=("distill.epochs=3",))  # another training: measured again
    assert "distill.epochs=12" in next(arm for arm in longer.arms if arm.matched).changes


def test_only_the_dearest_arm_is_not_repeated_and_that_is_said(sweep):
    events = []
    document = sweep("distill.method=dkd,kd", matched=("kd, dkd", "kd"), listen=events.append)
    assert [arm.name for arm in document.arms if arm.matched] == ["dkd ×2 epochs"]  # 1.33 would be less time than kd has
    assert [text for event in events if "repeated" in (text := event.get("text", ""))] == ["kd is the dearest arm: not repeated"]


def test_equal_time_is_not_decided_before_every_arm_was_timed_with_every_seed(sweep, monkeypatch):
    varied, events = ("distill.method=label,kd,dkd", "seed=0,1"), []
    monkeypatch.setenv("TOY", "error of kd 1")
    document = sweep(*varied, matched=("label",), listen=events.append)
    assert [arm.name for arm in document.arms if arm.matched] == []
    assert not (Path(document.sweep) / "matched.json").exists()
    assert [event["text"] for event in events if event.get("text", "").startswith("--matched")] == [
        "--matched waits: not every seed of kd was trained, so the dearest arm is not known"
    ]
    monkeypatch.delenv("TOY")
    assert [arm.name for arm in sweep(*varied, matched=("label",)).arms if arm.matched] == ["label ×4 epochs"]


def test_an_interrupted_sweep_keeps_the_reports_of_the_runs_it_had_finished(sweep):
    def stop(event):
        if event.get("text", "").startswith("[1/3]"):
            raise Interrupted

    document = sweep("seed=0,1,2")
    with pytest.raises(Interrupted):
        sweep("seed=0,1,2", listen=stop)
    assert [read(Path(document.sweep) / run.folder).error for run in document.arms[0].runs] == [None] * 3


def test_a_run_that_never_began_does_not_show_the_report_of_an_earlier_one(sweep, monkeypatch):
    assert sweep("seed=0,1", overrides=("teacher.seed=1",)).exit_code == 0
    shutil.rmtree(sweep.folder / ".store")
    monkeypatch.setenv("TOY", "exam error")  # of the teacher, so that no student begins
    document = sweep("seed=0,1", overrides=("teacher.seed=1",))
    assert [run.error.what for run in document.arms[0].runs] == ["toy error"] * 2


def test_another_set_of_arms_takes_neither_table_nor_runs_of_this_one(sweep):
    label, kd = (Path(sweep(f"distill.method={method}").sweep) for method in ("label", "kd"))
    assert label != kd and all((folder / name).is_file() for folder in (label, kd) for name in ("sweep.json", "sweep.html"))
    assert sweep("distill.method=kd", folder=kd).exit_code == 0
    with pytest.raises(InputError, match="holds the sweep of other arms"):
        sweep("distill.method=label", folder=kd)


def test_two_processes_do_not_make_one_sweep_at_once(sweep):
    folder = Path(sweep("seed=0,1").sweep)
    with locked(folder / ".lock", "held"), pytest.raises(LockedError, match="is held by another process"):
        sweep("seed=0,1")


def test_a_file_is_no_folder_for_a_sweep(sweep):
    with pytest.raises(InputError, match="no folder can be made there"):
        sweep("seed=0,1", folder=sweep.folder / "toy.yaml")


def test_a_file_where_a_run_goes_fails_that_run_alone(sweep):
    folder = Path(sweep("seed=0,1").sweep)
    shutil.rmtree(folder / "label/seed-1")
    (folder / "label/seed-1").touch()
    assert [run.error and run.error.code for run in sweep("seed=0,1").arms[0].runs] == [None, "input"]


def test_a_run_whose_process_dies_is_named_once(sweep, monkeypatch):
    dies = lambda command, **more: subprocess.Popen(["sh", "-c", "kill -9 $$"], **more)  # noqa: E731
    monkeypatch.setattr(apart, "subprocess", SimpleNamespace(Popen=dies, PIPE=subprocess.PIPE))
    events = []
    document = sweep("seed=0,1", jobs=2, listen=events.append)
    told = [text for event in events if "failed: " in (text := event.get("text", ""))]
    assert all(text.count("seed") == 1 and "the process of this run was killed" in text for text in told) and len(told) == 2
    assert failures(document)[0].startswith("label, seed 0; label, seed 1: the process of this run was killed")


def test_the_teachers_key_holds_its_seed_wherever_that_was_written(sweep, tmp_path):
    from edgekd.recipe import load

    def teacher_key(*overrides):
        step = chain.Step(chain.STAGES["teacher"])
        return keys.key_of(keys.key_parts(step, load(tmp_path / "toy.yaml", overrides), {}, data=None, device=None))

    assert teacher_key("seed=3") == teacher_key("seed=4", "teacher.seed=3") != teacher_key("seed=4")
