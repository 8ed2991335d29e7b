"""The ladder in the report: the choice, every rung that was asked, and what would fit; on the screen and on the page."""

import copy
import re

import pytest

from edgekd.core import Verdict
from edgekd.report import render_html, render_terminal
from edgekd.report.document import parse
from edgekd.report.fit import ladder_curves

KEY = "gates.benchmark.cpu.latency_ms.p90"


def bound(value, verdict, metric="latency_ms.p90", spread=0.5):
    why = {"PASS": "holds", "FAIL": "does not hold"}.get(verdict, "suspect conditions: other work ran")
    return {"metric": metric, "target": "cpu", "bound": "max", "limit": 4.5, "value": value, "low": value - spread,
            "high": value + spread, "verdict": verdict, "why": why, "inherited": KEY}  # fmt: skip


def rung(width, fits, value=None, **more):
    bounds = [bound(value, {"yes": "PASS", "no": "FAIL"}.get(fits, "INCONCLUSIVE"), **more)] if value else []
    asked = {"parameters": int(1e6 * width), "macs": int(3e8 * width), "bounds": bounds, "why": "" if fits == "yes" else "slow"}
    return {"width": width, "image_size": [128, 128], "fits": fits, **(asked if value else {})}


FIT = {
    "verdict": "PASS", "why": "width 0.5 at 128 px, the largest of 4 that holds every bound less 10 %; the next larger does not",
    "chosen": {"width": 0.5, "image_size": [128, 128]}, "margin": 0.1, "would": [],
    "rungs": [rung(1.4, "not asked"), rung(1.0, "no", 6.1, metric="latency_ms.fastest"), rung(0.5, "yes", 3.2),
              rung(0.35, "undecided", 4.1)],
    "not_asked": {"jetson": "no host is given"},
}  # fmt: skip
NONE = {
    **FIT, "verdict": "FAIL", "chosen": None,
    "why": "no rung of the ladder holds every bound less 10 %; the smallest: it must be 2.22 times as fast",
    "rungs": [rung(0.5, "no", 12.0), rung(0.35, "no", 10.0)],
    "would": [{"target": "cpu", "metric": "latency_ms.p90", "bound": "gates.benchmark.cpu.latency_ms.p90", "value": 10.0,
               "limit": 4.5, "times": 2.22, "would_hold": 11.2, "at_least": False}],
}  # fmt: skip


@pytest.fixture
def with_fit(document):
    return lambda fit, **more: {**copy.deepcopy(document), "fit": fit, **more}


def test_the_screen_shows_every_rung_that_was_asked_the_chosen_one_and_why(with_fit):
    screen = render_terminal(with_fit(FIT))
    rows = [line.split() for line in screen.split("\n") if re.match(r"^ {8}(1|0.5|0.35|1.4) ", line)]
    assert [row[0] for row in rows] == ["1", "0.5", "0.35"]
    assert "chosen" in rows[1] and "3.200" not in rows[1] and "3.20" in rows[1]
    assert "undecided" in rows[2]
    assert re.search(r"fit +width 0.5 at 128 px, the largest of 4", screen)


def test_the_page_draws_the_curve_against_the_bound_and_names_what_was_not_asked(with_fit, run):
    page = render_html(with_fit(FIT), run)
    assert "The student that fits" in page and "Not asked: jetson" in page
    (chart,) = ladder_curves(parse(with_fit(FIT)).fit)  # a rung only glanced at stands in the same chart
    assert chart in page
    assert chart.count("<circle") == 4 and "chosen: width 0.5" in chart
    assert {"v-PASS", "v-FAIL", "v-INCONCLUSIVE"} <= set(re.findall(r'class="(v-\w+)"', chart))
    assert "against 4.5 ms" in chart


def test_where_nothing_fits_the_last_line_says_so_and_what_would_is_told_with_advice(with_fit, run, document):
    stages = [{**one, "gates": []} for one in document["stages"]]
    failed = with_fit(NONE, verdict=Verdict.FAIL.value, exit_code=3, stages=stages)
    screen = render_terminal(failed, width=1000)
    assert "FAIL: no rung of the ladder fits (exit 3)" in screen.split("\n")[-1]
    assert "it must be 2.22 times as fast. Try: a smaller width or image_size in fit" in screen
    page = render_html(failed, run)
    assert "2.22 times as fast" in page


def test_a_report_without_a_ladder_has_no_word_of_one(document, run):
    assert "ladder" not in render_terminal(document) and "student that fits" not in render_html(document, run)
