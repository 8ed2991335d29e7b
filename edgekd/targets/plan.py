"""The measuring plan: how many rounds of how many single queries the gates at hand need."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from edgekd.core import Gate
from edgekd.core.statistics import LEAST_ROUNDS, least_queries

LEAST_QUERIES = 100
BLOCK = 20  # a neighbour on the same core comes and goes within tenths of a second: two models' blocks must lie closer than that
DISCARD = 8  # queries before every block, not timed: the caches of the other model must be gone
ROUND_S = 0.5  # the least time of a round, so that the blocks of fast models are many
BUDGET_S = 30.0
_RATIOS = ("speedup", "speedup_fp16", "throughput")


@dataclass(frozen=True)
class MeasuringPlan:
    """queries: the least of a model in a round, in blocks of ``block`` that the models take in turns. A round lasts ``round_s``
    seconds, or longer for these queries; all rounds together ``budget_s`` if they can. discard: untimed ones before each block.
    """

    rounds: int = LEAST_ROUNDS
    queries: int = LEAST_QUERIES
    block: int = BLOCK
    discard: int = DISCARD
    round_s: float = ROUND_S
    budget_s: float = BUDGET_S

    def as_json(self) -> dict[str, float]:
        return asdict(self)


LEAST = MeasuringPlan(rounds=1, queries=10, discard=1, round_s=0.0, budget_s=0.0)  # that something can be timed at all


def plan_for(gates: Iterable[Gate], *, budget_s: float = BUDGET_S) -> MeasuringPlan:
    """A plan that lets these gates be decided: enough queries for each gated percentile, enough rounds for each confidence.

    Gates on other things than latency and speed are passed over. Rounds: min-max of r rounds bounds their median on one side
    with confidence 1 - 0.5**r. Queries: the rank rule (p90 64, p99 662), and never fewer than 100 a round.
    """
    latency = [gate for gate in gates if gate.metric.startswith("latency_ms") or gate.metric in _RATIOS]
    rounds = max([LEAST_ROUNDS, *(math.ceil(math.log2(1 / (1 - gate.confidence)) - 1e-9) for gate in latency if gate.confidence)])
    percentiles = [int(gate.metric.rpartition(".p")[2]) / 100 for gate in latency if ".p" in gate.metric]
    queries = max([0, *(least_queries(q) for q in percentiles)])
    return MeasuringPlan(rounds, max(LEAST_QUERIES, math.ceil(queries / rounds)), budget_s=budget_s)
