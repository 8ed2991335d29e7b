"""What a user can ask of a walk: where it starts and stops, what is made again, what a failed gate stops, what is only tried."""

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from edgekd.cli import main
from edgekd.core import InputError, Verdict
from edgekd.pipeline import Stage, chain, making, requiring, run_verdict, target_verdicts, to_go_on, verdict
from edgekd.pipeline.keys import Keys
from edgekd.recipe import loads
from edgekd.stages.smoke import images_kept, shortened

pytestmark = pytest.mark.parametrize("toy_chain", [False], indirect=True, ids=["in the parent"])

ORDER = ["teacher", "distill", "cpu/benchmark", "bundle"]
GATES = "  benchmark: {cpu: {top1: {min: 0.7}}}\n  bundle: {golden_agreement: {min: 1}}\n"


@pytest.fixture
def walk(walk, toy_chain, monkeypatch):
    """The toy chain with a stage on a device and a bundle behind it."""
    stages = (
        *chain.CHAIN,
        Stage("benchmark", 1, "toy_stages:timed", ("distill",), (), (), per_target=True),
        Stage("bundle", 1, "toy_stages:bundled", ("benchmark",), ("name",), ()),
    )
    for module in (chain, verdict):
        monkeypatch.setattr(module, "CHAIN", stages)
    monkeypatch.setattr(chain, "STAGES", {stage.name: stage for stage in stages})
    monkeypatch.setattr(Keys, "_identity", lambda keys, target: {"arch": "toy"})
    (walk.folder / "toy.yaml").write_text(walk.recipe + GATES)
    return walk


def statuses(walk):
    return [row.status for row in walk.rows]


def what_ran(walk, *overrides, **asked):
    """The walk, and the stages that really ran in it."""
    before = len(walk.calls())
    return walk(*overrides, **asked), walk.calls()[before:]


@pytest.mark.parametrize(("start", "ran"), [(name.split("/")[-1], ORDER[at:]) for at, name in enumerate(ORDER)])
def test_from_reuses_what_comes_before_and_makes_the_rest_again(walk, start, ran):
    walk()
    again, really_ran = what_ran(walk, start=start)
    assert really_ran == ran
    assert statuses(again) == ["cached"] * (4 - len(ran)) + ["done"] * len(ran)


def test_from_trains_nothing_by_surprise(walk):
    walk(until="teacher")
    with pytest.raises(InputError) as refused:
        walk(start="benchmark")
    assert refused.value.exit_code == 2
    assert "no finished distill of this recipe is in the store" in refused.value.what
    assert refused.value.fix == "give --until distill in place of --from benchmark to make it"
    assert walk.calls() == ["teacher"]
    assert statuses(walk("seed=0", start="distill"))[0] == "cached"
    with pytest.raises(InputError, match="no finished teacher"):
        walk("seed=1", start="distill")


def test_a_refused_from_leaves_the_folder_to_whoever_comes(walk):
    with pytest.raises(InputError, match="no finished teacher"):
        walk(start="distill", smoke=True)
    assert statuses(walk()) == ["done"] * 4


def test_a_walk_that_ended_early_goes_on_no_earlier_than_it_was_asked_to(walk):
    walk()
    early = walk(start="bundle")
    early = replace(early, error=InputError("an end"), rows=early.rows[:1])
    assert to_go_on(early, loads(walk.recipe, "toy.yaml", walk.folder)).start == "bundle"


def test_from_and_until_make_one_stage_again(walk):
    walk()
    assert what_ran(walk, start="distill", until="distill")[1] == ["distill"]


def test_from_takes_what_was_measured_under_suspect_conditions_as_it_is(walk, monkeypatch):
    walk()
    monkeypatch.setattr(making, "to_be_renewed", lambda step, outcome, recipe: step.stage.per_target)
    assert what_ran(walk, start="bundle")[1] == ["bundle"]
    assert what_ran(walk)[1] == ["cpu/benchmark"]


@pytest.mark.parametrize(
    ("asked", "what", "fix"),
    [
        ({"start": "destil"}, "--from: unknown stage 'destil'; did you mean 'distill'?", "the stages are teacher, distill, "),
        ({"until": "x"}, "--until: unknown stage 'x'", "the stages are teacher, distill, benchmark, bundle"),
        ({"start": "bundle", "until": "teacher"}, "--from: bundle comes after teacher, where --until stops", "the order is teac"),
    ],
)
def test_a_stage_that_is_not_there_is_refused_with_the_nearest_and_the_list(walk, asked, what, fix):
    with pytest.raises(InputError) as refused:
        walk(**asked)
    assert (str(refused.value), refused.value.fix[: len(fix)]) == (what, fix)
    assert not (walk.folder / "run").exists()


