"""The table of a sweep: paired, marked, in words; the same on screen, page and in files."""

import csv
import io
import json
import re
from xml.etree import ElementTree

import pytest
import sweep_example
from hypothesis import given
from hypothesis import strategies as st
from sweep_example import arm, document

from edgekd.core import InputError, RecipeError, share
from edgekd.report import (
    parse_sweep,
    render_csv,
    render_sweep,
    render_sweep_html,
    run_part,
    sweep_schema,
    tabulated,
    training_seconds,
)
from edgekd.report.sweep import MeasurementPart, paired_on_images

GOLDEN = """\
arm      test top-1  seeds  held-out  to kd  95 % interval   more than noise?              time  images
sld    98.92 ± 0.08      3     99.67  +0.17  [-1.73, +2.06]  cannot tell                  ×2.00   ×2.00
kd     98.75 ± 0.38      3     99.67                         baseline                     ×1.00   ×1.00
ffkd   98.33 ± 0.60      3     99.00  -0.42  [-2.60, +1.76]  cannot tell; 20 seeds might  ×2.38   ×1.50
label  96.58 ± 0.58      3     98.33  -2.17  [-3.12, -1.22]  yes, worse                   ×0.77   ×0.50

teacher   top-1 97.00 test, 97.00 held-out
data      digits: 1,200 train, 100 held out, 400 test images; test opened 13 times by runs that share this store
left out  distill.{temperatures} of the recipe, for label: another method's
how       top-1 in percent of the test images, fp32 student, best epoch by held-out; ± is the standard error over seeds;
          differences are paired by seed, intervals are Student's t over seeds: other trainings, the same test images;
          time and images of the training are relative to kd; what a teacher that learns costs is in the time only
sweep     runs/example-sweep, 12 m 34 s
command   edgekd sweep example.yaml --vary distill.method=label,kd,sld,ffkd --vary seed=0,1,2 --baseline kd
12 runs measured"""


def test_the_screen_at_120_columns():
    assert render_sweep(document(), width=120) == GOLDEN


@pytest.mark.parametrize("width", [80, 100])
def test_a_narrow_screen_holds_the_same_numbers_and_no_line_is_wider(width):
    screen = render_sweep(document(), width=width)
    assert max(map(len, screen.split("\n"))) <= width
    numbers = re.compile(r"[-+×]?\d+\.\d\d")
    assert sorted(numbers.findall(screen)) == sorted(numbers.findall(GOLDEN))
    assert "\n    baseline\n" in screen or width == 100


def test_one_seed_is_compared_over_images_and_says_so():
    found = parse_sweep(document(seeds=(0,)))
    assert {one.difference.over for one in found.arms if one.difference} == {"images"}
    assert {one.test_top1.se for one in found.arms} == {None}
    screen = render_sweep(found)
    assert "say nothing about another training" in screen and "±" not in screen.split("\n\n")[0]


def test_a_difference_is_taken_by_seed_and_not_of_means():
    """Two seeds in common of three: the third of either arm has no part in it."""
    kd, sld = arm("kd", (0, 1, 2)), arm("sld", (1, 2, 3))
    (row,) = [one for one in tabulated([kd, sld], "kd") if one.name == "sld"]
    values = {run.seed: run.test_top1.value for run in kd.runs}, {run.seed: run.test_top1.value for run in sld.runs}
    assert row.difference.n == 2
    assert row.difference.value == pytest.approx(sum(values[1][s] - values[0][s] for s in (1, 2)) / 2)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_a_paired_difference_is_that_of_the_two_shares_and_turns_with_them(pairs):
    a, b = (MeasurementPart.model_validate(share("top1", [pair[at] for pair in pairs]).as_json()) for at in (0, 1))
    there, back = paired_on_images(a, b), paired_on_images(b, a)
    assert there.value == pytest.approx(a.value - b.value) and there.low < there.high
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low))
    assert {there.verdict, back.verdict} in ({"better", "worse"}, {"cannot tell"})


def test_an_arm_equal_to_the_baseline_is_never_more_than_noise():
    twin = arm("kd", (0, 1, 2)).model_copy(update={"name": "twin", "baseline": False})
    (row,) = [one for one in tabulated([arm("kd", (0, 1, 2)), twin], "kd") if one.name == "twin"]
    assert (row.difference.value, row.difference.verdict, row.time_ratio) == (0, "cannot tell", 1)


def test_a_failed_run_is_told_and_the_last_line_counts_it():
    arms = [arm(name, (0, 1, 2)) for name in sweep_example.METHODS]
    error = RecipeError("loss is not finite", where="distill epoch 2 step 3", fix="lower distill.learning_rate")
    broken = run_part(1, "ffkd/seed-1", error)
    arms[3] = arms[3].model_copy(update={"runs": [arms[3].runs[0], broken, arms[3].runs[2]]})
    made = document(arms=arms, exit_code=2)
    assert {one["name"]: one["test_top1"]["n"] for one in made["arms"]}["ffkd"] == 2
    row = next(line for line in render_sweep(made, width=200).split("\n") if line.startswith("ffkd"))
    assert "2 of 3" in row and "means over some of the seeds only compare badly" in render_sweep(made, width=500)
    sentence = "ffkd, seed 1: distill epoch 2 step 3: loss is not finite; try: lower distill.learning_rate"
    assert f"failed    {sentence}" in render_sweep(made, width=200)
    assert render_sweep(made).endswith("1 of 12 runs FAILED (exit 2)")
    assert sentence in render_sweep_html(made)
    assert [row["error"] for row in csv.DictReader(io.StringIO(render_csv(made))) if row["arm"] == "ffkd"] == [error.what]


