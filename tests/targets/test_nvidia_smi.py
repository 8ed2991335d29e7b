"""What nvidia-smi says beside a measurement, of drivers of each generation: read by its header, and each rule's own trouble."""

import json
from pathlib import Path

import nvidia_smi as fake
import pytest

from edgekd.device import beside
from edgekd.targets import nvidia_smi, profile, suspicions
from edgekd.targets.nvidia_smi import Sample

RTX = profile("rtx-desktop")
STEADY = [1.0, 1.01, 0.99, 1.0] * 50
SPANS = {"fp16": [[5.0, 9.9]], "int8": [[10.0, 15.0]]}
HEADER = "clocks_event_reasons.active, clocks.current.sm [MHz], temperature.gpu, utilization.gpu [%], power.draw [W]"


def lines(**at):
    """A sample a half-second from 0 to 15 s: idle before 5 s. at: {cell: {from second: value}}."""
    told = [[0.0, HEADER]]
    for tick in range(31):
        cells = {"mask": "0x0000000000000000", "mhz": "2805", "celsius": "60", "percent": "97", "watts": "86.20"}
        if tick < 10:
            cells = {"mask": "0x0000000000000001", "mhz": "210", "celsius": "43", "percent": "0", "watts": "26.20"}
        for cell, values in at.items():
            cells[cell] = next((value for since, value in sorted(values.items(), reverse=True) if tick / 2 >= since), cells[cell])
        told.append([tick / 2, ", ".join(cells.values())])
    return told


def suspect(smi):
    sample = {"clock_s": 0.0, "mhz": None, "swap_used_mb": 0, "processes": {}}
    conditions = {"before": sample, "between": [sample], "after": sample, "threads": 1, "cpus": 8, "waited_share": {}}
    measured = {"rounds": {"fp16": [STEADY] * 6}, "spans": SPANS, "conditions": conditions, "nvidia_smi": smi}
    return suspicions(measured, RTX)


TROUBLE = {
    "its power limit": ({"mask": {6: "0x0000000000000004"}}, "the GPU was throttled in 90 % of the time: sw_power_cap"),
    "heat": ({"mask": {14: "0x0000000000000060"}}, "the GPU was throttled in 14 % of the time: sw_thermal_slowdown (heat)"),
    "supply": ({"mask": {14: "0x0000000000000088"}}, "hw_slowdown"),
    "another clock": ({"mhz": {10: "2400"}}, "the GPU's clock moved between 2400 and 2805 MHz from block to block"),
}


@pytest.mark.parametrize("name", TROUBLE)
def test_each_rule_speaks_for_its_own_trouble(name):
    at, why = TROUBLE[name]
    (told,) = suspect(lines(**at))
    assert why in told


@pytest.mark.parametrize(
    "at",
    [
        {},
        {"mask": {0: "0x0000000000000004", 5: "0x0000000000000000"}},  # before anything was timed
        {"mask": {5: "0x0000000000000002"}},  # a clock that somebody set is as asked for
        {"mask": {5: "[N/A]"}, "mhz": {5: "[Unknown Error]"}},
        {"mhz": {10: "2760"}},
        {"mhz": {10: "300"}, "percent": {10: "3"}},  # between two loads
    ],
)
def test_what_is_no_trouble_is_not_suspect(at):
    assert suspect(lines(**at)) == ()


@pytest.mark.parametrize("garbage", [[], [[0.0, ""]], [[0.0, 'Field "x" is not a valid field to query.']], [[0.0, "1, 2, 3"]],
                                     [[0.0, HEADER], [1.0, "0x1, 2"], [2.0, "a, b, c, d, e"]]])  # fmt: skip
def test_what_cannot_be_read_says_nothing(garbage):
    assert suspect(garbage) == () and nvidia_smi.clocks_under_load(nvidia_smi.samples(garbage), [[0, 9]]) == []


def test_a_summary_for_the_conditions():
    told = nvidia_smi.summary(lines(mhz={10: "2760"}, mask={15: "0x0000000000000040"}, celsius={14: "71"}), SPANS)
    assert told == {"mhz": [2760.0, 2805.0], "hottest_c": 71.0, "reasons": ["hw_thermal_slowdown (heat)"], "samples": 21}


@pytest.mark.parametrize(("driver", "watts"), [("465.27", 84_240.0), ("535.113", 86_200.0), ("595.71", 86_200.0)])
def test_of_every_generation_the_names_it_knows_are_asked_and_power_is_of_the_moment_where_it_is_told(
    tmp_path, monkeypatch, driver, watts
):
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(tmp_path))
    monkeypatch.setattr(beside, "IDLE_S", 0.2)
    log = fake.install(tmp_path, driver, idle_s=0.02)
    with beside.sampled(beside.nvidia_smi(json.loads(json.dumps(nvidia_smi.FIELDS)))) as told:
        pass
    found = nvidia_smi.samples(told)
    assert found[0][1] == Sample(210.0, 43.0, 0.0, 26_200.0, ())
    assert found[-1][1] == Sample(2805.0, 60.0, 97.0, watts, ()) and len(found) >= 3
    assert len(log.read_text().splitlines()) == (2 if driver == "465.27" else 1)
    assert "-i 0 --query-gpu=" in log.read_text() and log.read_text().rstrip().endswith("--format=csv,nounits -lms 500")


def test_a_gpu_without_a_reading_of_the_moment_tells_its_mean():
    header = "clocks_event_reasons.active, power.draw [W], power.draw.instant [W]"
    ((_, told),) = nvidia_smi.samples([[0, header], [1, "0x0000000000000000, 98.14, [N/A]"]])
    assert told.milliwatts == 98_140.0


def test_an_error_of_the_measurement_itself_is_not_taken_for_the_programs(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(tmp_path))
    monkeypatch.setattr(beside, "IDLE_S", 0.1)
    pid = fake.install(tmp_path)
    with pytest.raises(FileNotFoundError, match="gone"), beside.sampled(beside.nvidia_smi(nvidia_smi.FIELDS)):
        raise FileNotFoundError("gone")
    assert not Path("/proc", pid.read_text().split()[0]).exists()
