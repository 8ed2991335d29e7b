"""What an engine computed comes back as float32 of the shape it says, to the bit where trtexec can."""

import numpy as np
import pytest

from edgekd.core import DeviceError
from edgekd.targets.tensorrt.outputs import raw_name, read_exported, read_output, read_raw

# As exportJSONOutput prints it, in all versions.
EXPORTED = '[\n  { "name" : "logits"\n  , "dimensions" : "1x3"\n  , "values" : [ 0.25, -1e-05, 7 ]\n  }\n]\n'
VALUES = np.array([[0.25, -3.5, 7]], np.float32)


def test_exported_outputs_have_their_names_and_shapes():
    (values,) = read_exported(EXPORTED, "jetson").values()
    assert (values.dtype, values.shape) == (np.float32, (1, 3)) and values.tolist() == [[0.25, pytest.approx(-1e-05), 7]]
    two = EXPORTED.rstrip("]\n ") + "\n, " + EXPORTED.strip("[]\n ").replace("logits", "boxes").replace("1x3", "3x1") + "]"
    assert [(name, one.shape) for name, one in read_exported(two, "jetson").items()] == [("logits", (1, 3)), ("boxes", (3, 1))]


@pytest.mark.parametrize(("dtype", "as_type"), [("fp32", "<f4"), ("fp16", "<f2")])
def test_raw_outputs_are_the_very_bytes(dtype, as_type):
    values = read_raw(VALUES.astype(as_type).tobytes(), (1, 3), dtype, "jetson")
    assert values.dtype == np.float32 and np.array_equal(values, VALUES)


def test_bfloat16_is_the_upper_half_of_a_float32():
    upper = (VALUES.view(np.uint32) >> 16).astype("<u2").tobytes()
    assert np.array_equal(read_raw(upper, (1, 3), "bf16", "jetson"), VALUES)  # these need no more bits


@pytest.mark.parametrize(
    ("content", "dims", "dtype", "what"),
    [
        (b"", (1, 3), "fp32", "another size"), (bytes(11), (1, 3), "fp32", "another size"),
        (bytes(24), (1, 3), "fp32", "another size"),  # twice: some versions of trtexec would take it
        (bytes(12), (1, 3), "fp16", "another size"), (bytes(12), (1, 3), "int32", "no floating-point"),
        (np.array([1, np.nan], "<f4").tobytes(), (2,), "fp32", "not finite"),
        (np.array([1, np.inf], "<f2").tobytes(), (2,), "fp16", "not finite"),
    ],
)  # fmt: skip
def test_raw_bytes_of_another_size_or_type_are_refused(content, dims, dtype, what):
    with pytest.raises(DeviceError, match=what):
        read_raw(content, dims, dtype, "jetson")


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ('"1x3"', '"1x4"', "another size"), ('"1x3"', '"-1x3"', "fixed dimensions"), ('"1x3"', '""', "fixed dimensions"),
        ('"1x3"', "3", "without name"), ("0.25", "nan", "no number"), ("0.25", "-inf", "no number"), ("0.25", '"a"', "no number"),
        ("0.25", "1e39", "not finite"), ("0.25", "9" * 400, "no number"), ("0.25", "true", "no number"),
        ('"name"', '"nome"', "without name"), ("}\n]\n", "", "cut short"), (EXPORTED, "[]", "exported no output"),
        (EXPORTED, "", "wrote no outputs"), (EXPORTED, "[3]", "without name"), ('"1x3"', f'"{"1x" * 40}3"', "fixed dimensions"),
    ],
)  # fmt: skip
def test_an_export_that_is_cut_or_does_not_fit_its_dimensions_is_refused(old, new, what):
    with pytest.raises(DeviceError, match=what) as refused:
        read_exported(EXPORTED.replace(old, new), "jetson")
    assert refused.value.seen


def test_the_name_of_a_raw_file_tells_its_binding_its_shape_and_its_type():
    told = raw_name("logits.output.1.1000.fp32.raw")
    assert told == ("logits", True, (1, 1000), "fp32")
    assert raw_name("a.b.input.1.3.8.8.fp16.raw") == ("a.b", False, (1, 3, 8, 8), "fp16")
    assert [raw_name(name) for name in ("o.json", "logits.output.fp32.raw", "logits.1.fp32.raw")] == [None] * 3


def test_the_one_output_is_taken_from_the_raw_file_where_there_is_one():
    raw = {"logits.output.1.3.fp32.raw": VALUES.tobytes(), "input.input.1.fp32.raw": b"1234"}
    assert np.array_equal(read_output(EXPORTED, raw, "jetson"), VALUES)
    assert read_output(EXPORTED, {}, "jetson").shape == (1, 3)
    with pytest.raises(DeviceError, match="several outputs") as refused:
        read_output(None, {**raw, "boxes.output.1.3.fp32.raw": VALUES.tobytes()}, "jetson")
    assert refused.value.seen == "logits, boxes"
    with pytest.raises(DeviceError, match="wrote no outputs"):
        read_output(None, {}, "jetson")
