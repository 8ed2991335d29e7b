"""The timing loop: rounds; in each, one block of single queries per model, the models' order turned round every time.

Blocks, because query-by-query interleaving measures cold caches; short ones, so that what disturbs one disturbs the next. Every
query after the discarded ones counts; there is no best-of. Between rounds the conditions are sampled, outside the timed part.
"""

import math
import time


def timed_rounds(queries, plan, sample):
    """Time single queries in interleaved blocks.

    queries: {name: callable without arguments}, one query each; one that returns a number has timed itself, in milliseconds, and
    is believed. sample: callable without arguments, called between rounds.
    plan: {"rounds", "queries", "block", "discard", "round_s", "budget_s"}. A block has ``block`` queries. A round has as many
    turns of a block of each model as make up ``queries``, or more of them where it would be over before ``round_s``. All rounds
    stay within ``budget_s`` if so many queries allow it.
    Returns {"rounds": {name: [[ms, ...] a round]}, "turns": [n a round], "waited_share": {name: [share of each round's
    timed part in which the process did not run]}, "spans": {name: [[start, end] of each timed block, in monotonic seconds]},
    "samples": [...], "seconds": s}.
    """
    names, begun = list(queries), time.monotonic()
    per_query = {name: _settle(queries[name], plan["discard"]) for name in names}
    turns = turns_in_a_round(plan, per_query)
    rounds = {name: [] for name in names}
    waited = {name: [] for name in names}
    spans = {name: [] for name in names}
    samples = []
    for number in range(plan["rounds"]):
        times = {name: [] for name in names}
        shares = {name: [] for name in names}
        for turn in range(turns):
            for name in names if (number + turn) % 2 == 0 else names[::-1]:
                for _ in range(plan["discard"]):
                    queries[name]()
                start = time.monotonic()
                block, share = _block(queries[name], plan["block"])
                spans[name].append([start, time.monotonic()])
                times[name] += block
                shares[name].append(share)
        for name in names:
            rounds[name].append(times[name])
            waited[name].append(round(sum(shares[name]) / turns, 4))
        samples.append(sample())
    seconds = time.monotonic() - begun
    return {"rounds": rounds, "turns": [turns] * plan["rounds"], "waited_share": waited, "spans": spans, "samples": samples,
            "seconds": seconds}  # fmt: skip


def turns_in_a_round(plan, seconds_per_query):
    """How often each model has its block in a round, from the plan and one estimate of seconds a query for each model."""
    turn_s = max(1e-6, sum(seconds_per_query.values()) * (plan["block"] + plan["discard"]))
    wanted, affordable = math.ceil(plan["round_s"] / turn_s), int(plan["budget_s"] / plan["rounds"] / turn_s)
    return max(math.ceil(plan["queries"] / plan["block"]), min(wanted, affordable))


def _settle(query, discard):
    """Run the discarded queries, then estimate seconds a query (median of a few)."""
    for _ in range(discard):
        query()
    times, _ = _block(query, 11)
    return sorted(times)[5] / 1e3


def _block(query, count):
    """``count`` queries: milliseconds each (to the nanosecond), and the share of the block this thread did not run."""
    clock, times = time.perf_counter, [0.0] * count
    began, cpu_began = clock(), time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID)
    for index in range(count):
        start = clock()
        told = query()
        end = clock()
        times[index] = end - start if told is None else told / 1e3
    wall, cpu = clock() - began, time.clock_gettime(time.CLOCK_THREAD_CPUTIME_ID) - cpu_began
    return [round(seconds * 1e3, 6) for seconds in times], max(0.0, 1.0 - cpu / wall)
