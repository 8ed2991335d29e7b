"""Whatever comes back from a device, cut, mixed or overwritten: an error a person can read, or a result; never a guessed pass."""

import contextlib
import json
import re

import numpy as np
import trtexec_files as FILES
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import EdgekdError
from edgekd.device import Problem
from edgekd.device.plan_header import built_by
from edgekd.targets.tensorrt.failures import failure_of, judged
from edgekd.targets.tensorrt.layers import read_layers, read_profile
from edgekd.targets.tensorrt.log import read_log
from edgekd.targets.tensorrt.outputs import raw_name, read_exported, read_output, read_raw
from edgekd.targets.tensorrt.times import read_times
from edgekd.targets.tensorrt.versions import parse_version

LOGS = [path.read_text("utf-8") for path in FILES.LOGS]
JSONS = [path.read_text("utf-8")[:20_000] for path in FILES.JSON]
STATUSES = st.one_of(st.none(), st.integers(-70, 300))
PASSED = re.compile(r"^&&&& PASSED ", re.MULTILINE)


@st.composite
def damaged(draw, texts):
    """One of the texts, cut, with a piece overwritten, or with its lines in another order."""
    text = draw(st.sampled_from(texts))
    start, end = sorted(draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    how = draw(st.sampled_from(["cut", "overwritten", "without", "mixed", "glued"]))
    if how == "cut":
        return text[:end]
    if how == "overwritten":
        return text[:start] + draw(st.text(max_size=40)) + text[min(end, start + 40) :]
    if how == "without":
        return text[:start] + text[end:]
    lines = text.split("\n")
    if how == "glued":
        place = draw(st.integers(0, len(lines) - 1))
        return "\n".join(lines[:place]) + "".join(lines[place:])
    turn = draw(st.integers(0, len(lines)))
    return "\n".join(lines[turn:] + lines[:turn])


def or_refused(function, *arguments):
    try:
        return function(*arguments)
    except EdgekdError as error:
        assert error.what and "\n" not in error.what
        return None


@given(damaged(LOGS), STATUSES)
def test_a_damaged_log_is_read_and_never_passes_without_its_last_line(text, status):
    log = read_log(text)
    said = or_refused(judged, text, status, "jetson")
    assert (not log.passed and said is None) or PASSED.search(text.replace("\r", ""))
    assert said is None or status == 0
    error = failure_of(text, status, "jetson")
    assert isinstance(error, EdgekdError) and error.exit_code in (2, 5, 6) and error.seen


@given(st.text())
def test_any_text_is_no_pass(text):
    log = read_log(text)
    assert not log.passed or PASSED.search(text)


@given(damaged(LOGS))
def test_a_log_whose_pass_is_taken_out_never_passes(text):
    assert not read_log(text.replace("&&&& PASSED", "")).passed


@given(damaged(JSONS))
def test_damaged_exports_are_refused_or_read(text):
    for times in (or_refused(read_times, text, 0.2, "jetson"),):
        assert times is None or all(0 < one < 1e9 for one in times)
    for layers in (or_refused(read_layers, text, "jetson"),):
        assert layers is None or all(layer["dtype"] or layer["why"] for layer in layers)
    or_refused(read_profile, text, "jetson")
    or_refused(read_exported, text, "jetson")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["Layers", "Name", "LayerType", "Inputs", "Format/Datatype", "Weights", "Type", "Count", "Metadata",
                         "name", "values", "dimensions", "count", "averageMs", "startComputeMs", "computeMs"]),
        inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@given(JSON_VALUES)
def test_exports_of_any_shape_are_refused_or_read(value):
    text = json.dumps(value)
    for read in (read_layers, read_profile, read_exported):
        or_refused(read, text, "jetson")
        or_refused(read, json.dumps([value]), "jetson")
    or_refused(read_layers, json.dumps({"Layers": [value]}), "jetson")
    or_refused(read_times, json.dumps([value]), 0, "jetson")


@given(st.binary(max_size=80), st.sampled_from(["fp32", "fp16", "bf16", "int8", "x"]), st.lists(st.integers(0, 9), max_size=3))
def test_any_bytes_are_an_array_of_their_size_or_refused(content, dtype, dims):
    with np.errstate(invalid="ignore"):
        values = or_refused(read_raw, content, dims, dtype, "jetson")
    assert values is None or (values.shape == tuple(dims) and np.isfinite(values).all())
    with contextlib.suppress(Problem):
        assert len(built_by(content, "jetson") or (10, 0, 0, 0)) == 4
    or_refused(read_output, content.decode("latin-1"), {f"a.output.{'.'.join(map(str, dims))}.{dtype}.raw": content}, "jetson")


@given(st.text(max_size=30))
def test_any_text_is_a_version_or_refused(text):
    version = or_refused(parse_version, text)
    assert version is None or 2 <= len(version) <= 4
    raw_name(text)
