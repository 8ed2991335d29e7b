"""Two runs side by side: what changed, what they share, and which numbers differ by more than noise."""

import json

import pytest
from click.testing import CliRunner

from edgekd.cli import main
from edgekd.core import InputError, share
from edgekd.report import compared, render_comparison
from edgekd.report.compare import ONE_TRAINING
from edgekd.report.document import parse

DATA = {"source": "digits", "classes": ["0", "1"], "counts": {"test": 200}, "digest": "d" * 64}
RIGHT = [at % 10 != 0 for at in range(200)]  # nine in ten
MUCH_WORSE = [at % 2 == 0 and at % 10 != 0 for at in range(200)]


def measurement(name, value, unit, **more):
    return {"name": name, "value": value, "unit": unit, "n": 700, "low": None, "high": None, **more}


def step(name, key, *measurements, **more):
    made = {"name": name, "status": "done", "key": key * 40, "seconds": 9.0, "source": "s", "artifacts": [], "gates": []}
    return {**made, "measurements": list(measurements), **more}


def document(right=RIGHT, *, rounds=(1.0, 1.1, 1.2), method="kd", key="1", **more):
    span = {"low": min(rounds), "high": max(rounds), "rounds": list(rounds)}
    stages = [
        step("teacher", "t", share("top1", RIGHT).as_json()),
        step("distill", key, share("top1", right).as_json(), measurement("size_mb", 1.5, "MB")),
        step("benchmark", key, measurement("latency_ms.p50", rounds[1], "ms", **span), target="cpu"),
    ]
    recipe = {"name": "a", "data": {"split_seed": 0}, "distill": {"method": method}}
    made = {"schema": 1, "verdict": None, "exit_code": 0, "run": f"runs/{key}", "recipe": recipe, "resume": "", "targets": []}
    return parse({**made, "unmeasured": [], "stages": stages, "data": DATA, "environment": {"torch": "2.15"}, **more})


def verdicts(a, b):
    return {f"{one['step']} {one['name']}": (one["verdict"], one["how"]) for one in compared(a, b)["measurements"]}


def test_accuracies_are_paired_image_by_image():
    found = verdicts(document(), document(MUCH_WORSE, key="2"))
    assert found["distill top1"] == ("lower", "paired on 200 images")
    one_less = [*RIGHT[:-1], not RIGHT[-1]]
    assert verdicts(document(), document(one_less, key="2"))["distill top1"] == ("INCONCLUSIVE", "paired on 200 images")


def test_pairing_tells_what_two_shares_apart_cannot():
    """Ten of two hundred images lost and none won: paired that is more than noise, as two samples it is not."""
    lost = [right and at % 20 != 1 for at, right in enumerate(RIGHT)]
    assert verdicts(document(), document(lost, key="2"))["distill top1"][0] == "lower"
    plain = document(lost, key="2").model_copy(deep=True)
    for one in plain.stages[1].measurements:
        object.__setattr__(one, "right", "")
    assert verdicts(document(), plain)["distill top1"] == ("INCONCLUSIVE", "two shares, not paired")


@pytest.mark.parametrize(
    ("rounds", "verdict"), [((2.0, 2.1, 2.2), "higher"), ((0.5, 0.6, 0.7), "lower"), ((1.15, 1.2, 1.3), "INCONCLUSIVE")]
)
def test_latencies_differ_where_no_round_of_one_reaches_the_others(rounds, verdict):
    assert verdicts(document(), document(rounds=rounds, key="2"))["cpu benchmark latency_ms.p50"] == (verdict, "rounds of both")


def test_what_was_measured_under_suspect_conditions_cannot_tell():
    odd = document(rounds=(2.0, 2.1, 2.2), key="2").model_copy(deep=True)
    object.__setattr__(odd.stages[2].measurements[0], "suspect", ["other work ran"])
    found = verdicts(document(), odd)["cpu benchmark latency_ms.p50"]
    assert found == ("INCONCLUSIVE", "suspect conditions: other work ran")


def test_a_number_without_an_interval_is_shown_and_not_judged():
    assert verdicts(document(), document(key="2"))["distill size_mb"] == ("equal", "no interval")


def test_a_run_with_itself_shares_all_and_differs_in_nothing():
    made = compared(document(), document())
    assert (made["changes"], {one["how"] for one in made["steps"]}) == ([], {"shared"})
    assert {one["verdict"] for one in made["measurements"]} == {"same step"}
    assert render_comparison(made).endswith("nothing that both measured apart can be judged")


