"""The student that fits: the target is asked before anything trains, and no rung is chosen that was not measured to fit."""

import itertools
import json
import os
import random

import pytest

from edgekd.core import InputError, Verdict
from edgekd.pipeline import (
    Asked,
    Stage,
    Step,
    Store,
    Sweep,
    chain,
    make_plan,
    run_document,
    run_verdict,
    sweep,
    target_verdicts,
    to_go_on,
    verdict,
)
from edgekd.pipeline.fit import first_that_fits
from edgekd.pipeline.keys import Keys, key_of
from edgekd.recipe import Rung, at_rung, ladder, load
from edgekd.report import render_html, render_terminal
from edgekd.report.document import parse

one_way = pytest.mark.parametrize("toy_chain", [False], indirect=True, ids=["in the parent"])
LADDER = "fit: {width: [0.35, 1.4, 0.5, 1, 0.75]}\n"
BOUND = "gates.benchmark.cpu.latency_ms.p90={max: 10}"  # 9 less ten per cent
JETSON = "  jetson: {device: jetson-orin-nano-8gb, runtime: tensorrt, precision: int8+fp16, required: when-connected}\n"


@pytest.fixture
def walk(walk, toy_chain, monkeypatch):
    """The toy chain with a sketch and a preflight before it; ``ms`` says how long a query of each width takes."""
    stages = (
        Stage("sketch", 1, "toy_stages:sketched", (), ("data", "student"), ()),
        Stage("preflight", 1, "toy_stages:raced", ("sketch",), (), (), per_target=True),
        *chain.CHAIN,
        Stage("benchmark", 1, "toy_stages:timed", ("distill",), (), (), per_target=True),
    )
    for module in (chain, verdict):
        monkeypatch.setattr(module, "CHAIN", stages)
    monkeypatch.setattr(chain, "STAGES", {stage.name: stage for stage in stages})
    monkeypatch.setattr(Keys, "_identity", lambda keys, target: {"arch": "toy"})
    text = walk.recipe.replace("student: {model: mobilenet_v2}\n", "student: {model: mobilenet_v2, width: auto}\n" + LADDER)
    (walk.folder / "toy.yaml").write_text(text)

    def ms(*of_widths, size=8, add=()):
        said = {f"{width}@{size}": one for width, one in zip(("1.4", "1", "0.75", "0.5", "0.35"), of_widths, strict=True)}
        monkeypatch.setenv("TOY_MS", json.dumps({**said, **dict(add)}))

    walk.ms = ms
    ms(40, 20, 10, 6, 3)
    walk.read = lambda *overrides: load(walk.folder / "toy.yaml", [BOUND, *overrides])
    return walk


def asked(walk, before=0):
    """Rungs timed, in order."""
    return [line for line in " ".join(walk.calls()[before:]).split("cpu/preflight ")[1:] for line in line.split()[:1]]


def statuses(walked):
    return {row.step.name: row.status for row in walked.rows}


def test_bisection_and_asking_everything_agree_wherever_all_below_one_that_fits_do():
    for count in range(1, 34):
        for first in range(count + 1):
            questions = []
            found = first_that_fits(count, lambda at, first=first, questions=questions: questions.append(at) or at >= first)
            assert found == (first if first < count else None)
            assert len(questions) == len(set(questions)) <= count.bit_length()


def test_whatever_the_answers_the_rung_found_fits_and_the_next_larger_was_asked_and_does_not():
    some = random.Random(0)
    tables = [*itertools.product([False, True], repeat=7), *([some.random() < 0.5 for _ in range(20)] for _ in range(500))]
    for table in tables:
        answers = {}
        found = first_that_fits(len(table), lambda at, table=table, answers=answers: answers.setdefault(at, table[at]))
        if found is None:
            assert answers[len(table) - 1] is False
        else:
            assert answers[found] is True
            assert found == 0 or answers[found - 1] is False


