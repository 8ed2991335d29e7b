"""From a walked chain to one verdict and one exit code: every way a run can end, and none of them is a pass by accident."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgekd.core import Gate, InputError, Interrupted, Measurement, Outcome, Verdict, judge, share
from edgekd.pipeline import STAGES, Control, Row, Step, Walk, run_document, run_verdict, steps, target_verdicts
from edgekd.recipe import loads
from edgekd.report.document import parse

RECIPE = """\
edgekd: 1
name: table
data: {{source: digits, image_size: 8}}
teacher: {{model: resnet18, epochs: 1}}
student: {{model: mobilenet_v2}}
distill: {{method: label, epochs: 1}}
targets:
  cpu: {{device: local-cpu, runtime: onnxruntime, required: {cpu}}}
  jetson: {{device: jetson-orin-nano-8gb, runtime: tensorrt, precision: fp16, required: {jetson}}}
"""
SILENT = {"jetson": "not connected"}
GOOD, BAD, NONE = share("top1", [True] * 9 + [False]), share("top1", [False] * 10), Measurement("top1", None, "fraction", 0)
ODD = Measurement("top1", float("nan"), "fraction", 9)
SUSPECT = replace(GOOD, suspect=("other work ran",))
MEASURED = {"good": GOOD, "bad": BAD, "none": NONE, "nan": ODD, "suspect": SUSPECT, "missing": None}


def recipe(cpu="always", jetson="when-connected"):
    return loads(RECIPE.format(cpu=cpu, jetson=jetson), "table.yaml", Path())


def row(step, measurement=GOOD, *, gated=True, waive=None, status="done"):
    gate = Gate(step.stage.name, step.target, "top1", "min", 0.8, waive=waive)
    measured = () if measurement is None or status != "done" else (measurement,)
    judgements = (judge(gate, measured[0] if measured else None),) if gated else ()
    return Row(step, status, Outcome(measurements=measured), judgements, why=None if status == "done" else "not reached")


def walk(*changed, error=None, not_measured=SILENT, gated=True, **asked):
    """Every step is done and passes, but for the rows given; those of silent targets and after until are skipped."""
    rows = {one.step: one for one in changed}
    wanted = set(steps(("cpu", "jetson"), asked.get("until")))
    for step in steps(("cpu", "jetson")):
        skipped = step.target in not_measured or step not in wanted
        if step not in rows:
            rows[step] = row(step, gated=gated and step.target not in not_measured, status="skipped" if skipped else "done")
    return Walk(tuple(rows[step] for step in steps(("cpu", "jetson"))), error, not_measured, Control(**asked), 0, None)


DISTILL, BENCHMARK, JETSON = Step(STAGES["distill"]), Step(STAGES["benchmark"], "cpu"), Step(STAGES["benchmark"], "jetson")


@pytest.mark.parametrize("step", [DISTILL, BENCHMARK], ids=["distill", "benchmark"])
@pytest.mark.parametrize(
    ("measured", "waive", "verdict", "code"),
    [
        ("good", None, "PASS", 0),
        ("bad", None, "FAIL", 3),
        ("none", None, "INCONCLUSIVE", 4),
        ("nan", None, "INCONCLUSIVE", 4),
        ("suspect", None, "INCONCLUSIVE", 4),
        ("missing", None, "INCONCLUSIVE", 4),
        ("good", "agreed", "PASS", 0),
        ("bad", "agreed", "PASS", 0),
        ("suspect", "agreed", "PASS", 0),
        ("none", "agreed", "INCONCLUSIVE", 4),
        ("nan", "agreed", "INCONCLUSIVE", 4),
        ("missing", "agreed", "INCONCLUSIVE", 4),
    ],
)
def test_one_gate_decides_the_run(step, measured, waive, verdict, code):
    walked = walk(row(step, MEASURED[measured], waive=waive))
    assert run_verdict(walked, recipe()) == (Verdict(verdict), code)


def test_a_run_whose_only_gate_is_waived_passes_and_its_target_says_waived():
    walked = walk(row(BENCHMARK, BAD, waive="agreed"), gated=False)
    assert run_verdict(walked, recipe()) == (Verdict.PASS, 0)
    assert target_verdicts(walked, recipe())[0].verdict is Verdict.WAIVED


def test_a_miss_outweighs_all_else():
    walked = walk(row(DISTILL, ODD), row(BENCHMARK, BAD))
    assert run_verdict(walked, recipe()) == (Verdict.FAIL, 3)


@pytest.mark.parametrize(("error", "code"), [(InputError("broken"), 2), (Interrupted(15), 143)])
@pytest.mark.parametrize("until", [None, "distill", "bundle"])
@pytest.mark.parametrize("measured", ["good", "bad"])
def test_a_run_that_ended_in_an_error_is_not_judged_and_ends_with_its_code(error, code, until, measured):
    assert run_verdict(walk(row(DISTILL, MEASURED[measured]), error=error, until=until), recipe()) == (None, code)


@pytest.mark.parametrize(
    ("cpu", "jetson", "silent", "verdict"),
    [
        ("always", "when-connected", (), "PASS"),
        ("always", "when-connected", ("jetson",), "PASS"),
        ("always", "always", ("jetson",), "INCONCLUSIVE"),
        ("when-connected", "when-connected", ("jetson",), "PASS"),
        ("when-connected", "when-connected", ("cpu", "jetson"), "INCONCLUSIVE"),
        ("when-connected", "always", ("jetson",), "INCONCLUSIVE"),
        ("always", "when-connected", ("cpu",), "INCONCLUSIVE"),
    ],
)
def test_what_was_not_measured_is_excused_only_when_connected_and_never_all_of_it(cpu, jetson, silent, verdict):
    walked = walk(not_measured=dict.fromkeys(silent, "not connected"))
    assert run_verdict(walked, recipe(cpu, jetson))[0] is Verdict(verdict)
    verdicts = {target.name: target.verdict for target in target_verdicts(walked, recipe(cpu, jetson))}
    assert {name for name, one in verdicts.items() if one is Verdict.NOT_MEASURED} == set(silent)


def test_gates_on_an_excused_target_do_not_count_and_on_a_required_one_do():
    walked = walk(row(JETSON, None, status="skipped"))
    assert run_verdict(walked, recipe())[1] == 0
    assert run_verdict(walked, recipe(jetson="always"))[1] == 4


def test_a_benchmark_that_left_no_number_is_no_measured_target():
    walked = walk(row(BENCHMARK, None, gated=False))
    assert target_verdicts(walked, recipe())[0].verdict is Verdict.NOT_MEASURED
    assert run_verdict(walked, recipe()) == (Verdict.INCONCLUSIVE, 4)


def test_a_target_whose_gate_failed_before_its_benchmark_failed():
    build = Step(STAGES["build"], "cpu")
    walked = walk(row(build, BAD), row(BENCHMARK, status="skipped"))
    assert target_verdicts(walked, recipe())[0].verdict is Verdict.FAIL
    assert run_verdict(walked, recipe()) == (Verdict.FAIL, 3)


@pytest.mark.parametrize("until", [name for name in STAGES if name != "bundle"])
@pytest.mark.parametrize(
    ("measured", "expected"), [("good", (None, 0)), ("bad", (Verdict.FAIL, 3)), ("nan", (Verdict.INCONCLUSIVE, 4))]
)
def test_a_run_bounded_by_until_proves_nothing_and_hides_nothing(until, measured, expected):
    walked = walk(row(Step(STAGES["teacher"]), MEASURED[measured]), until=until)
    assert run_verdict(walked, recipe()) == expected


@pytest.mark.parametrize(("until", "code"), [("export", 0), ("build", 4), ("benchmark", 4), ("bundle", 4)])
def test_until_does_not_excuse_a_required_target_it_came_to(until, code):
    assert run_verdict(walk(until=until), recipe(jetson="always"))[1] == code


def test_what_was_only_prepared_for_an_excused_target_does_not_count_against_the_run():
    prepared = row(Step(STAGES["build"], "jetson"), None)
    assert run_verdict(walk(prepared, until="build"), recipe()) == (None, 0)
    assert run_verdict(walk(prepared), recipe()) == (Verdict.PASS, 0)
    assert run_verdict(walk(prepared), recipe(jetson="always")) == (Verdict.INCONCLUSIVE, 4)


def test_until_the_last_stage_is_the_whole_run():
    assert run_verdict(walk(until="bundle"), recipe()) == (Verdict.PASS, 0)


@pytest.mark.parametrize("error", [None, InputError("broken", where="data", seen="x", fix="mend it")])
@pytest.mark.parametrize("until", [None, "teacher"])
def test_the_document_of_every_end_has_every_key_of_schema_1(error, until):
    document = run_document(walk(error=error, until=until), recipe(), Path("runs/table"), resume=["edgekd", "a b"], started=0.0)
    parsed = parse(document)
    assert document.keys() >= {
        "schema",
        "verdict",
        "exit_code",
        "run",
        "recipe",
        "resume",
        "unmeasured",
        "targets",
        "stages",
        "report",
    }
    assert ("error" in document, "bundle" in document) == (error is not None, until is None)
    assert (document["resume"], parsed.exit_code) == ("edgekd 'a b'", 2 if error else 0)
    assert [step["name"] for step in document["stages"]] == [step.stage.name for step in steps(("cpu", "jetson"))]
    assert {"system", "cpus", "edgekd", "python", "onnxruntime"} <= document["environment"].keys()
    assert all(step["seconds"] is None for step in document["stages"] if step["status"] == "skipped")
