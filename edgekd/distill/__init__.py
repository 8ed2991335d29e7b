"""Distillation: methods, one file each, the one training loop, and the frozen teacher."""

from edgekd.distill.kd import KD, kd_loss
from edgekd.distill.label import Label
from edgekd.distill.loop import FitResult, fit
from edgekd.distill.method import Batch, Method, create, names
from edgekd.distill.sld import SLD, sld_loss, swap
from edgekd.distill.teacher import Consensus
from edgekd.distill.training import Batches, Training, put_back

__all__ = [
    "KD",
    "SLD",
    "Batch",
    "Batches",
    "Consensus",
    "FitResult",
    "Label",
    "Method",
    "Training",
    "create",
    "fit",
    "kd_loss",
    "names",
    "put_back",
    "sld_loss",
    "swap",
]