def test_changes_of_recipe_versions_and_code_are_named():
    other = document(method="sld", key="2", environment={"torch": "2.16"})
    made = compared(document(), other)
    changed = {(one["what"], one["name"], one["a"], one["b"]) for one in made["changes"]}
    assert changed == {("recipe", "distill.method", "kd", "sld"), ("environment", "torch", "2.15", "2.16")}
    assert {one["name"]: one["how"] for one in made["steps"]}["teacher"] == "shared"
    object.__setattr__(other.stages[1], "source", "another")
    assert {one["name"]: one["how"] for one in compared(document(), other)["steps"]}["distill"] == "made by other code"


@pytest.mark.parametrize("data", [{**DATA, "digest": "e" * 64}, None])
def test_runs_of_other_images_are_not_compared_and_it_says_so(data):
    made = compared(document(), document(MUCH_WORSE, key="2", data=data))
    assert made["measurements"] == [] and made["images"]
    assert render_comparison(made).split("\n")[-1].startswith("NOT COMPARED: ")


def test_another_split_is_other_images():
    other = document(key="2", recipe={"name": "a", "data": {"split_seed": 1}, "distill": {"method": "kd"}})
    assert "split" in compared(document(), other)["images"]


@pytest.mark.parametrize("data", ["digits", [1], None])
def test_a_recipe_without_the_shape_of_one_is_compared_by_what_it_says(data):
    odd = document(key="2", recipe={"name": "a", "data": data})
    assert "split" in compared(document(), odd)["images"]
    assert compared(odd, odd)["images"] is None


def test_what_may_be_chance_of_training_is_never_told_as_a_difference_alone():
    """Images cannot tell two seeds of one recipe from two recipes."""
    data = {"split_seed": 0}
    one, other = ({"name": "a", "seed": seed, "data": data, "distill": {"method": "kd"}} for seed in (0, 1))
    made = compared(document(recipe=one), document(MUCH_WORSE, key="2", recipe=other))
    assert made["caution"] == f"seeds 0 and 1: {ONE_TRAINING}"
    assert "another seed may differ as much" in " ".join(render_comparison(made, width=80).split())
    assert compared(document(), document(MUCH_WORSE, key="2"))["caution"] == ONE_TRAINING
    assert compared(document(), document(key="2"))["caution"] is None  # nothing is told to differ
    quantized = step("quantize", "q", share("top1", MUCH_WORSE).as_json())
    same_training = [document(stages=[*document().model_dump(mode="json")["stages"], made]) for made in (
        {**quantized, "measurements": [share("top1", RIGHT).as_json()]}, {**quantized, "key": "r" * 40})]  # fmt: skip
    assert compared(*same_training)["measurements"][-1]["verdict"] == "lower"
    assert compared(*same_training)["caution"] is None


def test_a_smoke_run_is_not_compared():
    with pytest.raises(InputError, match="smoke"):
        compared(document(), document(smoke=True))


def test_the_screen():
    screen = render_comparison(compared(document(), document(MUCH_WORSE, rounds=(1.1, 1.15, 1.3), method="sld", key="2")))
    assert screen == GOLDEN
    narrow = render_comparison(compared(document(), document(MUCH_WORSE, method="sld", key="2")), width=70)
    assert max(map(len, narrow.split("\n"))) <= 70


GOLDEN = """\
a  runs/1
b  runs/2

changed         a   b
distill.method  kd  sld

shared: teacher
made apart: distill, cpu benchmark

step                               a      b   b - a  95 % interval     more than noise?  judged by
distill        top1            0.900  0.400  -0.500  [-0.565, -0.425]  yes, lower        paired on 200 images
cpu benchmark  latency_ms.p50   1.10   1.15   +0.05  [-0.10, 0.30]     INCONCLUSIVE      rounds of both

one training a side, intervals over images: another seed may differ as much; edgekd sweep --vary seed=0,1,2 tells

1 of 2 measurements differ by more than noise: distill top1 lower"""


def test_the_command_reads_two_folders_and_prints_one_document(tmp_path):
    for name, right in (("a", RIGHT), ("b", MUCH_WORSE)):
        (tmp_path / name).mkdir()
        made = document(right, key=name).model_dump(mode="json", by_alias=True)
        (tmp_path / name / "report.json").write_text(json.dumps(made))
    words = [str(tmp_path / "a"), str(tmp_path / "b")]
    result = CliRunner().invoke(main, ["compare", *words, "--json"])
    assert result.exit_code == 0 and json.loads(result.stdout)["measurements"][1]["verdict"] == "lower"
    assert CliRunner().invoke(main, ["compare", words[0], str(tmp_path / "nothing")]).exit_code == 2
