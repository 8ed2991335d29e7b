"""The runner on a toy chain: what is reused, what runs again, what stops, and what a failure leaves behind."""

import json
import os
import shlex
import signal
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgekd.cli import main
from edgekd.core import InputError, Interrupted, RecipeError, Verdict
from edgekd.pipeline.worker import Worker


def statuses(walk):
    return [row.status for row in walk.rows]


def test_a_second_walk_reuses_every_step(walk):
    first, second = walk(), walk()
    assert (statuses(first), statuses(second)) == (["done", "done"], ["cached", "cached"])
    assert walk.calls() == ["teacher", "distill"]
    assert [row.outcome for row in first.rows] == [row.outcome for row in second.rows]
    assert second.rows[0].age_s >= 0


def test_a_judging_bound_judges_again_and_runs_nothing(walk):
    walk()
    stricter = walk("gates.distill.top1.min=0.9")
    assert statuses(stricter) == ["cached", "cached"]
    assert [judged.verdict for row in stricter.rows for judged in row.judgements] == [Verdict.PASS, Verdict.FAIL]
    assert walk.calls() == ["teacher", "distill"]


def test_what_a_stage_reads_runs_it_and_all_after_it_again_and_nothing_before(walk):
    walk()
    assert statuses(walk("distill.epochs=2")) == ["cached", "done"]
    assert statuses(walk("seed=1")) == ["done", "done"]
    assert statuses(walk("compute.threads=1")) == ["cached", "cached"]  # the toys do not read it
    assert statuses(walk()) == ["cached", "cached"]


def test_a_changed_need_runs_the_step_again(walk):
    walk()
    walk("teacher.epochs=2")  # makes the same bytes, so the student need not be made again
    assert walk.calls() == ["teacher", "distill", "teacher"]


def test_a_failed_gate_stops_the_chain_after_its_stage(walk):
    stopped = walk("gates.teacher.top1.min=0.95")
    assert statuses(stopped) == ["done", "skipped"]
    assert stopped.rows[1].why == "an earlier gate failed"
    assert [one.verdict for one in stopped.rows[1].judgements] == [Verdict.NOT_MEASURED]
    assert walk.calls() == ["teacher"]


def test_until_stops_after_the_named_stage(walk):
    assert statuses(walk(until="teacher")) == ["done", "skipped"]
    with pytest.raises(InputError, match="unknown stage"):
        walk(until="techer")


@pytest.mark.parametrize(("how", "exit_code"), [("error", 2), ("bug", 1)])
def test_an_error_is_in_the_walk_and_the_finished_step_is_kept(walk, monkeypatch, how, exit_code):
    monkeypatch.setenv("TOY", how)
    failed = walk()
    assert (statuses(failed), failed.error.exit_code) == (["done", "failed"], exit_code)
    assert not list((walk.folder / "store").glob("*.part"))
    monkeypatch.delenv("TOY")
    assert statuses(walk()) == ["cached", "done"]


def test_a_bug_in_a_stage_leaves_its_traceback_in_the_log(walk, monkeypatch):
    monkeypatch.setenv("TOY", "bug")
    failed = walk()
    assert "ZeroDivisionError: toy bug" in failed.error.what
    assert failed.error.seen == f"log: {walk.folder / 'run' / 'worker.log'}"
    assert 'raise ZeroDivisionError("toy bug")' in (walk.folder / "run" / "worker.log").read_text()


def test_a_walk_that_is_broken_off_ends_its_worker_and_keeps_what_is_finished(walk):
    class Stop:
        def append(self, event):
            if event["event"] == "start" and event["step"] == "distill":
                raise InputError("stop here")

    assert statuses(walk(events=Stop())) == ["done", "skipped"]
    assert not _children()
    assert statuses(walk()) == ["cached", "done"]


