"""TensorRT: which file and which options build an engine by version, and what its tools print, read and judged by the host.

Pure functions, no processes. What lists a target's engines is ``engines``; what reaches a device is ``connection``: neither is
imported here, since what a target is depends on the versions below.
"""

from edgekd.targets.tensorrt.failures import failure_of, judged
from edgekd.targets.tensorrt.flags import (
    build_flags,
    flavour_to_build,
    infer_flags,
    layer_flags,
    raw_bindings,
    timing_flags,
    workspace_mib,
)
from edgekd.targets.tensorrt.layers import read_layers, read_profile, with_times
from edgekd.targets.tensorrt.log import Series, TrtexecLog, read_log
from edgekd.targets.tensorrt.outputs import RawName, raw_name, raw_words, read_exported, read_output, read_raw
from edgekd.targets.tensorrt.plan_header import HEADER_BYTES, PlanHeader, check_version, plan_header
from edgekd.targets.tensorrt.sidecar import Sidecar, differences
from edgekd.targets.tensorrt.times import read_times
from edgekd.targets.tensorrt.versions import Version, parse_version, taken_as, version_of

__all__ = [
    "HEADER_BYTES",
    "PlanHeader",
    "RawName",
    "Series",
    "Sidecar",
    "TrtexecLog",
    "Version",
    "build_flags",
    "check_version",
    "differences",
    "failure_of",
    "flavour_to_build",
    "infer_flags",
    "judged",
    "layer_flags",
    "parse_version",
    "plan_header",
    "raw_bindings",
    "raw_name",
    "raw_words",
    "read_exported",
    "read_layers",
    "read_log",
    "read_output",
    "read_profile",
    "read_raw",
    "read_times",
    "taken_as",
    "timing_flags",
    "version_of",
    "with_times",
    "workspace_mib",
]
