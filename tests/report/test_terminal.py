import io
import re

import pytest

from edgekd.report import render_terminal, screen_of

PASSED = """\
stage      target  measured                                              bound    verdict           time
teacher            top1                   0.983  [0.952, 0.994]   n=180  ≥ 0.95   PASS          2 m 11 s  reused 3 h
distill            top1                   0.972  [0.937, 0.988]   n=180  ≥ 0.95   PASS          4 m 02 s
                   top1_drop              0.011  [-0.009, 0.031]  n=180  ≤ 0.02   PASS
quantize           top1                   0.967  [0.929, 0.985]   n=180                            6.2 s
                   top1_drop              0.006  [-0.010, 0.022]  n=180
export             parity.top1_agreement  1.000  [0.979, 1.000]   n=180  ≥ 0.99   PASS              12 s
                   parity.sqnr_db          41.3                   n=180
build      cpu     size_mb                0.251                                                    0.6 s
                   layers.float               0
benchmark  cpu     top1_drop              0.003  [-0.010, 0.016]  n=360  ≤ 0.015  PASS              38 s
                   latency_ms.p90          1.62  [1.58, 1.71]     n=700  ≤ 2      PASS
                   speedup                 1.58  [1.51, 1.63]     n=700  ≥ 1.1    PASS
                   top1                   0.972  [0.950, 0.985]   n=360
                   latency_ms.p50          1.55  [1.52, 1.58]     n=700
benchmark  jetson  latency_ms.p90             —                          ≤ 10     NOT_MEASURED         —  skipped
                   no host is given: --host jetson=[user@]HOST
bundle             golden_agreement       1.000                   n=200                            1.4 s

run     runs/example, 5 m 01 s
data    digits, 10 classes: 1,257 train, 180 held out, 360 test (test opened once)
bundle  runs/example/bundle: 1.40 MB, 3 files, 200 golden cases agree
report  runs/example/report.html
PASS on cpu; jetson NOT MEASURED (no host is given: --host jetson=[user@]HOST)"""


def change_gate(document, metric, **change):
    for step in document["stages"]:
        for gate in step["gates"]:
            if gate["metric"] == metric and gate["verdict"] != "NOT_MEASURED":
                gate.update(change)
        for one in step["measurements"]:
            if one["name"] == metric and step.get("target") == "cpu":
                one.update({key: change[key] for key in ("value", "low", "high") if key in change})


def last(document):
    return render_terminal(document).splitlines()[-1]


def test_the_closing_screen_of_a_run_that_passed(document):
    assert render_terminal(document, width=120) == PASSED


@pytest.mark.parametrize("width", range(80, 161, 4))
def test_no_width_breaks_a_number_or_runs_over(document, width):
    lines = render_terminal(document, width=width).splitlines()
    assert max(map(len, lines[:-1])) <= width
    shown, whole = "\n".join(lines), re.compile(r"\[.*?\]|n=[\d,]+|[≤≥] [\d.]+|\d+ m \d\d s")
    assert whole.findall(shown).count("[-0.009, 0.031]") == 1
    assert sorted(whole.findall(shown)) == sorted(whole.findall(PASSED))
    assert lines[-1] == PASSED.splitlines()[-1]


def test_a_failed_gate_is_told_with_place_distance_advice_and_the_way_on(document):
    document.update(verdict="FAIL", exit_code=3)
    change_gate(document, "latency_ms.p90", value=2.25, low=2.2, high=2.31, verdict="FAIL", why="does not hold")
    screen = render_terminal(document)
    (failed,) = [line for line in screen.splitlines() if line.startswith("failed")]
    assert failed.startswith("failed  benchmark cpu: latency_ms.p90 2.25 [2.20, 2.31], n=700, must be ≤ 2 (off by 0.250).")
    assert screen.splitlines()[-4:-1] == [
        "        or data.image_size, or more threads for the target",
        "report  runs/example/report.html",
        "resume  edgekd pipeline recipes/example.yaml",
    ]
    assert last(document).startswith("FAIL: benchmark cpu latency_ms.p90 (exit 3); jetson NOT MEASURED")


def test_a_miss_by_a_hair_does_not_look_like_a_pass(document):
    change_gate(document, "top1_drop", value=0.01504, verdict="FAIL", why="does not hold")
    assert "0.0150  [" not in render_terminal(document) and "0.01504" in render_terminal(document)


def test_an_open_gate_says_what_would_settle_it(document):
    document.update(verdict="INCONCLUSIVE", exit_code=4)
    why = "the bound lies inside [-0.01, 0.016] at 95 % confidence: 2900 would settle it"
    change_gate(document, "speedup", verdict="INCONCLUSIVE", why=why, n_needed=2900)
    lines = render_terminal(document, width=100).splitlines()
    assert any(line.strip().startswith("the bound lies inside") for line in lines)
    assert any(line.startswith("open    benchmark cpu: speedup") for line in lines)
    assert lines[-1].startswith("INCONCLUSIVE: benchmark cpu speedup (exit 4)")