def test_a_second_signal_while_the_worker_ends_still_leaves_the_walk_to_report(walk, monkeypatch, toy_chain):
    if not toy_chain:
        pytest.skip("only a worker takes its time to end")

    class Impatient:
        def append(self, event):
            if event["event"] == "progress":
                raise Interrupted(signal.SIGINT)

    close = Worker.close

    def interrupted_close(worker):
        monkeypatch.setattr(Worker, "close", close)
        close(worker)
        raise Interrupted(signal.SIGTERM)

    monkeypatch.setattr(Worker, "close", interrupted_close)
    ended = walk(events=Impatient())
    assert (statuses(ended), ended.error.exit_code) == (["failed", "skipped"], 130)
    assert not _children()


def _children():
    """Living child processes of this one that run our worker."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if b"edgekd.stages.worker" in (entry / "cmdline").read_bytes():
                found.append((entry / "stat").read_text().split()[3] == str(os.getpid()))
        except OSError:
            continue
    return any(found)


def test_progress_and_ends_are_told_in_order(walk):
    events = []
    walk(events=events)
    assert [(one["event"], one["step"]) for one in events] == [
        ("start", "teacher"),
        ("progress", "teacher"),
        ("end", "teacher"),
        ("start", "distill"),
        ("end", "distill"),
    ]


def test_a_recipe_that_cannot_run_makes_no_folder(walk):
    with pytest.raises(RecipeError, match="unknown model") as caught:
        walk("student.model=mobilenet_v9", "teacher.model=resnet19")
    assert len(caught.value.others) == 1
    assert not (walk.folder / "run").exists()


def test_changed_code_of_a_room_changes_the_key(walk, monkeypatch):
    walk()
    monkeypatch.setattr("edgekd.pipeline.keys.source_digest", lambda stage: "other code")
    assert statuses(walk()) == ["done", "done"]


def test_a_measurement_under_suspect_conditions_is_taken_again_and_one_that_is_not_is_kept(walk, monkeypatch):
    walk()
    monkeypatch.setattr("edgekd.pipeline.making.to_be_renewed", lambda step, outcome, recipe: step.name == "distill")
    assert statuses(walk()) == ["cached", "done"]
    assert walk.calls() == ["teacher", "distill", "distill"]
    assert not list((walk.folder / "store").glob("*damaged*"))


def test_a_failed_step_says_how_long_it_took_and_a_skipped_one_took_none(walk, monkeypatch):
    monkeypatch.setenv("TOY", "error")
    assert walk().rows[1].seconds > 0
    stopped = walk("gates.teacher.top1.min=0.95")
    assert stopped.rows[1].seconds is None


def test_a_worker_that_dies_while_it_speaks_is_a_dead_worker(walk, monkeypatch, toy_chain):
    if not toy_chain:
        pytest.skip("only a worker can die")
    monkeypatch.setenv("TOY", "half a line")
    dead = walk()
    assert (dead.error.exit_code, "exit status 3" in dead.error.what) == (1, True)


def test_words_of_any_alphabet_cross_to_the_worker_and_back_whatever_the_locale(walk, monkeypatch):
    monkeypatch.setenv("TOY", "odd words")
    monkeypatch.setenv("PYTHONUTF8", "0")
    monkeypatch.setenv("LC_ALL", "C")
    assert walk("gates.teacher.top1.waive=Größe 数").rows[1].outcome.notes == {"words": "Größe 数"}


def test_a_disk_that_fills_up_inside_a_stage_is_told_as_such(walk, monkeypatch):
    monkeypatch.setenv("TOY", "full")
    full = walk()
    assert (full.error.exit_code, full.error.what) == (5, "no space left on the disk")


@pytest.mark.parametrize(("words", "resume"), [((), " --until teacher"), (("--set", "gates.teacher.top1.min=0.5"), "")])
def test_the_command_to_go_on_asks_to_stop_again_only_if_it_did_not_get_there(walk, monkeypatch, words, resume):
    monkeypatch.chdir(walk.folder)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    (walk.folder / "toy.yaml").write_text(walk.recipe.replace("min: 0.8", "min: 0.95"))
    ended = CliRunner().invoke(main, ["pipeline", "toy.yaml", "--until", "teacher", "--json", *words])
    document = json.loads(ended.stdout)
    assert document["exit_code"] == (0 if words else 3)
    assert document["resume"] == shlex.join(["edgekd", "pipeline", "toy.yaml", *words]) + resume
