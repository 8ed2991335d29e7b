"""PTQ, QAT and onnxruntime's own tool side by side, on screen and page; a document of another shape breaks neither."""

import pytest

from edgekd.report import render_html, render_terminal
from edgekd.report.document import parse
from edgekd.report.quantization import candidates, left_float, ways

TRIED = [
    {"name": "plain", "sqnr_db": {"ort": 30.04, "trt": None}, "chosen": False},
    {"name": "equalised", "sqnr_db": {"ort": 31.26, "trt": 29.0}, "chosen": True},
]


def measured(prefix, top1, **conditions):
    same = {"n": 180, "low": None, "high": None, "conditions": conditions}
    return [
        {**same, "name": f"{prefix}.top1", "value": top1, "unit": "fraction", "low": top1 - 0.03, "high": top1 + 0.02},
        {**same, "name": f"{prefix}.top1_drop", "value": 0.972222 - top1, "unit": "fraction", "low": -0.01, "high": 0.04},
        {**same, "name": f"{prefix}.sqnr_db", "value": 31.26, "unit": "dB"},
    ]


@pytest.fixture
def both(document):
    """The example with QAT behind PTQ, and the stock tool beside the export."""
    quantize = next(step for step in document["stages"] if step["name"] == "quantize")
    export = next(step for step in document["stages"] if step["name"] == "export")
    quantize["measurements"] += measured("ptq", 0.955556, flavour="ort-w7") + measured("qat", 0.966667, flavour="ort")
    quantize["notes"] = {"mode": "qat", "candidates": TRIED, "decided_by": "the recipe asks for it: QAT ships"}
    export["measurements"] += measured("quantize_static", 0.944444, weight_bits=7, like="ort-w7")
    return document


def test_the_ways_stand_side_by_side_and_the_one_that_ships_is_marked(both):
    found = ways(parse(both))
    assert [(way.label, way.measured["top1"].value, way.remark) for way in found] == [
        ("after training (PTQ)", "0.956", "worst of the files: ort-w7"),
        ("with training (QAT)", "0.967", "ships; worst of the files: ort"),
        ("onnxruntime's quantize_static", "0.944", "weights as coarse as in the file: ort-w7"),
    ]
    assert [way.measured["top1_drop"].interval for way in found] == ["[-0.010, 0.040]"] * 3


def test_the_page_shows_ways_candidates_and_the_decision(both, run):
    page = render_html(both, run)
    for words in ("To 8 bits", "with training (QAT)", "The recipe asks for it: QAT ships.", "equalised", "taken"):
        assert words in page
    assert "To 8 bits" not in render_html({**both, "stages": []}, run)


def test_the_page_says_what_is_left_in_float_and_why(both, run):
    step = next(step for step in both["stages"] if step["name"] == "quantize")
    step["notes"]["float_layers"] = [{"layer": name, "reason": "GELU has no integer kernel"} for name in ("act", "act2")]
    assert left_float(parse(both).steps("quantize")[0]) == [("GELU has no integer kernel", ["act", "act2"])]
    page = render_html(both, run)
    assert "Left in float" in page and "act, act2" in page
    for odd in ([], None, 3, [{"layer": "act"}]):
        step["notes"]["float_layers"] = odd
        assert "Left in float" not in render_html(both, run)


def test_the_screen_shows_them_in_their_steps(both):
    lines = [line.split() for line in render_terminal(both).splitlines()]
    for name in ("ptq.top1_drop", "qat.top1_drop", "quantize_static.top1_drop"):
        assert any(name in line for line in lines)


def test_candidates_are_read_as_noted_and_a_number_that_is_none_is_a_dash(both):
    step = parse(both).steps("quantize")[0]
    assert [(one.name, one.sqnr_db, one.chosen) for one in candidates(step)] == [
        ("plain", {"ort": "30.0", "trt": "—"}, False),
        ("equalised", {"ort": "31.3", "trt": "29.0"}, True),
    ]


@pytest.mark.parametrize("odd", [None, 3, "many", [1], [{"name": "x"}], [{"name": "x", "sqnr_db": [1], "chosen": 1}]])
def test_candidates_of_another_shape_count_as_none(both, run, odd):
    next(step for step in both["stages"] if step["name"] == "quantize")["notes"]["candidates"] = odd
    assert candidates(parse(both).steps("quantize")[0]) == []
    assert "What PTQ tried" not in render_html(both, run)


def test_a_missed_quantize_gate_advises_qat_where_it_was_not_tried_yet(both):
    quantize = next(step for step in both["stages"] if step["name"] == "quantize")
    missed = {"value": 0.0056, "low": -0.01, "high": 0.022, "verdict": "FAIL", "why": "does not hold"}
    quantize["gates"] = [{"metric": "top1_drop", "bound": "max", "limit": 0.001, **missed}]
    failed = {**both, "verdict": "FAIL", "exit_code": 3}
    assert "Try: more quantize.epochs" in " ".join(render_terminal(failed).split())
    quantize["measurements"] = [one for one in quantize["measurements"] if not one["name"].startswith("qat.")]
    assert "Try: quantize.mode: qat, or more" in " ".join(render_terminal(failed).split())
