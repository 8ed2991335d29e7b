"""Suspect conditions: reasons why a latency should not be believed. The thresholds come from the device's profile.

Each rule asks whether something else than the model moved the clock: the processors' frequency, heat, throttling, other work on
the machine, the hypervisor, or the measurement itself drifting. A reason makes a measurement INCONCLUSIVE.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median, pstdev
from typing import Any

from edgekd.core.statistics import percentile_by_rank
from edgekd.targets import suspect_gpu
from edgekd.targets.profiles import Profile

Rules = Mapping[str, float]

UNEVEN = "uneven times: "  # begins a reason that says nothing against a tail: p90 and p99 are measured to show one
NOT_LOCKED = "clocks not locked"


def suspicions(measured: Mapping[str, Any], profile: Profile) -> tuple[str, ...]:
    """Why the latencies of one ``Connection.measure`` are suspect; () when nothing is.

    measured: its reply, with "rounds" {model: [[ms, ...], ...]} and "conditions" {"before", "between", "after", "threads",
    "cpus", "waited_share"}; where the device has tegrastats or nvidia-smi also "tegrastats" or "nvidia_smi" [[monotonic s, line],
    ...] and "spans" {model: [[start, end], ...]}. profile: its ``suspect`` holds the thresholds; a rule it does not name is not
    applied, and what a device cannot tell (a clock in a virtual machine) is not held against it.
    """
    conditions, rules = measured["conditions"], profile.suspect
    samples = [conditions["before"], *conditions["between"], conditions["after"]]
    return (
        *_frequency(conditions["between"], rules),
        *_throttled(samples, rules),
        *_waited(conditions, rules),
        *_foreign_load(samples, conditions, rules),
        *_stolen(samples, conditions, rules),
        *suspect_gpu.suspicions(measured, samples, rules),
        *_swap(samples, rules),
        *_foreign_process(samples, rules),
        *_drift(measured["rounds"], rules),
        *_quarters(measured["rounds"], rules),
        *_uneven(measured["rounds"], rules),
        *_launched(measured.get("launched")),
    )


def labels(identity: Mapping[str, Any], measured: Mapping[str, Any]) -> tuple[str, ...]:
    """What a reader must know beside the numbers, and what is no reason against them: clocks that were free to move.

    identity: of the probe before. measured: ``Connection.measure``'s reply; "clocks" where it could lock them.
    """
    locked = identity.get("clocks") == "locked" or (measured.get("clocks") or {}).get("locked_by_us")
    return (NOT_LOCKED,) if identity.get("clocks") is not None and not locked else ()


def _frequency(between: Sequence[Mapping[str, Any]], rules: Rules) -> Iterator[str]:
    """The highest CPU clock, sampled right after each round."""
    clocks = [sample["mhz"] for sample in between if sample["mhz"]]
    if "clock_moved" in rules and clocks and 1 - min(clocks) / max(clocks) > rules["clock_moved"]:
        yield f"the CPU clock moved between {min(clocks):.0f} and {max(clocks):.0f} MHz"


def _throttled(samples: Sequence[Mapping[str, Any]], rules: Rules) -> Iterator[str]:
    count = elapsed(samples, "throttle_count")
    if "throttle_events" in rules and count is not None and count > rules["throttle_events"]:
        yield f"the CPU was throttled {count:.0f} times"


def _waited(conditions: Mapping[str, Any], rules: Rules) -> Iterator[str]:
    """Share of the timed blocks in which the only thread did not run; with more threads it may wait for its own."""
    if "waited_share" not in rules:
        return
    shares = [share for blocks in conditions["waited_share"].values() for share in blocks]
    if conditions["threads"] == 1 and shares and median(shares) > rules["waited_share"]:
        yield f"the process waited for a CPU {100 * median(shares):.0f} % of the time: other work runs on this machine"


def _foreign_load(samples: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any], rules: Rules) -> Iterator[str]:
    """CPUs' worth of other processes, beyond the CPUs this measurement leaves free."""
    seconds, busy = elapsed(samples, "clock_s"), elapsed(samples, "cpu_busy_s")
    if "foreign_cpus" not in rules or not seconds or busy is None:
        return
    foreign = max(0.0, busy - (elapsed(samples, "own_cpu_s") or 0.0)) / seconds
    free = max(0, conditions["cpus"] - conditions["threads"])
    if foreign > free + rules["foreign_cpus"]:
        yield f"other processes kept {foreign:.1f} CPUs busy, and {free} of {conditions['cpus']} were free for them"


