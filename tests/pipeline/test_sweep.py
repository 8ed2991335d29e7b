"""A sweep on the toy chain: what is shared, what is reused, what a failing run leaves, what is remembered, what is counted."""

import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from toy_chain import RECIPE

from edgekd.cli import main
from edgekd.core import EnvironmentProblem, InputError, Interrupted, LockedError
from edgekd.core.files import write_json
from edgekd.core.lock import locked
from edgekd.core.signals import interruptible
from edgekd.pipeline import Asked, Stage, Sweep, apart, chain, keys
from edgekd.pipeline import sweep as pipeline_sweep
from edgekd.pipeline.state import Openings
from edgekd.report import parse_sweep, read, render_sweep, render_sweep_html
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

    def made(*vary, folder=None, recipe=recipe, **more):
        return Sweep(Asked(recipe, vary=vary, **more), folder, tmp_path, ["edgekd", "sweep", "toy.yaml"])

    def run(*vary, listen=lambda event: None, jobs=1, **more):
        return parse_sweep(made(*vary, **more).run(jobs, listen))

    def calls():
        return (tmp_path / ".store/calls.txt").read_text().splitlines()

    run.calls, run.folder, run.made = calls, tmp_path, made
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


def test_an_arm_that_the_images_do_not_allow_is_told_before_anything_is_made(sweep):
    with pytest.raises(InputError, match="feedback never comes") as refused:
        sweep("distill.method=label,kd", arms=("late: distill.method=ffkd distill.feedback_every=500",))
    assert refused.value.where == "--arm late: distill.feedback_every=500"
    assert not (sweep.folder / ".store/calls.txt").exists()


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
    for odd in ("{", *(json.dumps({"of": changed["of"], **more}) for more in ({}, {"epochs": [4]}, {"epochs": {"label": None}}))):
        kept.write_text(odd)  # measured again
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
    why = "--matched waits: not every seed of kd was trained, so the dearest arm is not known"
    assert [event["text"] for event in events if event.get("text", "").startswith("--matched")] == [why]
    assert document.notes == [why] and why in render_sweep(document, width=200) and why in render_sweep_html(document)
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
    with pytest.raises(InputError, match="holds another sweep"):
        sweep("distill.method=label", folder=kd)


def test_a_folder_is_claimed_before_anything_is_made_in_it(sweep, monkeypatch):
    folder = sweep.folder / "mine"
    monkeypatch.setenv("TOY", "signal 15")
    with interruptible(), pytest.raises(Interrupted):
        sweep("distill.method=kd", folder=folder)
    monkeypatch.delenv("TOY")
    assert not (folder / "sweep.json").exists()
    with pytest.raises(InputError, match="holds another sweep") as refused:
        sweep("distill.method=label", folder=folder)
    assert (refused.value.seen, refused.value.fix) == ("edgekd sweep toy.yaml", "another --run-dir, or remove arms.json")
    assert sweep("distill.method=kd", folder=folder).exit_code == 0


def test_a_table_that_does_not_say_of_which_arms_it_is_is_not_taken_for_its_own(sweep):
    folder = Path(sweep("distill.method=kd").sweep)
    (folder / "arms.json").unlink()
    assert sweep("distill.method=kd").exit_code == 0  # its table says so
    table = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps({name: value for name, value in table.items() if name != "digest"}))
    with pytest.raises(InputError, match="holds another sweep"):
        sweep("distill.method=kd")


def test_a_dry_run_refuses_the_folder_that_the_real_one_would(sweep):
    sweep("distill.method=kd", folder=sweep.folder / "mine")
    words = ["sweep", str(sweep.folder / "toy.yaml"), "--run-dir", str(sweep.folder / "mine"), "--dry-run"]
    refused = CliRunner().invoke(main, words)
    assert refused.exit_code == 2 and "this folder holds another sweep" in refused.stderr


def test_the_same_words_about_other_files_are_another_sweep(sweep):
    def folder(place, text):
        here = sweep.folder / place
        for name in ("images/train", "images/test"):
            (here / name).mkdir(parents=True, exist_ok=True)
        (here / "weights.pt").touch()
        (here / "r.yaml").write_text(text)
        return sweep.made(recipe=here / "r.yaml").folder

    images = RECIPE.replace("source: digits", "source: imagefolder, path: images")
    weights = RECIPE.replace("epochs: 1}", "weights: weights.pt}", 1)
    for text, same in ((RECIPE, True), (images, False), (weights, False)):
        assert (folder("a", text) == folder("b", text)) is same


def test_an_arm_of_equal_time_shares_no_folder_with_an_arm_called_like_it(sweep):
    document = sweep("distill.method=label,kd", arms=("label 4 epochs: distill.method=dkd distill.epochs=2",), matched=("label",))
    trained = {arm.name: read(Path(document.sweep) / arm.runs[0].folder).recipe["distill"]["epochs"] for arm in document.arms}
    assert trained == {"label": 1, "kd": 1, "label 4 epochs": 2, "label ×4 epochs": 4}


def test_an_arm_whose_name_holds_a_comma_can_be_matched(sweep):
    own = ("label, twice: distill.method=label distill.epochs=2", "kd: distill.method=kd")
    document = sweep("distill.method=label", arms=own, matched=("label, twice", "label,kd"))
    assert {arm.matched for arm in document.arms} == {None, "label, twice", "label"}


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


def test_a_folder_where_a_report_goes_fails_that_run_alone(sweep):
    folder = Path(sweep("seed=0,1").sweep)
    (folder / "label/seed-1/report.json").unlink()
    (folder / "label/seed-1/report.json").mkdir()
    first, second = sweep("seed=0,1").arms[0].runs
    assert first.error is None and second.error.what == "a folder lies where report.json goes"


def test_the_report_of_an_earlier_run_is_not_taken_for_that_of_one_that_left_none(sweep, monkeypatch):
    folder = Path(sweep("seed=0,1").sweep)

    def refused(path, document):
        if path == folder / "label/seed-1/report.json":
            raise EnvironmentProblem("permission denied", where=str(path))
        write_json(path, document)

    monkeypatch.setattr(apart, "write_json", refused)
    first, second = sweep("seed=0,1").arms[0].runs
    assert (first.error, second.error.what, second.test_top1) == (None, "permission denied", None)


def test_what_a_failed_run_has_reported_stays(sweep, monkeypatch):
    monkeypatch.setenv("TOY", "error of kd 0")
    document = sweep("distill.method=kd")
    assert (document.arms[0].runs[0].error.what, len(document.teachers)) == ("toy error", 1)


def test_a_run_whose_process_dies_is_named_once(sweep, monkeypatch):
    sweep("seed=0,1")
    dies = lambda command, **more: subprocess.Popen(["sh", "-c", "kill -9 $$"], **more)  # noqa: E731
    monkeypatch.setattr(apart, "subprocess", SimpleNamespace(Popen=dies, PIPE=subprocess.PIPE))
    events = []
    shutil.rmtree(sweep.folder / ".store")  # and nobody takes the reports of earlier runs for theirs
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