def test_remeasure_measures_again_trains_nothing_and_counts_that_the_test_split_was_opened(walk):
    first = walk()
    again, ran = what_ran(walk, remeasure=True)
    assert ran == ["cpu/benchmark"]
    assert (first.test_opened, again.test_opened, walk().test_opened) == (1, 2, 2)


def test_openings_of_the_test_split_are_counted_over_run_folders_that_share_a_store(walk):
    walk()
    assert walk("name=other", name="other", remeasure=True).test_opened == 2


MISSED = "gates.teacher.top1.min=0.95"


def test_keep_going_makes_all_that_can_be_judged_and_withholds_the_bundle(walk):
    going = walk(MISSED, keep_going=True)
    assert statuses(going) == ["done", "done", "done", "skipped"]
    assert going.rows[3].why.startswith("withheld: a gate failed")
    assert run_verdict(going, loads(walk.recipe, "toy.yaml", walk.folder)) == (Verdict.FAIL, 3)
    assert not (walk.folder / "run" / "bundle").exists()


def test_keep_going_leaves_no_earlier_bundle_either_and_changes_nothing_without_a_failed_gate(walk):
    assert statuses(walk(keep_going=True)) == ["done"] * 4
    assert (walk.folder / "run" / "bundle" / "model.onnx").exists()
    walk(MISSED, keep_going=True)
    assert not (walk.folder / "run" / "bundle").exists()


def test_a_walk_that_fails_before_its_until_leaves_no_earlier_bundle(walk):
    walk()
    walk(MISSED, until="teacher")
    assert not (walk.folder / "run" / "bundle").exists()


def test_a_bundle_of_another_recipe_does_not_stay_in_the_folder_and_one_of_this_recipe_does(walk):
    bundle = walk.folder / "run" / "bundle"
    walk()
    assert walk(until="teacher").error is None and bundle.exists()
    walk("seed=1", until="teacher")
    assert not bundle.exists()
    walk("seed=1")
    assert bundle.exists()


def test_a_waived_miss_is_let_through_to_the_bundle(walk):
    assert statuses(walk("gates.teacher.top1={min: 0.95, waive: agreed}", keep_going=True)) == ["done"] * 4


def test_an_error_ends_a_walk_that_keeps_going(walk, monkeypatch):
    monkeypatch.setenv("TOY", "error")
    assert statuses(walk(MISSED, keep_going=True)) == ["done", "failed", "skipped", "skipped"]


def test_a_bundle_whose_own_gate_fails_does_not_stay_where_an_app_looks(walk):
    (walk.folder / "toy.yaml").write_text(walk.recipe + GATES.replace("golden_agreement: {min: 1}", "golden_agreement: {max: 0}"))
    assert statuses(walk()) == ["done"] * 4
    assert not (walk.folder / "run" / "bundle").exists()


def test_a_smoke_walk_goes_to_the_end_judges_nothing_and_proves_nothing(walk):
    tried = walk(MISSED, smoke=True, name="tried")
    recipe = loads(walk.recipe + GATES, "toy.yaml", walk.folder)
    assert statuses(tried) == ["done"] * 4
    assert {one.verdict for row in tried.rows for one in row.judgements} == {Verdict.INCONCLUSIVE}
    assert run_verdict(tried, recipe) == (Verdict.INCONCLUSIVE, 4)
    assert [one.verdict for one in target_verdicts(tried, recipe)] == [Verdict.INCONCLUSIVE]
    assert run_verdict(walk(smoke=True, until="teacher", name="tried"), recipe) == (Verdict.INCONCLUSIVE, 4)


def test_a_smoke_walk_and_a_real_one_share_no_result_no_folder_and_no_count(walk):
    tried = walk(smoke=True, name="tried")
    real, ran = what_ran(walk)
    assert ran == ORDER
    assert not {row.key for row in tried.rows} & {row.key for row in real.rows}
    assert (tried.test_opened, real.test_opened) == (0, 1)
    for name, smoke in (("run", True), ("tried", False)):
        with pytest.raises(InputError, match="does not go into it"):
            walk(smoke=smoke, name=name)


