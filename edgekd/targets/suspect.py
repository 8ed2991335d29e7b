"""Suspect conditions: reasons why a latency should not be believed. The thresholds come from the device's profile.

Each rule asks whether something else than the model moved the clock: the CPU's frequency, its throttling, other work on the
machine, the hypervisor, or the measurement itself drifting from round to round. A reason makes a measurement INCONCLUSIVE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from edgekd.targets.profiles import Profile

Rules = Mapping[str, float]


def suspicions(measured: Mapping[str, Any], profile: Profile) -> tuple[str, ...]:
    """Why the latencies of one ``Connection.measure`` are suspect; () when nothing is.

    measured: its reply, with "rounds" {model: [[ms, ...], ...]} and "conditions" {"before", "between", "after", "threads",
    "cpus", "waited_share"}. profile: its ``suspect`` holds the thresholds; a rule it does not name is not applied, and what a
    device cannot tell (a clock in a virtual machine) is not held against it.
    """
    conditions, rules = measured["conditions"], profile.suspect
    samples = [conditions["before"], *conditions["between"], conditions["after"]]
    return (
        *_frequency(conditions["between"], rules),
        *_throttled(samples, rules),
        *_waited(conditions, rules),
        *_foreign_load(samples, conditions, rules),
        *_stolen(samples, conditions, rules),
        *_drift(measured["rounds"], rules),
    )


def _frequency(between: Sequence[Mapping[str, Any]], rules: Rules) -> Iterator[str]:
    """The highest CPU clock, sampled right after each round."""
    clocks = [sample["mhz"] for sample in between if sample["mhz"]]
    if "clock_moved" in rules and clocks and 1 - min(clocks) / max(clocks) > rules["clock_moved"]:
        yield f"the CPU clock moved between {min(clocks):.0f} and {max(clocks):.0f} MHz"


def _throttled(samples: Sequence[Mapping[str, Any]], rules: Rules) -> Iterator[str]:
    first, last = samples[0]["throttle_count"], samples[-1]["throttle_count"]
    if "throttle_events" in rules and first is not None and last is not None and last - first > rules["throttle_events"]:
        yield f"the CPU was throttled {last - first:.0f} times"


def _waited(conditions: Mapping[str, Any], rules: Rules) -> Iterator[str]:
    """Share of the timed blocks in which the only thread did not run; with more threads it may wait for its own."""
    shares = [share for blocks in conditions["waited_share"].values() for share in blocks]
    if "waited_share" in rules and conditions["threads"] == 1 and shares and median(shares) > rules["waited_share"]:
        yield f"the process waited for a CPU {100 * median(shares):.0f} % of the time: other work runs on this machine"


def _foreign_load(samples: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any], rules: Rules) -> Iterator[str]:
    """CPUs' worth of other processes, beyond the CPUs this measurement leaves free."""
    seconds, busy = _elapsed(samples, "clock_s"), _elapsed(samples, "cpu_busy_s")
    if "foreign_cpus" not in rules or not seconds or busy is None:
        return
    foreign = max(0.0, busy - (_elapsed(samples, "own_cpu_s") or 0.0)) / seconds
    free = max(0, conditions["cpus"] - conditions["threads"])
    if foreign > free + rules["foreign_cpus"]:
        yield f"other processes kept {foreign:.1f} CPUs busy, and {free} of {conditions['cpus']} were free for them"


def _stolen(samples: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any], rules: Rules) -> Iterator[str]:
    seconds, stolen = _elapsed(samples, "clock_s"), _elapsed(samples, "cpu_steal_s")
    if "stolen_share" not in rules or not seconds or stolen is None:
        return
    share = stolen / seconds / conditions["cpus"]
    if share > rules["stolen_share"]:
        yield f"the hypervisor took {100 * share:.0f} % of this machine's CPU time"


def _drift(rounds: Mapping[str, Sequence[Sequence[float]]], rules: Rules) -> Iterator[str]:
    """Each model's rounds, the slowest median against the fastest."""
    for name, blocks in rounds.items():
        medians = [median(block) for block in blocks if block]
        if "drift" in rules and medians and max(medians) > min(medians) * (1 + rules["drift"]):
            yield f"{name}: the rounds' medians drift from {min(medians):.3g} to {max(medians):.3g} ms"


def _elapsed(samples: Sequence[Mapping[str, Any]], counter: str) -> float | None:
    first, last = samples[0][counter], samples[-1][counter]
    return None if first is None or last is None else float(last - first)