def test_an_error_ends_the_screen_with_what_where_seen_and_what_to_try(document):
    error = {
        "code": "input",
        "what": "the loss is not finite",
        "where": "distill, epoch 3",
        "seen": "nan",
        "fix": "a smaller learning rate",
    }
    document.update(verdict=None, exit_code=2, error=error, bundle=None)
    document["stages"][1].update(status="failed", measurements=[], gates=[], why="the loss is not finite")
    lines = render_terminal(document).splitlines()
    assert "FAILED" in lines[2] and lines[3].strip() == "the loss is not finite"
    assert lines[-6:-3] == ["error   distill, epoch 3: the loss is not finite", "seen    nan", "try     a smaller learning rate"]
    assert lines[-1] == "NOT JUDGED (exit 2): the loss is not finite"


def test_a_run_that_was_asked_to_stop_says_so(document):
    document.update(verdict=None, exit_code=0, until="export", bundle=None)
    assert last(document) == "NOT JUDGED (exit 0): stopped after export, as asked"


def test_waived_gates_are_counted_in_the_last_line(document):
    change_gate(document, "speedup", verdict="WAIVED", why="does not hold; waived: small model")
    assert last(document).startswith("PASS on cpu, 1 gate waived; jetson NOT MEASURED")
    assert "does not hold; waived: small model" in render_terminal(document)


def test_what_to_know_about_the_images_is_on_the_screen(document):
    document["data"]["notes"] = ["data: 1 of 5 test images are also in train", "data: the images changed"]
    lines = render_terminal(document).splitlines()
    at = lines.index("note    data: 1 of 5 test images are also in train")
    assert lines[at + 1] == "note    data: the images changed"


def test_a_document_without_any_step_still_has_a_screen():
    error = {"code": "recipe", "what": "unknown key", "where": "a.yaml:1:1", "seen": None, "fix": None}
    empty = {"schema": 1, "verdict": None, "exit_code": 2, "error": error, "run": None, "recipe": None,
             "resume": "edgekd pipeline a.yaml", "unmeasured": [], "targets": [], "stages": [], "report": None}  # fmt: skip
    assert last(empty) == "NOT JUDGED (exit 2): unknown key"


def test_plain_text_unless_colour_is_asked_for(document):
    assert "\x1b" not in render_terminal(document)
    coloured = render_terminal(document, color=True)
    assert "\x1b[32mPASS\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == render_terminal(document)


def test_control_characters_in_names_cannot_steer_the_terminal(document):
    document["data"]["source"] = "digits\x1b]0;owned\x07\nPASS"
    document["targets"][1]["why"] = "gone\r\x1b[2J"
    screen = render_terminal(document)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", screen)
    assert "digits\\x1b]0;owned\\x07\\nPASS" in screen


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "color"),
    [
        (Terminal, {}, True),
        (Terminal, {"NO_COLOR": "1"}, False),
        (Terminal, {"NO_COLOR": ""}, True),  # no-color.org: only when not empty
        (Terminal, {"TERM": "dumb"}, False),
        (io.StringIO, {}, False),
    ],
)
def test_colour_only_on_a_terminal_that_wants_it(stream, environment, color, monkeypatch):
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "97")
    assert screen_of(stream()) == {"width": 97, "color": color}


def test_a_reason_behind_several_numbers_is_told_once_a_step(document):
    document.update(verdict="INCONCLUSIVE", exit_code=4)
    change_gate(document, "latency_ms.p90", verdict="INCONCLUSIVE", why="suspect conditions: foreign load 0.8")
    change_gate(document, "speedup", verdict="INCONCLUSIVE", why="suspect conditions: foreign load 0.8")
    document["stages"][6]["measurements"][3]["suspect"] = ["foreign load 0.8"]  # latency_ms.p50, without a gate
    table = render_terminal(document).split("\n\n")[0]
    assert table.count("foreign load 0.8") == 1


def test_a_smoke_run_says_so_once_and_names_the_command_of_the_real_one(document):
    for step in document["stages"]:
        step["gates"] = [{**one, "verdict": "INCONCLUSIVE", "why": "a smoke run judges nothing"} for one in step["gates"]]
    shown = render_terminal({**document, "smoke": True, "verdict": "INCONCLUSIVE", "exit_code": 4})
    lines = shown.splitlines()
    assert lines[-1].startswith("SMOKE, INCONCLUSIVE (exit 4): the chain was tried on a handful of images; nothing was judged")
    assert "next    edgekd pipeline recipes/example.yaml" in lines
    assert "a smoke run judges nothing" not in shown
    assert "opened" not in shown


def test_a_run_that_judged_nothing_says_why_it_is_inconclusive(document):
    for step in document["stages"]:
        step["gates"] = []
    shown = render_terminal({**document, "verdict": "INCONCLUSIVE", "exit_code": 4, "unmeasured": [], "targets": []})
    assert shown.splitlines()[-1] == "INCONCLUSIVE (exit 4): the recipe sets no gates, so nothing was judged"
