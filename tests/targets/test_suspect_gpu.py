"""What a Jetson's own sensors say against a measurement: each rule speaks for its own trouble and is silent without it."""

from dataclasses import replace

import jetson_root as JETSON
import pytest

from edgekd.targets import UNEVEN, labels, profile, suspicions

ORIN = profile("jetson-orin-nano-super")
CALM = {
    "clock_s": 0.0, "mhz": 1728.0, "throttle_count": None, "cpu_busy_s": 10.0, "cpu_steal_s": 0.0, "own_cpu_s": 1.0,
    "gpu_mhz": 1020.0, "gpu_min_mhz": 1020.0, "gpu_max_mhz": 1020.0, "swap_used_mb": 12,
    "temperatures_c": {"tj-thermal": 60.0, "cpu-thermal": 61.0}, "trips_c": {"tj-thermal": 99.0, "cpu-thermal": 99.0},
    "cooling": {"0 pwm-fan": 3, "1 gpu-throttle-alert": 0}, "oc_counts": {"/h/oc1_event_cnt": 0, "/h/oc3_event_cnt": 7},
    "processes": {"70 Xorg": 5.0},
}  # fmt: skip
LATER = {**CALM, "clock_s": 20.0, "processes": {"70 Xorg": 5.5}}
STEADY = (1.0, 1.01, 0.99, 1.0) * 50


def measured(before=None, between=None, after=None, lines=(), rounds=(STEADY,) * 6):
    return {
        "rounds": {"int8": [list(one) for one in rounds]}, "tegrastats": list(lines), "spans": {"int8": [[5.0, 25.0]]},
        "conditions": {"before": {**CALM, **(before or {})}, "between": [{**LATER, **(between or {})}],
                       "after": {**LATER, **(after or {})}, "threads": 1, "cpus": 6, "waited_share": {}},
    }  # fmt: skip


def lines(name):
    return [[5.0 + number, line] for number, line in enumerate(JETSON.text("tegrastats", name).splitlines())]


def test_a_calm_measurement_is_not_suspect():
    assert suspicions(measured(lines=lines("orin_nano_super_jp62_sudo.txt")), ORIN) == ()


TROUBLE = {
    "gpu_clock": ({"between": {"gpu_mhz": 918.0}}, "the GPU fell to 918 MHz, though locked to 1020 MHz"),
    "trip_margin_c": ({"between": {"temperatures_c": {"tj-thermal": 94.5}}}, "tj-thermal reached 94 °C: at 99 °C"),
    "oc_events": (
        {"after": {"oc_counts": {"/h/oc1_event_cnt": 0, "/h/oc3_event_cnt": 9}}},
        "oc3_event_cnt counted 2 events more",
    ),
    "cooling": ({"between": {"cooling": {"0 pwm-fan": 9, "1 gpu-throttle-alert": 1}}}, "1 gpu-throttle-alert was at state 1"),
    "swap_mb": ({"after": {"swap_used_mb": 20}}, "swap grew by 8 MB"),
    "foreign_process": (
        {"after": {"processes": {"70 Xorg": 5.5, "71 chrome": 4.0}}},
        "process 71 chrome kept 20 % of a CPU busy",
    ),
    "drift_quarters": ({"rounds": (*(STEADY,) * 3, *([1.03 * ms for ms in STEADY],) * 3)}, "the times drift, from 1 ms"),
    "uneven": ({"rounds": ([1.0, 1.06] * 100,) * 6}, UNEVEN + "int8 varies by 2.9 %"),
    "tail": ({"rounds": ([*STEADY[:197], 1.33, 1.33, 1.33],) * 6}, UNEVEN + "int8 has a p99 of 1.33 times"),
}


def test_every_rule_of_a_jetson_has_its_trouble_here():
    assert set(TROUBLE) == set(ORIN.suspect)


@pytest.mark.parametrize("rule", TROUBLE)
def test_each_trouble_is_told_by_its_rule_alone(rule):
    trouble, said = TROUBLE[rule]
    only = replace(ORIN, suspect={rule: ORIN.suspect[rule]})
    (reason,) = suspicions(measured(**trouble), only)
    assert said in reason
    others = {name: limit for name, limit in ORIN.suspect.items() if name != rule}
    assert not [one for one in suspicions(measured(**trouble), replace(ORIN, suspect=others)) if said in one]


def test_a_gpu_that_sags_under_load_is_seen_in_tegrastats():
    reasons = suspicions(measured(lines=lines("orin_nano_throttling_synthetic.txt")), ORIN)
    assert any("the GPU fell to 408 MHz" in one for one in reasons) and any("tj-thermal reached 100 °C" in one for one in reasons)


def test_what_happens_outside_the_timed_blocks_does_not_count():
    cooled = [[at + 100, line] for at, line in lines("orin_nano_throttling_synthetic.txt")]
    assert suspicions(measured(lines=cooled), ORIN) == ()


def test_a_clock_that_is_free_to_move_is_labelled_and_not_suspect():
    free = {"gpu_min_mhz": 306.0, "gpu_mhz": 306.0}
    told = measured(before=free, between=free, after=free)
    assert suspicions(told, ORIN) == () and labels({"clocks": "not locked"}, told) == ("clocks not locked",)


@pytest.mark.parametrize(
    ("identity", "clocks"),
    [("locked", None), ("not locked", {"locked_by_us": True}), (None, None)],
)
def test_locked_clocks_and_devices_that_tell_nothing_get_no_label(identity, clocks):
    assert labels({"clocks": identity}, {"clocks": clocks}) == ()


def test_what_a_device_cannot_tell_is_not_held_against_it():
    silent = {**dict.fromkeys(CALM), "clock_s": 0.0}
    untold = measured(before=silent, between=silent, after=silent)
    untold.update(tegrastats=None)
    assert suspicions(untold, ORIN) == ()
    bare = {"rounds": untold["rounds"], "conditions": {"before": {}, "between": [], "after": {}, "threads": 1, "cpus": 6}}
    assert suspicions(bare, ORIN) == ()


def test_a_power_mode_that_changed_meanwhile_is_seen_by_the_highest_clock():
    free = {"gpu_mhz": 600.0, "gpu_min_mhz": 306.0}
    (told,) = suspicions(measured(before=free, between=free, after={**free, "gpu_max_mhz": 612.0}), ORIN)
    assert "between 612 and 1020 MHz: was the power mode changed?" in told


def test_models_that_were_not_launched_alike_are_not_compared():
    (told,) = suspicions({**measured(), "launched": {"int8": "graph", "fp16": "enqueue"}}, ORIN)
    assert told == "not launched alike, so not to be compared: int8 by graph, fp16 by enqueue"
    for alike in ("graph", {"int8": "enqueue", "fp16": "enqueue"}, None):
        assert suspicions({**measured(), "launched": alike}, ORIN) == ()