def test_an_error_in_a_smoke_walk_ends_with_its_own_code(walk, monkeypatch):
    monkeypatch.setenv("TOY", "error")
    tried = walk(smoke=True)
    assert run_verdict(tried, loads(walk.recipe, "toy.yaml", walk.folder)) == (None, 2)


def test_a_recipe_without_gates_proves_nothing(walk):
    (walk.folder / "toy.yaml").write_text(walk.recipe.split("gates:")[0])
    recipe = loads(walk.recipe.split("gates:")[0], "toy.yaml", walk.folder)
    walked = walk()
    assert statuses(walked) == ["done"] * 4
    assert run_verdict(walked, recipe) == (Verdict.INCONCLUSIVE, 4)
    assert [one.verdict for one in target_verdicts(walked, recipe)] == [Verdict.INCONCLUSIVE]
    assert run_verdict(walk(until="distill"), recipe) == (None, 0)  # stopped as asked: claims nothing


def test_require_is_required_always_for_this_walk(walk):
    recipe = loads(walk.recipe.replace("int8}", "int8, required: when-connected}"), "toy.yaml", walk.folder)
    assert recipe.targets["cpu"].required == "when-connected"
    assert requiring(recipe, ["cpu"]).targets["cpu"].required == "always"
    assert requiring(recipe, []) == recipe
    with pytest.raises(InputError) as refused:
        requiring(recipe, ["cpuu"])
    assert str(refused.value) == "--require: unknown target 'cpuu'; did you mean 'cpu'?"
    assert refused.value.fix == "the recipe's targets are cpu"


def test_a_shortened_recipe_takes_at_most_three_steps_an_epoch_and_keeps_all_else(walk):
    recipe = loads(walk.recipe.replace("epochs: 1}", "epochs: 9, batch_size: 500}", 1), "toy.yaml", walk.folder)
    short = shortened(recipe)
    kept = images_kept(short)
    sections = (short.teacher, short.distill, short.quantize)
    assert all(section.epochs == 1 and kept["train"] // section.batch_size <= 3 for section in sections)
    assert (short.quantize.calibration_images, max(kept["held_out"], kept["test"])) == (32, 64)
    assert (short.data, short.student, short.gates, short.folder) == (recipe.data, recipe.student, recipe.gates, recipe.folder)
    assert shortened(short) == short


def edgekd(walk, *words):
    ended = CliRunner().invoke(main, ["pipeline", "toy.yaml", "--json", *words])
    return json.loads(ended.stdout)


@pytest.fixture
def command(walk, monkeypatch):
    monkeypatch.chdir(walk.folder)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    return lambda *words: edgekd(walk, *words)


def test_every_option_reaches_the_walk_and_the_document(command, walk):
    assert command()["exit_code"] == 0
    again = command("--from", "distill", "--until", "benchmark", "--remeasure", "--require", "cpu")
    assert ([step["status"] for step in again["stages"]], again["exit_code"]) == (["cached", "done", "done", "skipped"], 0)
    tried = command("--smoke")
    assert (tried["smoke"], tried["verdict"], tried["exit_code"], tried["run"]) == (True, "INCONCLUSIVE", 4, "runs/toy-smoke")
    going = command("--keep-going", "--set", MISSED)
    assert (going["keep_going"], going["exit_code"], "bundle" in going) == (True, 3, False)
    for words in (["--from", "x"], ["--require", "x"], ["--smoke", "--run-dir", "runs/toy"]):
        refused = command(*words)
        assert (refused["exit_code"], refused["error"]["code"]) == (2, "input")


@pytest.mark.parametrize(
    ("broken", "words", "resume"),
    [
        (False, "--smoke --set seed=2", "--set seed=2"),
        (False, f"--keep-going --remeasure --require cpu --set {MISSED}", f"--set {MISSED} --keep-going --require cpu"),
        (False, "--from teacher", ""),
        (True, "--from teacher --remeasure", "--from distill --remeasure"),
        (True, "--smoke", "--smoke"),
        (True, "--until bundle", "--until bundle"),
    ],
)
def test_the_command_to_go_on_carries_what_matters_and_not_what_is_done(command, monkeypatch, broken, words, resume):
    if broken:
        monkeypatch.setenv("TOY", "error")
    assert command(*words.split())["resume"] == f"edgekd pipeline toy.yaml {resume}".rstrip()