@one_way
@pytest.mark.parametrize(
    ("ms", "chosen"),
    [
        ((40, 20, 10, 6, 3), 0.5),  # 10 ms hold the bound, but not less ten per cent
        ((8.9, 6, 5, 4, 3), 1.4),
        ((40, 20, 10, 9.5, 8), 0.35),
        ((40, 8, 30, 7, 3), 0.5),  # not monotone: a rung that was measured to fit all the same
    ],
)
def test_the_largest_rung_that_holds_the_bound_with_its_margin_is_trained(walk, ms, chosen):
    walk.ms(*ms)
    walked = walk(BOUND)
    assert (walked.fit.chosen.width, walked.fit.verdict) == (chosen, Verdict.PASS)
    assert walked.error is None and statuses(walked)["distill"] == "done"
    by_width = {one.rung.width: one for one in walked.fit.tried}
    assert by_width[chosen].verdict is Verdict.PASS
    larger = [rung.width for rung in walked.fit.rungs][: [rung.width for rung in walked.fit.rungs].index(chosen)]
    assert not larger or by_width[larger[-1]].verdict is Verdict.FAIL
    assert json.loads((walk.folder / "run/fit.json").read_text()) == walked.fit.as_json()


@one_way
def test_the_chain_takes_over_what_the_ladder_made_and_the_next_run_makes_nothing(walk):
    walked = walk(BOUND)
    assert asked(walk) == ["0.75@8", "0.5@8"] and walk.calls().count("sketch") == 2
    assert {*statuses(walked).values()} == {"done"}
    before = len(walk.calls())
    again = walk(BOUND)
    assert walk.calls()[before:] == [] and {*statuses(again).values()} == {"cached"}
    assert [one.cached for one in again.fit.tried] == [True, True]
    assert (again.fit.chosen, again.fit.why) == (walked.fit.chosen, walked.fit.why)


@one_way
def test_a_bound_that_moves_chooses_again_and_asks_only_what_it_does_not_know(walk):
    walk(BOUND)
    before = len(walk.calls())
    walked = walk(BOUND.replace("10", "12"))  # 10.8 less ten per cent
    assert walked.fit.chosen.width == 0.75
    assert asked(walk, before) == ["1.4@8", "1@8"]


@one_way
def test_choice_and_curve_are_there_while_the_student_is_trained_however_that_ends(walk, monkeypatch):
    monkeypatch.setattr("toy_stages.first", lambda context: os._exit(9))
    if (child := os.fork()) == 0:
        walk(BOUND)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert json.loads((walk.folder / "run/fit.json").read_text())["chosen"] == {"width": 0.5, "image_size": [8, 8]}


@one_way
def test_an_ordinary_recipe_of_the_chosen_width_has_the_same_keys(walk):
    chosen = {row.step.name: row.key for row in walk(BOUND).rows}
    ordinary = walk(BOUND, "student.width=0.5", "fit=null")
    assert {row.step.name: row.key for row in ordinary.rows} == chosen
    assert {*statuses(ordinary).values()} == {"cached"}
    assert ordinary.fit is None and not (walk.folder / "run/fit.json").exists()


@one_way
def test_where_nothing_fits_nothing_is_trained_and_it_is_said_what_would(walk):
    walk.ms(90, 80, 70, 60, 20)
    walked = walk(BOUND)
    assert "teacher" not in walk.calls() and {*statuses(walked).values()} == {"skipped"}
    recipe = walk.read()
    assert run_verdict(walked, recipe) == (Verdict.FAIL, 3)
    assert [(one.verdict, one.why) for one in target_verdicts(walked, recipe)] == [
        (Verdict.FAIL, "no rung of the ladder holds its bounds")
    ]
    (would,) = walked.fit.as_json()["would"]
    assert would["metric"] == "latency_ms.p90"  # measured in full, although a look showed that it is too slow
    assert (would["value"], would["limit"], would["would_hold"], would["at_least"]) == (20, 9.0, 22.3, False)
    assert would["times"] == pytest.approx(20 / 9)
    assert "must be 2.22 times as fast" in walked.fit.why and "gates.benchmark.cpu.latency_ms.p90" in walked.fit.why
    before = len(walk.calls())
    walk.ms(90, 80, 70, 60, 20)
    assert walk(BOUND).fit.why == walked.fit.why and walk.calls()[before:] == []
    fits = BOUND.replace("10", str(would["would_hold"]))
    assert walk(fits).fit.chosen.width == 0.35


