"""Each rule speaks up for its own trouble, is silent without it, and needs its threshold from the profile."""

from dataclasses import replace

import pytest

from edgekd.targets import float_layers, profile, suspicions

LOCAL = profile("local-cpu")
CALM = {"clock_s": 0.0, "mhz": 3000.0, "throttle_count": 4.0, "cpu_busy_s": 100.0, "cpu_steal_s": 5.0, "own_cpu_s": 1.0}
LATER = {**CALM, "clock_s": 10.0, "cpu_busy_s": 111.0, "own_cpu_s": 11.0, "cpu_steal_s": 5.5}
UNTOLD = {**dict.fromkeys(CALM), "clock_s": 0.0}


def measured(before=None, between=None, after=None, waited=0.01, threads=1, cpus=2, rounds=((1.0,), (1.2,), (1.3,))):
    return {
        "rounds": {"int8": [list(one) for one in rounds]},
        "conditions": {
            "before": {**CALM, **(before or {})}, "between": between or [CALM, LATER], "after": {**LATER, **(after or {})},
            "threads": threads, "cpus": cpus, "waited_share": {"int8": [0.0, waited, 1.0 if waited > 0.5 else waited]},
        },
    }  # fmt: skip


TROUBLE = {
    "clock_moved": ({"between": [CALM, {**LATER, "mhz": 2400.0}]}, "between 2400 and 3000 MHz"),
    "throttle_events": ({"after": {"throttle_count": 6.0}}, "throttled 2 times"),
    "waited_share": ({"waited": 0.2}, "waited for a CPU 20 % of the time"),
    "foreign_cpus": ({"after": {"cpu_busy_s": 124.0}}, "1.4 CPUs busy, and 1 of 2 were free"),
    "stolen_share": ({"after": {"cpu_steal_s": 9.0}}, "hypervisor took 20 %"),
    "drift": ({"rounds": ((1.0,), (1.6,))}, "int8: the rounds' medians drift from 1 to 1.6 ms"),
}


def test_a_calm_measurement_is_not_suspect():
    assert suspicions(measured(), LOCAL) == ()


@pytest.mark.parametrize("rule", TROUBLE)
def test_each_trouble_is_told_by_its_rule_alone(rule):
    trouble, said = TROUBLE[rule]
    (reason,) = suspicions(measured(**trouble), LOCAL)
    assert said in reason
    assert suspicions(measured(**trouble), replace(LOCAL, suspect={**LOCAL.suspect, rule: float("inf")})) == ()
    without = {name: limit for name, limit in LOCAL.suspect.items() if name != rule}
    assert suspicions(measured(**trouble), replace(LOCAL, suspect=without)) == ()


def test_all_troubles_are_told_at_once():
    together = {key: value for trouble, _ in TROUBLE.values() for key, value in trouble.items() if key != "after"}
    after = {key: value for trouble, _ in TROUBLE.values() for key, value in trouble.get("after", {}).items()}
    assert len(suspicions(measured(**together, after=after), LOCAL)) == len(TROUBLE)


def test_what_a_device_cannot_tell_is_not_held_against_it():
    silent = measured(before=UNTOLD, between=[UNTOLD], after={**UNTOLD, "clock_s": 10.0})
    assert suspicions(silent, LOCAL) == ()


def test_many_threads_may_wait_for_one_another_but_leave_fewer_cpus_free():
    assert suspicions(measured(waited=0.9, threads=2), LOCAL) == ()
    assert "0 of 2 were free" in suspicions(measured(after={"cpu_busy_s": 114.0}, threads=2), LOCAL)[0]


def test_float_layers_are_counted_by_what_they_compute_in():
    executed = [("Conv", "float"), ("QLinearConv", "uint8"), ("NhwcFusedConv", "float16"), ("QGemm", "uint8"), ("Gemm", "float"),
                ("MatMul", None), ("MatMulInteger", "uint8"), ("Relu", "float"), ("MatMul", "uint8")]  # fmt: skip
    layers = [
        {"op": op, "name": f"{n}", "provider": "CPUExecutionProvider", "dtype": dtype} for n, (op, dtype) in enumerate(executed)
    ]
    assert [layer["name"] for layer in float_layers(layers)] == ["0", "2", "4", "5"]
