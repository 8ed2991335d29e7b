"""What the images at hand can settle: a gate with confidence needs enough of them, whatever the student turns out to be."""

from __future__ import annotations

from statistics import NormalDist

from edgekd.core import Gate
from edgekd.core.gate import MOST_N
from edgekd.core.statistics import bonett_price_interval, wilson_interval
from edgekd.recipe.metrics import STAGES


def images_needed(gate: Gate) -> int | None:
    """The least number of images on which ``gate`` could pass at its confidence in the best case.

    Best case of a share: every image right (or, under a max, none). Best case of a drop: not one image changes; a student
    that *gains* images can pass on fewer. None: the gate asks for no confidence, is not about images, or no number settles it.
    """
    metric = STAGES[gate.stage].metrics[gate.metric]
    if gate.confidence is None or metric.interval not in ("share", "paired"):
        return None

    def passes(n: int) -> bool:
        low, high = _best_case(gate, metric.interval == "paired", n)
        return gate.holds(low) and gate.holds(high)

    enough = 1
    while not passes(enough):
        enough *= 2
        if enough > MOST_N:
            return None
    too_few = enough // 2
    while enough - too_few > 1:
        middle = (too_few + enough) // 2
        too_few, enough = (too_few, middle) if passes(middle) else (middle, enough)
    return enough


def unsettled_by(gate: Gate, n: int) -> str | None:
    """One line saying that ``n`` images cannot show ``gate``, and how many could; None where they may."""
    needed = images_needed(gate)
    if needed is None or gate.confidence is None or n >= needed:
        return None
    sign = "≥" if gate.bound == "min" else "≤"
    paired = STAGES[gate.stage].metrics[gate.metric].interval == "paired"
    if paired:
        best = "even if not one of them changed"
    else:
        best = "even if all of them were right" if gate.bound == "min" else "even if none of them were"
    where = f"{gate.stage} {gate.target}" if gate.target else gate.stage
    claim = f"{gate.metric} {sign} {gate.limit:g} at {gate.confidence:.4g}"
    return f"{where}: {n:,} images cannot show {claim}, {best}; {needed:,} could"


def _best_case(gate: Gate, paired: bool, n: int) -> tuple[float, float]:
    z = NormalDist().inv_cdf(gate.confidence or 0.5)
    if paired:
        return bonett_price_interval(0, 0, n, z)
    return wilson_interval(n if gate.bound == "min" else 0, n, z)