@one_way
def test_a_bound_that_is_missed_by_little_is_told_with_as_many_digits_as_it_takes(walk):
    walk.ms(40, 20, 10.002, 6, 3)
    walked = walk("gates.preflight.cpu.size_mb={max: 10}", "fit.margin=0")
    assert "does not: cpu size_mb 10.002 MB > 10" in walked.fit.why


@one_way
def test_a_walk_that_keeps_going_takes_the_smallest_and_still_fails(walk):
    walk.ms(90, 80, 70, 60, 20)
    walked = walk(BOUND, keep_going=True)
    assert statuses(walked)["distill"] == "done"
    assert run_verdict(walked, walk.read()) == (Verdict.FAIL, 3)
    assert (walk.folder / "run/distill/second.txt").exists()


@one_way
def test_a_suspect_number_never_counts_as_fitting_and_is_told(walk):
    walk.ms(40, 20, 10, -6, 3)
    walked = walk(BOUND)
    assert walked.fit.chosen.width == 0.35
    assert "could not be decided" in walked.fit.why and "other work ran" in walked.fit.why
    assert next(one for one in walked.fit.as_json()["rungs"] if one["width"] == 0.5)["fits"] == "undecided"


def after_a_suspect_number(walk, **stop):
    """A walk whose choice is 0.35, as 0.5 could not be decided; from now on it can, and would fit."""
    walk.ms(40, 20, 10, -6, 3)
    walked = walk(BOUND, **stop)
    assert walked.fit.chosen.width == 0.35
    walk.ms(40, 20, 10, 6, 3)


@one_way
def test_a_larger_rung_that_was_undecided_is_asked_again_until_the_student_is_trained(walk):
    after_a_suspect_number(walk, until="teacher")
    before = len(walk.calls())
    assert walk(BOUND).fit.chosen.width == 0.5
    assert asked(walk, before) == ["0.5@8"]


@one_way
def test_a_trained_student_is_not_thrown_away_for_a_larger_one_that_was_undecided(walk):
    after_a_suspect_number(walk)
    before = len(walk.calls())
    again = walk(BOUND)
    assert walk.calls()[before:] == [] and {*statuses(again).values()} == {"cached"}
    assert (again.fit.chosen.width, again.fit.verdict) == (0.35, Verdict.PASS)
    assert "could not be decided" in again.fit.why and "it stays" in again.fit.why and "--remeasure" in again.fit.why
    assert next(one for one in again.fit.as_json()["rungs"] if one["width"] == 0.5)["fits"] == "undecided"
    plan = make_plan(walk.read(), walk.folder / "store", None, walk.folder / "run")
    assert [one.name for one in plan.rungs if one.chosen] == ["width 0.35 at 8 px"]
    assert walk(BOUND, start="distill").fit.chosen.width == 0.35
    assert walk(BOUND, remeasure=True).fit.chosen.width == 0.5


@one_way
def test_a_training_that_was_stopped_is_gone_on_with_and_not_exchanged(walk):
    after_a_suspect_number(walk, until="teacher")
    keys = Keys(at_rung(walk.read(), Rung(0.35, 8)), None)
    teacher = Step(chain.STAGES["teacher"])
    made = Store(walk.folder / "store").peek(key_of(keys.parts(teacher, {}))).outcome
    distill = key_of(keys.parts(Step(chain.STAGES["distill"]), {"teacher": made}))
    (walk.folder / f"store/{distill}.checkpoint").mkdir()
    assert walk(BOUND).fit.chosen.width == 0.35


