"""What each step costs, on screen and page; numbers invented. A note of another shape breaks neither."""

import pytest

from edgekd.report import render_html, render_terminal
from edgekd.report.document import parse
from edgekd.report.waterfall import falls


def hop(before, after, lost, won, n, sqnr_db, worst):
    drop = (lost - won) / n
    return {"from": before, "to": after, "lost": lost, "won": won, "drop": drop, "low": drop - 0.01, "high": drop + 0.015,
            "agreement": 1 - (lost + won) / n, "sqnr_db": sqnr_db, "max_abs": 0.5, "worst": worst}  # fmt: skip


def fell(flavour, images, n, top1, *steps):
    names = [name for name, *_ in steps]
    hops = [
        hop(before, after, *numbers, n, sqnr, worst)
        for before, (after, numbers, sqnr, worst) in zip(names, steps[1:], strict=False)
    ]
    tops = [top1]
    for one in hops:
        tops.append(tops[-1] - one["drop"])
    steps = [{"name": name, "top1": value} for name, value in zip(names, tops, strict=True)]
    return {"flavour": flavour, "images": images, "n": n, "steps": steps, "hops": hops}


def tensor(name, sqnr_db):
    return {"tensor": name, "sqnr_db": sqnr_db}


@pytest.fixture
def fallen(document):
    """The example, with its files' waterfalls and that of its one measured target."""
    export = next(step for step in document["stages"] if step["name"] == "export")
    benchmark = next(step for step in document["stages"] if step["name"] == "benchmark" and step["target"] == "cpu")
    export["notes"]["waterfall"] = [
        fell(name, "held-out", 180, 0.972222, ("fp32 in torch",),
             ("8 bits simulated in torch", (4, 2), 24.13, tensor("features.17.conv.0.0", 18.2)),
             ("onnxruntime, every node as written", (0, 0), 41.3, tensor("input", 200.0)),
             ("onnxruntime, optimised", (1, 0), 37.9, tensor("features.2.conv.1.0", None)))
        for name in ("ort", "ort-w7", "trt")
    ]  # fmt: skip
    benchmark["notes"]["waterfall"] = [
        fell("ort", "test", 360, 0.975, ("onnxruntime, fp32",),
             ("onnxruntime, every node as written", (3, 1), 23.9, None),
             ("onnxruntime, int8 as the app runs it", (0, 1), 38.2, None))
    ]  # fmt: skip
    return document


def test_a_targets_steps_are_those_of_its_file_and_then_its_own(fallen):
    cpu, trt = falls(parse(fallen))
    assert (cpu.target, cpu.flavour, [part.images for part in cpu.parts]) == ("cpu", "ort", ["held-out", "test"])
    first, equal, last = cpu.parts[0].hops
    assert (first.flips, first.dropped, first.worst) == (
        "−4 +2",
        "0.011 [0.001, 0.026]",
        "features.17.conv.0.0 (18.2 dB)",
    )
    assert last.worst == "features.2.conv.1.0 (— dB)" and cpu.parts[1].hops[0].worst == ""
    assert equal.worst == "all tensors equal" and equal.flips == "±0"
    assert (trt.target, trt.flavour) == (None, "trt")  # the file of a device that is not connected; ort-w7 has no target


def test_the_screen_has_a_line_a_step_and_leaves_them_out_where_they_do_not_fit(fallen):
    screen = render_terminal(fallen)
    lines = [line for line in screen.splitlines() if "simulated" in line]
    assert len(lines) == 1 and all(word in lines[0] for word in ("0.961", "−4 +2", "24.1 dB", "features.17.conv.0.0 (18.2 dB)"))
    assert "cpu, student.ort.onnx" in screen.splitlines() and "fp32 in torch (180 held-out)" in screen
    assert max(map(len, screen.splitlines())) <= 120
    assert "simulated" in render_terminal(fallen, width=100) and "features.17" not in render_terminal(fallen, width=100)
    assert "simulated" not in render_terminal(fallen, width=60)


def test_the_page_draws_every_step_with_its_flips(fallen, run):
    page = render_html(fallen, run)
    assert page.count("images turn wrong") >= 3 and page.count("Where accuracy goes") == 1
    for words in ("cpu: student.ort.onnx", "student.trt.onnx, which no measured target ran", "−4 +2, drop 0.011 [0.001, 0.026]"):
        assert words in page


@pytest.mark.parametrize("note", [None, 3, [None], [{}], [{"flavour": "ort"}], {"flavour": "ort"}, "text"])
def test_a_note_of_another_shape_is_passed_over(fallen, run, note):
    for step in fallen["stages"]:
        if "waterfall" in step.get("notes", {}):
            step["notes"]["waterfall"] = note
    assert falls(parse(fallen)) == []
    assert "Where accuracy goes" not in render_html(fallen, run) and "flips" not in render_terminal(fallen)


def test_a_number_that_is_none_is_a_dash(fallen, run):
    fallen["stages"][3]["notes"]["waterfall"][0]["hops"][0]["sqnr_db"] = None
    assert "— dB" in render_terminal(fallen) and "— dB" in render_html(fallen, run)