def test_an_arm_without_a_number_comes_last_and_breaks_nothing():
    nothing = arm("sld", (0,)).model_copy(update={"runs": [run_part(0, "sld/seed-0", InputError("no images"))]})
    made = document(seeds=(0,), arms=[arm("kd", (0,)), nothing])
    assert [one["name"] for one in made["arms"]] == ["kd", "sld"]
    assert "sld" in render_sweep(made) and "—" in render_sweep(made)
    render_sweep_html(made), render_csv(made)


def test_one_run_is_no_plural():
    assert render_sweep(document(seeds=(0,), arms=[arm("kd", (0,))])).endswith("\n1 run measured")


def test_no_interval_reaches_beyond_what_shares_can_differ_by():
    """Two seeds that differ much: Student's t would go on to ±400 points."""
    kd, runs = arm("kd", (0, 1)), [sweep_example.run("sld", seed, top1) for seed, top1 in ((0, 0.9), (1, 0.2))]
    (row,) = [one for one in tabulated([kd, kd.model_copy(update={"name": "odd", "runs": runs})], "kd") if one.name == "odd"]
    assert (row.difference.low, row.difference.high) == (-1, 1)


def test_the_chart_shows_the_whole_of_a_long_name():
    name = "a" * 120
    made = document(arms=[arm("kd", (0, 1)), arm("sld", (0, 1)).model_copy(update={"name": name})])
    chart = ElementTree.fromstring(re.search(r"<svg.*?</svg>", render_sweep_html(made), re.DOTALL)[0])
    (shown,) = [text for text in chart.iter("text") if text.text == name]
    assert shown.get("text-anchor") == "start" and float(shown.get("x")) + 7 * len(name) < float(chart.get("viewBox").split()[2])


def test_times_are_of_all_cores_on_cpus_and_of_the_wall_elsewhere():
    kd = arm("kd", (0, 1))
    assert training_seconds([kd])["kd"] == pytest.approx(1.9 * 13)
    on_gpu = kd.model_copy(update={"runs": [run.model_copy(update={"device": "cuda"}) for run in kd.runs]})
    assert training_seconds([on_gpu])["kd"] == pytest.approx(13)


def test_trainings_on_other_numbers_of_threads_are_told():
    kd, sld = arm("kd", (0, 1)), arm("sld", (0, 1))
    slow = sld.model_copy(update={"runs": [run.model_copy(update={"threads": 1}) for run in sld.runs]})
    assert "trained on cpu (threads: 1), cpu (threads: 2): times compare badly" in render_sweep(
        document(arms=[kd, slow]), width=500
    )


def test_many_comparisons_say_that_one_in_twenty_is_chance():
    arms = [arm("sld", (0, 1)).model_copy(update={"name": f"arm {at}"}) for at in range(5)]
    assert "of 5 comparisons at 95 %" in render_sweep(document(seeds=(0, 1), arms=[arm("kd", (0, 1)), *arms]), width=500)


def test_the_page_is_whole_holds_no_script_and_escapes_names():
    arms = [arm("kd", (0, 1)), arm("sld", (0, 1)).model_copy(update={"name": "<script>alert(1)</script>"})]
    page = render_sweep_html(document(seeds=(0, 1), arms=arms))
    assert "<script" not in page and "&lt;script&gt;" in page
    assert page.count("<svg") == 1 and not re.search(r"(src|href)=", page)


def test_the_csv_has_an_arm_a_line_and_a_column_a_seed():
    rows = list(csv.DictReader(io.StringIO(render_csv(document()))))
    assert [row["arm"] for row in rows] == ["sld", "kd", "ffkd", "label"]
    assert float(rows[0]["test_top1"]) == pytest.approx(sum(float(rows[0][f"test_top1_seed_{seed}"]) for seed in (0, 1, 2)) / 3)


def test_the_document_survives_being_written_and_its_schema_names_every_field():
    made = document()
    again = json.loads(json.dumps(made))
    assert render_sweep(again) == render_sweep(made)
    assert set(made) <= set(sweep_schema()["properties"])
    with pytest.raises(InputError, match="schema 1"):
        parse_sweep({**made, "schema": 2})


def test_control_characters_of_a_name_do_not_reach_the_terminal():
    arms = [arm("kd", (0,)), arm("sld", (0,)).model_copy(update={"name": "a\x1b[31mb"})]
    assert "\x1b" not in render_sweep(document(seeds=(0,), arms=arms))
