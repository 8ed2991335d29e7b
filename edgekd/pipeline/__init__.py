"""The chain walked: a torch-free table of stages, keys, the store, the runner and its verdict."""

from edgekd.pipeline.arms import Asked
from edgekd.pipeline.chain import CHAIN, STAGES, Stage, Step, steps
from edgekd.pipeline.control import Control, requiring
from edgekd.pipeline.document import run_document, without_hosts
from edgekd.pipeline.plan import Plan, PlannedRung, PlannedStep, make_plan
from edgekd.pipeline.ready import reach_of
from edgekd.pipeline.runner import Runner, store_of
from edgekd.pipeline.store import Store
from edgekd.pipeline.sweep import Sweep
from edgekd.pipeline.verdict import run_verdict, target_verdicts, to_go_on
from edgekd.pipeline.walk import Row, Walk

__all__ = [
    "CHAIN",
    "STAGES",
    "Asked",
    "Control",
    "Plan",
    "PlannedRung",
    "PlannedStep",
    "Row",
    "Runner",
    "Stage",
    "Step",
    "Store",
    "Sweep",
    "Walk",
    "make_plan",
    "reach_of",
    "requiring",
    "run_document",
    "run_verdict",
    "steps",
    "store_of",
    "target_verdicts",
    "to_go_on",
    "without_hosts",
]