@one_way
def test_a_trained_student_that_does_not_fit_any_more_makes_way_and_so_does_one_of_another_bound(walk):
    after_a_suspect_number(walk)
    with_size = walk(BOUND, "gates.preflight.cpu.size_mb={max: 2}")
    assert with_size.fit.verdict is Verdict.FAIL and with_size.fit.chosen is None
    assert walk(BOUND.replace("10", "11")).fit.chosen.width == 0.5


@one_way
def test_where_even_the_smallest_is_suspect_nothing_is_decided(walk):
    walk.ms(90, 80, 70, -6, -3)
    walked = walk(BOUND)
    assert walked.fit.chosen is None and "teacher" not in walk.calls()
    assert run_verdict(walked, walk.read()) == (Verdict.INCONCLUSIVE, 4)
    assert "could be shown" in walked.fit.why


@one_way
def test_the_fastest_query_says_no_also_under_suspect_conditions(walk):
    walk.ms(40, 20, -12, 6, 3)
    walked = walk(BOUND)
    assert walked.fit.chosen.width == 0.5
    (no,) = next(one for one in walked.fit.tried if one.rung.width == 0.75).judged
    assert (no.verdict, no.gate.metric) == (Verdict.FAIL, "latency_ms.fastest")


@one_way
def test_a_rung_that_does_not_go_into_the_memory_does_not_fit_and_the_walk_goes_on(walk):
    walk.ms(None, None, None, 6, 3)
    walked = walk(BOUND)
    assert (walked.error, walked.fit.chosen.width, walked.fit.verdict) == (None, 0.5, Verdict.PASS)
    assert "the next larger, width 0.75 at 8 px, does not: cpu lacks the memory for it (trtexec was killed)" in walked.fit.why
    kept = json.loads((walk.folder / "run/fit.json").read_text())["rungs"][2]
    assert (kept["width"], kept["fits"], kept["why"]) == (0.75, "no", "cpu lacks the memory for it (trtexec was killed)")
    document = parse(run_document(walked, walk.read(), walk.folder / "run", resume=["edgekd"], started=0.0))
    lines = render_terminal(document, width=140).splitlines()
    assert any("0.75" in line and "cpu lacks the memory" in line and "does not fit" in line for line in lines)
    assert kept["why"] in render_html(document, walk.folder / "run")


@one_way
def test_that_the_memory_is_too_small_is_not_asked_again_unless_it_is_wanted(walk):
    walk.ms(None, None, None, 6, 3)
    walk(BOUND)
    before = len(walk.calls())
    assert [rung.fits for rung in make_plan(walk.read(), walk.folder / "store").rungs] == [None, None, False, True, None]
    assert walk(BOUND).fit.chosen.width == 0.5 and walk(BOUND, start="distill").fit.chosen.width == 0.5
    assert asked(walk, before) == []
    walk.ms(40, 20, 9, 6, 3)
    assert walk(BOUND, remeasure=True).fit.chosen.width == 0.75


@one_way
def test_an_ordinary_recipe_never_takes_the_want_of_memory_for_a_measurement(walk):
    walk.ms(None, None, None, 6, 3)
    walk(BOUND)
    ordinary = (BOUND, "student.width=0.75", "fit=null")
    before = len(walk.calls())
    assert walk(*ordinary).error.exit_code == 6 and asked(walk, before) == ["0.75@8"]
    with pytest.raises(InputError, match="cannot start at distill: no finished cpu/preflight"):
        walk(*ordinary, start="distill")


@one_way
def test_where_not_even_the_smallest_goes_into_the_memory_nothing_fits(walk):
    walk.ms(None, None, None, None, None)
    walked = walk(BOUND)
    assert run_verdict(walked, walk.read()) == (Verdict.FAIL, 3) and "teacher" not in walk.calls()
    assert "the smallest, width 0.35 at 8 px: cpu lacks the memory for it" in walked.fit.why
    assert target_verdicts(walked, walk.read())[0].verdict is Verdict.FAIL
    going_on = walk(BOUND, keep_going=True)
    assert (going_on.error.exit_code, going_on.error.where) == (6, "cpu: build int8")


