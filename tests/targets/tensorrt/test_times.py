"""Exported times become milliseconds a query: without the warm-up, and never out of a file that is not whole."""

import json

import pytest
import trtexec_files as FILES

from edgekd.core import DeviceError
from edgekd.targets.tensorrt.times import read_times

ONE = {"startComputeMs": 300, "computeMs": 2.5}


def written(*records):
    return json.dumps([{**ONE, **record} for record in records])


@pytest.mark.parametrize(
    ("version", "kept", "all_of_them"),
    [("8.2.1", 54, 130), ("8.5.2", 60, 60), ("8.6.2", 60, 60), ("10.3.0", 60, 60), ("10.13.3", 60, 60), ("11.0.0", 60, 60)],
)
def test_queries_of_the_warm_up_which_8_2_exports_too_are_dropped(version, kept, all_of_them):
    text = FILES.text("times.json", version)
    times = read_times(text, 0.2, "jetson")
    assert len(times) == kept and len(read_times(text, 0, "jetson")) == all_of_them
    assert all(2.3 < one < 2.6 for one in times)  # those of 8.2's warm-up take 3.6 ms
    assert times == [one["computeMs"] for one in json.loads(text) if one["startComputeMs"] >= 200]


def test_a_real_file_of_8_4_has_its_warm_up_in_it_too():
    text = (FILES.RESNET / "timing.json").read_text()
    assert len(read_times(text, 0, "a100")) == 300 and len(read_times(text, 0.2, "a100")) == 78
    assert read_times(text, 0.2, "a100", queries=78)[-1] == 0.881592


def test_fewer_queries_than_asked_are_refused():
    with pytest.raises(DeviceError, match="fewer queries") as refused:
        read_times(written({}, {}), 0.2, "jetson: measure", queries=3)
    assert (refused.value.seen, refused.value.where) == ("2 of 3", "jetson: measure")


@pytest.mark.parametrize("value", ["nan", "-nan", "inf", "-inf", "NaN", "Infinity", "-Infinity"])
def test_a_bare_nan_or_inf_is_refused_with_the_text_around_it(value):
    text = '[\n  { "startComputeMs" : 300, "computeMs" : 2.5 }\n, { "startComputeMs" : 303, "computeMs" : ' + value + " }\n]\n"
    with pytest.raises(DeviceError, match="no number") as refused:
        read_times(text, 0.2, "jetson")
    assert f'"startComputeMs" : 303, "computeMs" : {value}' in refused.value.seen


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "wrote no times"), ("  \n", "wrote no times"), ("[", "cut short"), ("<html>", "cut short"), ("{}", "no list"),
        ("[]", "no query after"), ("[1]", "without a startComputeMs"), ('[{"computeMs": 1}]', "without a startComputeMs"),
        ('[{"startComputeMs": 300}]', "without a computeMs"), (written({"computeMs": "2"}), "without a computeMs"),
        (written({"computeMs": True}), "without a computeMs"), (written({"computeMs": -1}), "without a computeMs"),
        (written({"computeMs": 10**400}), "without a computeMs"), (written({"computeMs": 0}), "took no time"),
        (written({"startComputeMs": 100}), "no query after"), ("[" * 100_000, "no JSON"),
        (f"[{'9' * 5000}]", "no JSON|without a"),
    ],
)  # fmt: skip
def test_a_file_that_is_missing_cut_or_of_another_kind_is_refused(text, what):
    with pytest.raises(DeviceError, match=what) as refused:
        read_times(text, 0.2, "jetson")
    assert refused.value.seen and "disk full" in refused.value.fix


def test_a_file_cut_anywhere_is_refused():
    text = FILES.text("times.json", "10.3.0").rstrip()
    for end in range(0, len(text), 97):
        with pytest.raises(DeviceError):
            read_times(text[:end], 0.2, "jetson")
