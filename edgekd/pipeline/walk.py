"""What is left of a walk along the chain, for the verdict, the document and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgekd.core import EdgekdError, Judgement, Outcome
from edgekd.data import Description
from edgekd.pipeline.chain import Step
from edgekd.pipeline.control import Control
from edgekd.pipeline.fit import Fit


@dataclass(frozen=True)
class Row:
    """What became of one step. status: done, cached, failed or skipped; why: for the last two.

    source: digest of the code behind it. seconds: how long it took, of a cached one when it was made, of a failed one until it
    failed; None if it never began.
    """

    step: Step
    status: str
    outcome: Outcome = field(default_factory=Outcome)
    judgements: tuple[Judgement, ...] = ()
    key: str | None = None
    seconds: float | None = None
    age_s: float | None = None
    why: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Walk:
    """A walked chain: a row for every step of it, also those not reached, and the error that ended it early, if one did.

    not_measured: {target: why} of those that cannot be measured here. test_opened: by all runs that share the store. fit: of a
    recipe with a ladder, which rung was chosen and why.
    """

    rows: tuple[Row, ...]
    error: EdgekdError | None
    not_measured: Mapping[str, str]
    control: Control
    test_opened: int | None
    described: Description | None
    fit: Fit | None = None