@one_way
def test_a_device_that_does_not_answer_says_nothing_about_a_rung(walk):
    walk.ms(40, 20, "gone", 6, 3)
    walked = walk(BOUND, events=(events := []))
    assert [event["row"].why for event in events if event.get("status") == "failed"] == ["cpu: the device does not answer"]
    assert (walked.error.exit_code, walked.fit) == (6, None) and asked(walk) == ["0.75@8"]
    walk.ms(40, 20, 10, 6, 3)
    assert walk(BOUND).fit.chosen.width == 0.5


@one_way
@pytest.mark.parametrize("gate", ["gates.preflight.cpu.size_mb={max: 7}", "gates.build.cpu.size_mb={max: 7}"])
def test_a_bound_on_size_chooses_too(walk, gate):
    assert walk(gate).fit.chosen.width == 0.5


@one_way
def test_a_device_that_is_not_connected_is_not_asked_and_may_change_the_choice(walk, monkeypatch):
    text = (walk.folder / "toy.yaml").read_text().replace("gates:\n", f"{JETSON}gates:\n")
    (walk.folder / "toy.yaml").write_text(text)
    jetson = BOUND.replace("cpu", "jetson")
    alone = walk(jetson)
    assert alone.fit.chosen is None and walk.calls() == []
    assert run_verdict(alone, walk.read(jetson)) == (Verdict.INCONCLUSIVE, 4)
    both = walk(jetson, BOUND)
    assert both.fit.chosen.width == 0.5 and "jetson was not asked" in both.fit.why
    assert [*both.fit.not_asked] == ["jetson"]
    monkeypatch.setattr("edgekd.pipeline.keys.targets.why_not_measured", lambda specs, reach: {})
    tighter = jetson.replace("10", "4")
    assert walk(tighter, BOUND).fit.chosen.width == 0.35


@one_way
def test_a_device_that_is_unplugged_takes_no_trained_student_away(walk, monkeypatch):
    text = (walk.folder / "toy.yaml").read_text().replace("gates:\n", f"{JETSON}gates:\n")
    (walk.folder / "toy.yaml").write_text(text)
    bounds = (BOUND, BOUND.replace("cpu", "jetson").replace("10", "4"))
    with monkeypatch.context() as connected:
        connected.setattr("edgekd.pipeline.keys.targets.why_not_measured", lambda specs, reach: {})
        assert walk(*bounds).fit.chosen.width == 0.35
    before = len(walk.calls())
    alone = walk(*bounds)  # the cpu by itself would bear 0.5
    assert alone.fit.chosen.width == 0.35 and walk.calls()[before:] == []
    assert "which an earlier run chose" in alone.fit.why and "jetson was not asked" in alone.fit.why


@one_way
def test_a_device_that_is_connected_later_is_asked_of_the_trained_student_first_and_keeps_it_if_it_can(walk, monkeypatch):
    text = (walk.folder / "toy.yaml").read_text().replace("gates:\n", f"{JETSON}gates:\n")
    (walk.folder / "toy.yaml").write_text(text)
    bounds = (BOUND, BOUND.replace("cpu", "jetson").replace("10", "7"))
    assert walk(*bounds).fit.chosen.width == 0.5
    monkeypatch.setattr("edgekd.pipeline.keys.targets.why_not_measured", lambda specs, reach: {})
    before = len(walk.calls())
    both = walk(*bounds)
    assert (both.fit.chosen.width, both.fit.not_asked) == (0.5, {})
    assert walk.calls()[before:] == ["jetson/preflight", "0.5@8", "jetson/benchmark"]
    assert "the next larger, width 0.75 at 8 px, does not: cpu" in both.fit.why  # which the jetson was never asked
    assert walk(BOUND, bounds[1].replace("7", "4")).fit.chosen.width == 0.35