def _foreign_process(samples: Sequence[Mapping[str, Any]], rules: Rules) -> Iterator[str]:
    """The busiest process that is not ours, in shares of one CPU: on a Jetson it shares memory and power with the GPU."""
    seconds, first, last = elapsed(samples, "clock_s"), samples[0].get("processes"), samples[-1].get("processes")
    if "foreign_process" not in rules or not seconds or first is None or not last:
        return
    spent = {name: (cpu_s - first.get(name, 0.0)) / seconds for name, cpu_s in last.items()}
    busiest = max(spent, key=lambda name: spent[name])
    if spent[busiest] > rules["foreign_process"]:
        yield f"process {busiest} kept {100 * spent[busiest]:.0f} % of a CPU busy"


def _swap(samples: Sequence[Mapping[str, Any]], rules: Rules) -> Iterator[str]:
    grown = elapsed(samples, "swap_used_mb")
    if "swap_mb" in rules and grown is not None and grown >= rules["swap_mb"]:
        yield f"the memory ran short: swap grew by {grown:.0f} MB"


def _stolen(samples: Sequence[Mapping[str, Any]], conditions: Mapping[str, Any], rules: Rules) -> Iterator[str]:
    seconds, stolen = elapsed(samples, "clock_s"), elapsed(samples, "cpu_steal_s")
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


def _quarters(rounds: Mapping[str, Sequence[Sequence[float]]], rules: Rules) -> Iterator[str]:
    """Each model's queries in the order they were timed: the mean of the last quarter against that of the first."""
    for name, blocks in rounds.items():
        times = [ms for block in blocks for ms in block]
        quarter = len(times) // 4
        if "drift_quarters" not in rules or not quarter:
            continue
        first, last = fmean(times[:quarter]), fmean(times[-quarter:])
        if abs(last - first) > rules["drift_quarters"] * first:
            yield f"{name}: the times drift, from {first:.3g} ms in the first quarter to {last:.3g} ms in the last"


def _uneven(rounds: Mapping[str, Sequence[Sequence[float]]], rules: Rules) -> Iterator[str]:
    for name, blocks in rounds.items():
        times = [ms for block in blocks for ms in block]
        if not {"uneven", "tail"} & set(rules) or not times or not fmean(times):
            continue
        varied, tail = pstdev(times) / fmean(times), percentile_by_rank(times, 0.99) / percentile_by_rank(times, 0.5)
        if "uneven" in rules and varied > rules["uneven"]:
            yield f"{UNEVEN}{name} varies by {100 * varied:.1f} % (standard deviation by mean)"
        if "tail" in rules and tail > rules["tail"]:
            yield f"{UNEVEN}{name} has a p99 of {tail:.2f} times its p50"


def _launched(how: object) -> Iterator[str]:
    """By model, "graph" or "enqueue": a CUDA graph alone can halve a small network's time."""
    if isinstance(how, Mapping) and len(set(how.values())) > 1:
        yield "not launched alike, so not to be compared: " + ", ".join(f"{name} by {way}" for name, way in how.items())


def elapsed(samples: Sequence[Mapping[str, Any]], counter: str) -> float | None:
    """What a counter or level gained from the first sample to the last; None where one of them does not tell."""
    first, last = samples[0].get(counter), samples[-1].get(counter)
    return None if first is None or last is None else float(last - first)
