"""Power counts the time the GPU computed, not that in which a process loaded or ended."""

import pytest

from edgekd.targets.tensorrt.beside import power_of


def lines(spans, idle_mw=4000, loading_mw=5000, busy_mw=9000):
    """tegrastats twice a second for 20 s: idle before 3 s, busy within the spans, loading else."""
    for tick in range(41):
        at = tick / 2
        busy = any(start <= at <= end for start, end in spans)
        milliwatts = busy_mw if busy else idle_mw if at < 3 else loading_mw
        yield at, f"RAM 1/2MB GR3D_FREQ 99% VDD_IN {milliwatts}mW/5000mW"


def measured(**changes):
    """A process from 5 s to 13.3 s: five seconds of loading, 2 of warm-up, 1 s for 500 queries of 2 ms, 0.3 s to end."""
    return {"tegrastats": list(lines([(10.0, 13.0)])), "rounds": {"m": [[2.0] * 500]}, "spans": {"m": [[5.0, 13.3]]}, **changes}


def test_of_a_process_the_second_half_of_the_warm_up_and_the_queries_count():
    told = power_of(measured(), ["VDD_IN"], warm_up_s=2.0)["m"]
    assert (told["power_w"], told["idle_w"], told["rails"]) == (9.0, 4.0, ["VDD_IN"])
    assert told["energy_mj"] == pytest.approx(5000 * 0.002)  # 5 W above idle for 2 ms a query


def test_spans_of_queries_alone_count_whole():
    told = power_of(measured(spans={"m": [[10.0, 13.0]]}, rounds={"m": [[2.0] * 1500]}), ["VDD_IN"], None)["m"]
    assert (told["power_w"], told["samples"]) == (9.0, 7) and told["energy_mj"] == pytest.approx(10.0)


@pytest.mark.parametrize("missing", [{"tegrastats": None}, {"tegrastats": []}])
def test_without_tegrastats_nothing_is_told(missing):
    assert power_of(measured(**missing), ["VDD_IN"], 2.0) == {} and power_of(measured(), [], 2.0) == {}


def test_energy_is_per_query_of_the_time_it_took_with_the_gaps_between_queries():
    gaps = measured(rounds={"m": [[1.0] * 500]}, busy_s={"m": [1.0]})  # half of each 2 ms the GPU waits to be told
    assert power_of(gaps, ["VDD_IN"], warm_up_s=2.0)["m"]["energy_mj"] == pytest.approx(5000 * 0.002)


def test_of_a_tegrastats_that_ended_midway_no_mean_is_made_up():
    ended = [(at, line) for at, line in measured()["tegrastats"] if at < 13.2]
    spans = {"m": [[10.0, 16.0]]}
    told = power_of(measured(spans=spans, rounds={"m": [[2.0] * 1500]}, tegrastats=ended), ["VDD_IN"], None)["m"]
    assert (told["power_w"], told["energy_mj"], told["idle_w"]) == (None, None, 4.0)