@one_way
@pytest.mark.parametrize("again", [{}, {"remeasure": True}, {"start": "distill"}], ids=["run", "--remeasure", "--from"])
def test_where_all_devices_are_unplugged_the_trained_student_stays(walk, monkeypatch, again):
    with monkeypatch.context() as connected:
        connected.setattr("edgekd.pipeline.keys.targets.why_not_measured", lambda specs, reach: {})
        assert walk(BOUND).fit.chosen.width == 0.5
    before = walk.calls().count("teacher")
    monkeypatch.setattr("edgekd.pipeline.keys.targets.why_not_measured", lambda specs, reach: {"cpu": "gone"})
    alone = walk(BOUND, **again)
    assert (alone.error, alone.fit.chosen.width, alone.fit.tried) == (None, 0.5, ())
    plan = make_plan(walk.read(), walk.folder / "store", None, walk.folder / "run")
    assert [one.name for one in plan.rungs if one.chosen] == ["width 0.5 at 8 px"]
    assert "which an earlier run chose, held every bound" in alone.fit.why and "cpu was not asked" in alone.fit.why
    assert walk.calls().count("teacher") == before and statuses(alone)["cpu/benchmark"] == "skipped"
    assert run_verdict(alone, walk.read()) == (Verdict.INCONCLUSIVE, 4)


@one_way
def test_from_a_later_stage_the_same_rung_is_chosen_from_the_store_or_the_walk_does_not_start(walk):
    with pytest.raises(InputError, match="cannot start at distill"):
        walk(BOUND, start="distill")
    assert walk.calls() == [] and not (walk.folder / "run/fit.json").exists()
    walk(BOUND)
    before = len(walk.calls())
    assert walk(BOUND, start="distill").fit.chosen.width == 0.5
    assert walk.calls()[before:] == ["distill", "cpu/benchmark"]


@one_way
def test_measuring_again_measures_each_rung_asked_once_more(walk):
    walk(BOUND)
    before = len(walk.calls())
    walk(BOUND, remeasure=True)
    assert asked(walk, before) == ["0.75@8", "0.5@8"]
    assert "sketch" not in walk.calls()[before:]


@one_way
def test_a_smoke_run_asks_nothing_and_takes_the_smallest(walk):
    walked = walk(BOUND, smoke=True)
    assert walked.fit.chosen.width == 0.35 and asked(walk) == ["0.35@8"]
    assert "smoke run" in walked.fit.why
    assert to_go_on(walked, walk.read()).smoke is False


@one_way
def test_image_sizes_are_rungs_too_and_teacher_and_student_are_given_the_chosen_one(walk):
    widths, sizes = ("1.4", "1", "0.75", "0.5", "0.35"), (16, 12, 8)
    order = {f"{rung.width:g}@{rung.image_size}": at for at, rung in enumerate(ladder(walk.read("fit.image_size=[8, 16, 12]")))}
    walk.ms(1, 1, 1, 1, 1, add={name: 40 - 3 * at for name, at in order.items()})
    assert set(order) == {f"{width}@{size}" for width in widths for size in sizes}
    walked = walk(BOUND, "fit.image_size=[8, 16, 12]")
    assert order[f"{walked.fit.chosen.width:g}@{walked.fit.chosen.image_size}"] == 11  # 40 - 33 = 7, the one before takes 10
    assert len(walked.fit.tried) <= 4
    works = [rung.work for rung in walked.fit.rungs]
    assert works == sorted(works, reverse=True)


def test_the_ladder_is_climbed_through_the_worker_as_in_this_process(walk):
    assert walk(BOUND).fit.chosen.width == 0.5


