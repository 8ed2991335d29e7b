"""Nouns and numbers everything else is written in. Standard library only."""

from edgekd.core.artifact import Artifact
from edgekd.core.canonical import canonical_json, digest
from edgekd.core.errors import (
    DeviceError,
    DeviceMemoryError,
    EdgekdError,
    EnvironmentProblem,
    InputError,
    IntegrityError,
    Interrupted,
    LockedError,
    RecipeError,
)
from edgekd.core.gate import Gate, Judgement, Verdict, judge, worst
from edgekd.core.measurement import Measurement
from edgekd.core.outcome import Outcome
from edgekd.core.statistics import over_rounds, paired_drop, percentile_over_rounds, share

__all__ = [
    "Artifact",
    "DeviceError",
    "DeviceMemoryError",
    "EdgekdError",
    "EnvironmentProblem",
    "Gate",
    "InputError",
    "IntegrityError",
    "Interrupted",
    "Judgement",
    "LockedError",
    "Measurement",
    "Outcome",
    "RecipeError",
    "Verdict",
    "canonical_json",
    "digest",
    "judge",
    "over_rounds",
    "paired_drop",
    "percentile_over_rounds",
    "share",
    "worst",
]
