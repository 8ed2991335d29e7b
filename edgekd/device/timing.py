"""The timing loop: rounds; in each, one block of single queries per model, the models' order turned round every time.

Blocks, because query-by-query interleaving measures cold caches. Every query after the discarded ones counts; there is no
best-of. Between rounds the conditions are sampled, outside the timed part.
"""

import time


def timed_rounds(queries, plan, sample):
    """Time single queries in interleaved blocks.

    queries: {name: callable without arguments}, one query each. sample: callable without arguments, called between rounds.
    plan: {"rounds", "queries_per_round", "discard", "block_s", "budget_s"}. The queries of a block are ``queries_per_round``,
    or as many as make the fastest model's block last ``block_s``, but fewer where all rounds would outlast ``budget_s``, and
    never fewer than ``queries_per_round``. Returns {"rounds": {name: [[ms, ...] a round]}, "queries_per_round": n,
    "waited_share": {name: [share of each block's time in which the process did not run]}, "samples": [...], "seconds": s}.
    """
    names, begun = list(queries), time.time()
    per_query = {name: _settle(queries[name], plan["discard"]) for name in names}
    count = block_length(plan, per_query)
    rounds = {name: [] for name in names}
    waited = {name: [] for name in names}
    samples = []
    for number in range(plan["rounds"]):
        for name in names if number % 2 == 0 else names[::-1]:
            for _ in range(plan["discard"]):
                queries[name]()
            times, share = _block(queries[name], count)
            rounds[name].append(times)
            waited[name].append(share)
        samples.append(sample())
    return {"rounds": rounds, "queries_per_round": count, "waited_share": waited, "samples": samples,
            "seconds": time.time() - begun}  # fmt: skip


def block_length(plan, seconds_per_query):
    """Queries in a block, from the plan and one estimate of seconds a query for each model."""
    fastest, all_models = min(seconds_per_query.values()), sum(seconds_per_query.values())
    wanted = max(plan["queries_per_round"], int(plan["block_s"] / max(fastest, 1e-7)))
    affordable = int(plan["budget_s"] / (plan["rounds"] * max(all_models, 1e-7))) - plan["discard"]
    return max(plan["queries_per_round"], min(wanted, affordable))


def _settle(query, discard):
    """Run the discarded queries, then estimate seconds a query (median of a few)."""
    for _ in range(discard):
        query()
    times, _ = _block(query, 11)
    return sorted(times)[5] / 1e3


def _block(query, count):
    """``count`` queries: milliseconds each (to the nanosecond), and the share of the block this thread waited for a CPU."""
    clock, times = time.perf_counter, [0.0] * count
    cpu_clock = time.CLOCK_THREAD_CPUTIME_ID
    began, cpu_began = clock(), time.clock_gettime(cpu_clock)
    for index in range(count):
        start = clock()
        query()
        times[index] = clock() - start
    wall, cpu = clock() - began, time.clock_gettime(cpu_clock) - cpu_began
    return [round(seconds * 1e3, 6) for seconds in times], round(max(0.0, 1.0 - cpu / wall), 4)