@one_way
def test_the_document_tells_choice_and_curve(walk):
    document = parse(run_document(walk(BOUND), walk.read(), walk.folder / "run", resume=["edgekd"], started=0.0))
    assert (document.fit.verdict, document.fit.chosen.width, document.fit.margin) == (Verdict.PASS, 0.5, 0.1)
    assert [(one.width, one.fits) for one in document.fit.rungs] == [
        (1.4, "not asked"), (1, "not asked"), (0.75, "no"), (0.5, "yes"), (0.35, "not asked"),
    ]  # fmt: skip
    (bound,) = document.fit.rungs[3].bounds
    assert (bound.metric, bound.value, bound.low, bound.high, bound.limit) == ("latency_ms.p90", 6, 5.9, 6.1, 9)
    assert (document.fit.rungs[3].parameters, document.fit.rungs[3].macs) == (500_000, 50_000_000)


@one_way
def test_check_shows_the_ladder_and_what_of_it_is_there(walk, monkeypatch):
    plan = make_plan(walk.read(), walk.folder / "store")
    assert [one.status for one in plan.rungs] == ["to do"] * 5
    assert {step.status for step in plan.steps} == {"to do"}
    walk(BOUND)
    calls = walk.calls()
    plan = make_plan(walk.read(), walk.folder / "store")
    assert [one.status for one in plan.rungs] == ["to do", "to do", "cached", "cached", "to do"]
    assert [one.name for one in plan.rungs if one.chosen] == ["width 0.5 at 8 px"]
    assert {step.status for step in plan.steps} == {"cached"}
    assert walk.calls() == calls


@pytest.fixture
def swept(walk, monkeypatch):
    """A sweep of two methods and two seeds, under these overrides of the recipe."""
    stages = chain.CHAIN[:-1]
    for module in (chain, sweep):
        monkeypatch.setattr(module, "CHAIN", stages)
        monkeypatch.setattr(module, "STAGES", {stage.name: stage for stage in stages})
    monkeypatch.setattr(chain, "EXAMS", {})
    vary = ("distill.method=label,kd", "seed=0,1")
    return lambda *bounds: Sweep(Asked(walk.folder / "toy.yaml", bounds, vary=vary), None, walk.folder, ["edgekd", "sweep"])


@one_way
def test_a_sweep_fits_once_and_every_arm_and_seed_trains_that_student(walk, swept):
    made = swept(BOUND)
    assert {step.status for one in made.prospects(made.arms) for step in one.steps} == {"to do"}
    document = made.run(1, lambda event: None)
    store = walk.folder / ".store/calls.txt"
    calls = [line for line in store.read_text().splitlines() if line.startswith(("sketch", "cpu/preflight"))]
    assert calls == ["sketch 0.75@8", "cpu/preflight 0.75@8", "sketch 0.5@8", "cpu/preflight 0.5@8"]
    assert document["exit_code"] == 0 and "width 0.5 at 8 px, the largest of 5" in document["notes"][0]
    (fit,) = json.loads((made.folder / "fit.json").read_text())
    assert fit["chosen"] == {"width": 0.5, "image_size": [8, 8]}
    assert {recipe.student.width for arm in made.arms for recipe in arm.recipes.values()} == {0.5}
    again = swept(BOUND)
    assert {step.status for one in again.prospects(again.arms) for step in one.steps} == {"cached"}
    walk.ms(90, 80, 70, 60, 50)
    with pytest.raises(InputError, match="no student to compare"):
        swept(BOUND.replace("10", "2")).run(1, lambda event: None)


@one_way
def test_a_sweep_whose_students_are_trained_keeps_them_where_a_larger_one_was_undecided(walk, swept):
    walk.ms(40, 20, 10, -6, 3)
    swept(BOUND).run(1, lambda event: None)
    walk.ms(40, 20, 10, 6, 3)
    again = swept(BOUND)
    assert {step.status for one in again.prospects(again.arms) for step in one.steps} == {"cached"}
    (note,) = again.run(1, lambda event: None)["notes"]
    assert "width 0.35" in note and "it stays" in note and "--remeasure" not in note  # which a sweep does not have
