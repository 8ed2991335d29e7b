"""Distillation: methods, one file each, the one training loop, and the frozen teacher."""

from edgekd.distill.channel import Channel, channel_loss
from edgekd.distill.cka import cka
from edgekd.distill.dist import DIST, dist_loss
from edgekd.distill.dkd import DKD, dkd_loss
from edgekd.distill.ffkd import FFKD, FFKDAdapt, FFKDPublic
from edgekd.distill.kd import KD, kd_loss
from edgekd.distill.label import Label
from edgekd.distill.loop import FitResult, fit
from edgekd.distill.lskd import LSKD, lskd_loss
from edgekd.distill.method import Batch, Course, Method, Tap, create, names
from edgekd.distill.sld import SLD, sld_loss, swap
from edgekd.distill.standardized import standardized
from edgekd.distill.teacher import Consensus
from edgekd.distill.training import Batches, Training, put_back

__all__ = [
    "DIST",
    "DKD",
    "FFKD",
    "KD",
    "LSKD",
    "SLD",
    "Batch",
    "Batches",
    "Channel",
    "Consensus",
    "Course",
    "FFKDAdapt",
    "FFKDPublic",
    "FitResult",
    "Label",
    "Method",
    "Tap",
    "Training",
    "channel_loss",
    "cka",
    "create",
    "dist_loss",
    "dkd_loss",
    "fit",
    "kd_loss",
    "lskd_loss",
    "names",
    "put_back",
    "sld_loss",
    "standardized",
    "swap",
]
