"""The quantize stage: PTQ always, QAT where asked or needed, the better of the two ships, and it is said which and why."""

import json
from pathlib import Path

import pytest
import torch
from small_chain import RECIPE

from edgekd import distill, models
from edgekd.core import Artifact, Outcome
from edgekd.recipe import loads
from edgekd.stages import quantize, smoke
from edgekd.stages.context import Context, Input
from edgekd.stages.fine_tuning import learning_rate
from edgekd.stages.rounded import Rounded

SMALL = ("data.image_size=16", "student.model=resnet18", "student.width=0.125", "compute.threads=1")
THREE = ("top1", "top1_drop", "sqnr_db")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The networks that teacher and distill would have left, untrained."""
    folder = tmp_path_factory.mktemp("made")
    for seed, role in enumerate(("teacher", "student")):
        torch.manual_seed(seed)
        models.save(models.create("resnet18", classes=10, image_size=16, width=0.125).eval(), folder / f"{role}.safetensors")
    return folder


@pytest.fixture(scope="module")
def ptq(run):
    return run("quantize.mode=ptq")


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    def run(*overrides):
        """(outcome, folder it wrote to) of a smoke run of the stage."""
        recipe = smoke.shortened(loads(RECIPE, "small.yaml", Path(), (*SMALL, *overrides)))
        inputs = {
            stage: Input(Outcome((Artifact.of(role, folder / f"{role}.safetensors", folder),)), folder)
            for stage, role in (("teacher", "teacher"), ("distill", "student"))
        }
        made = tmp_path_factory.mktemp("quantize")
        return quantize.run(Context(recipe, made, inputs, smoke=True)), made

    return run


def value(outcome, name):
    return next(one.value for one in outcome.measurements if one.name == name)


def weights(made):
    return models.load_state(made / "student.safetensors")


def test_ptq_trains_nothing_and_is_measured_for_the_worst_int8_file(ptq):
    outcome, made = ptq
    assert [one.name for one in outcome.measurements] == [*THREE, *(f"ptq.{name}" for name in THREE)]
    assert all(value(outcome, name) == value(outcome, f"ptq.{name}") for name in THREE)
    assert {one.conditions["flavour"] for one in outcome.measurements} <= {"ort", "ort-w7", "trt"}
    assert (outcome.notes["mode"], outcome.notes["decided_by"]) == ("ptq", "the recipe asks for PTQ")
    assert sum(one["chosen"] for one in outcome.notes["candidates"]) == 1
    assert {set(one["sqnr_db"]) == {"ort", "ort-w7", "trt"} for one in outcome.notes["candidates"]} == {True}  # jetson's too
    assert sorted(path.name for path in made.iterdir()) == ["sites.json", "student.safetensors"]


def test_auto_trains_once_its_gate_is_tightened_beyond_ptq(run):
    kept, at_kept = run("quantize.mode=auto", "gates.quantize.top1_drop.max=0.9")
    assert kept.notes["decided_by"] == "PTQ holds the quantize gates" and "qat" not in kept.notes
    trained, made = run("quantize.mode=auto", "gates.quantize.top1_drop.max=-0.9")
    ungated, _ = run("quantize.mode=auto", "gates={}")
    assert ungated.notes["decided_by"] == "no quantize gate to miss" and "qat" not in ungated.notes
    assert trained.notes["decided_by"].startswith("PTQ misses the gate on top1_drop (does not hold); held-out top1")
    assert {f"qat.{name}" for name in THREE} <= {one.name for one in trained.measurements}
    assert len(json.loads((made / "curves.json").read_text())["epochs"]) == 1 and not (at_kept / "curves.json").exists()


@pytest.mark.parametrize(
    ("mode", "gates", "trains"),
    [
        ("qat", "{}", "the recipe asks for it"),
        ("ptq", "{quantize: {top1: {min: 0.9}}}", None),
        ("auto", "{}", None),
        ("auto", "{quantize: {top1: {min: 0.7, max: 0.9}}}", None),
        ("auto", "{quantize: {top1: {min: 0.9}}}", "PTQ misses the gate on top1 (does not hold)"),
        ("auto", "{quantize: {top1: {min: 0.9, waive: known}}}", None),
        ("auto", "{quantize: {top1: {min: 0.7, confidence: 0.999}}}", "PTQ misses the gate on top1 (the bound lies inside"),
        ("auto", "{distill: {top1: {min: 0.9}}}", None),
    ],
)
def test_what_makes_it_train(mode, gates, trains):
    """An INCONCLUSIVE gate is not held."""
    context = Context(loads(RECIPE, "small.yaml", Path(), (f"quantize.mode={mode}", f"gates={gates}")), Path())
    why = quantize._why_fine_tune(context, rounded({"ort": [True] * 8 + [False] * 2}, {"ort": 30.0}))
    assert why is None if trains is None else why.startswith(trains)


def test_what_alone_holds_the_gates_ships_whatever_else_is_said_for_the_other():
    holds, misses = rounded({"ort": [True] * 10}, {"ort": 1.0}), rounded({"ort": [True] * 9 + [False]}, {"ort": 90.0})
    gated = Context(loads(RECIPE, "small.yaml", Path(), ("gates={quantize: {top1: {min: 0.95}}}",)), Path())
    assert quantize._fine_tuned_ships(gated, ptq=misses, qat=holds) and not quantize._fine_tuned_ships(
        gated, ptq=holds, qat=misses
    )
    ungated = Context(loads(RECIPE, "small.yaml", Path(), ("gates={}",)), Path())
    assert not quantize._fine_tuned_ships(ungated, ptq=misses, qat=holds)


@pytest.mark.parametrize("better", [False, True])
def test_only_qat_that_beats_ptq_ships(run, ptq, monkeypatch, better):
    monkeypatch.setattr(Rounded, "better_than", lambda self, other: better)
    outcome, made = run("quantize.mode=qat", "quantize.learning_rate=0.01")
    of_ptq, at_ptq = ptq
    same = all(torch.equal(tensor, weights(at_ptq)[name]) for name, tensor in weights(made).items())
    assert same is not better
    assert outcome.notes["mode"] == ("qat" if better else "ptq")
    assert ("QAT did not improve on PTQ: PTQ ships" in outcome.notes["decided_by"]) is not better
    source = "qat" if better else "ptq"
    assert all(value(outcome, name) == value(outcome, f"{source}.{name}") for name in THREE)
    assert all(value(outcome, f"ptq.{name}") == value(of_ptq, name) for name in THREE)
    assert json.loads((made / "sites.json").read_text()) == json.loads((at_ptq / "sites.json").read_text())


@pytest.mark.parametrize(("source", "loss"), [("none", "ce"), ("teacher", "kd"), ("both", "kd")])
def test_it_learns_from_what_the_recipe_says(run, source, loss):
    outcome, made = run("quantize.mode=qat", f"quantize.distill={source}")
    (epoch,) = json.loads((made / "curves.json").read_text())["epochs"]
    assert epoch["losses"][loss] > 0 and outcome.notes["qat"]["learns_from"] == source
    assert epoch["losses"].get("ce", 0.0) == (epoch["losses"]["ce"] if source == "none" else 0.0)


def test_each_step_rounds_as_the_next_int8_file_wherever_training_goes_on(run, monkeypatch):
    used = []
    fit = distill.fit

    def watched(students, *arguments, before_step, **options):
        for step in (0, 1, 2, 3, 7):
            before_step(step)
            used.append({module.flavour for module in students[0].modules() if hasattr(module, "flavour")})
        return fit(students, *arguments, before_step=before_step, **options)

    monkeypatch.setattr(distill, "fit", watched)
    run("quantize.mode=qat")
    assert used == [{"ort"}, {"ort-w7"}, {"trt"}, {"ort"}, {"ort-w7"}]


UNTRAINED = ("distill={method: none}", "student.weights=a.safetensors")


@pytest.mark.parametrize(("section", "more"), [("distill", ()), ("teacher", UNTRAINED)])
def test_momentum_and_weight_decay_are_those_of_the_float_training(run, monkeypatch, section, more):
    used = {}
    fit = distill.fit

    def watched(*arguments, **options):
        used.update(options)
        return fit(*arguments, **options)

    monkeypatch.setattr(distill, "fit", watched)
    run("quantize.mode=qat", *more, f"{section}.momentum=0.3", f"{section}.weight_decay=0.002")
    assert (used["momentum"], used["weight_decay"]) == (0.3, 0.002)


def rounded(rights, sqnr_db):
    return Rounded(None, rights, sqnr_db, [True] * 10)


def test_better_is_more_top1_where_the_images_can_tell_and_else_more_sqnr_in_the_worst_file():
    base = rounded({"ort": [True] * 9 + [False], "ort-w7": [True] * 10}, {"ort": 30.0, "ort-w7": 25.0})
    assert not base.better_than(base)
    worse = rounded({"ort": [True] * 5 + [False] * 5, "ort-w7": [True] * 5 + [False] * 5}, {"ort": 90.0, "ort-w7": 90.0})
    assert base.better_than(worse) and not worse.better_than(base)
    one_lucky_image = rounded({"ort": [True] * 10, "ort-w7": [True] * 10}, {"ort": 1.0, "ort-w7": 1.0})
    assert not one_lucky_image.better_than(base) and base.better_than(one_lucky_image)
    assert rounded(base.rights, {"ort": 26.0, "ort-w7": 26.0}).better_than(base)
    assert not rounded(base.rights, {"ort": 90.0, "ort-w7": 24.0}).better_than(base)
    assert not rounded(base.rights, {"ort": 90.0, "ort-w7": float("nan")}).better_than(base)
    assert base.lost == pytest.approx(0.05)
    named = {one.name: one for one in base.measurements("ptq.")}
    assert named["ptq.top1"].value == 0.9 and named["ptq.top1"].conditions["flavour"] == "ort"
    assert named["ptq.sqnr_db"].value == 25.0 and named["ptq.sqnr_db"].conditions["flavour"] == "ort-w7"


@pytest.mark.parametrize(
    ("lost", "override", "expected"),
    [
        (0.01, "distill.learning_rate=0.2", 0.002),
        (0.011, "distill.learning_rate=0.2", 0.02),
        (-1.0, "distill={method: none}", 0.0004),
    ],
)
def test_the_learning_rate_is_a_share_of_the_float_peak_by_what_ptq_lost(lost, override, expected):
    more = ("student.weights=a.safetensors", "teacher.learning_rate=0.04")
    assert learning_rate(loads(RECIPE, "small.yaml", Path(), (*more, override)), lost) == pytest.approx(expected)
