"""Targets: what a device is, how to reach it, what runs on it, and whether the numbers it gives can be trusted. Never torch."""

from edgekd.device import flavour_for
from edgekd.targets.calm import measure_calmly
from edgekd.targets.candidates import candidates
from edgekd.targets.client import Built, Connection
from edgekd.targets.connect import connect, this_machine
from edgekd.targets.fits import device_of, require_fits
from edgekd.targets.flavours import INT8_FLAVOURS, flavours_of, int8_flavours_of, oldest_tensorrt
from edgekd.targets.host import Host
from edgekd.targets.layers import float_layers, int8_layers
from edgekd.targets.onnx_file import OnnxFile, read_onnx, with_one_image
from edgekd.targets.plan import LEAST, MeasuringPlan, plan_for
from edgekd.targets.profiles import Profile, own_folder, profile, profiles
from edgekd.targets.reach import Reach, reach_of, why_not_measured
from edgekd.targets.suspect import UNEVEN, labels, suspicions
from edgekd.targets.target import Target, precision_of, resolve, why_float
from edgekd.targets.tensorrt.engines import commands_text, engines, files_of
from edgekd.targets.transport.trouble import hosts_in

__all__ = [
    "INT8_FLAVOURS",
    "LEAST",
    "UNEVEN",
    "Built",
    "Connection",
    "Host",
    "MeasuringPlan",
    "OnnxFile",
    "Profile",
    "Reach",
    "Target",
    "candidates",
    "commands_text",
    "connect",
    "device_of",
    "engines",
    "files_of",
    "flavour_for",
    "flavours_of",
    "float_layers",
    "hosts_in",
    "int8_flavours_of",
    "int8_layers",
    "labels",
    "measure_calmly",
    "oldest_tensorrt",
    "own_folder",
    "plan_for",
    "precision_of",
    "profile",
    "profiles",
    "reach_of",
    "read_onnx",
    "require_fits",
    "resolve",
    "suspicions",
    "this_machine",
    "why_float",
    "why_not_measured",
    "with_one_image",
]
