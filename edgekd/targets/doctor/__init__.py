"""Doctor: what works here and on a device, what is missing, and the command that mends it. Nothing is changed anywhere."""

from edgekd.targets.doctor.check import Check, worst_code
from edgekd.targets.doctor.here import checks_here
from edgekd.targets.doctor.there import checks_there

__all__ = ["Check", "checks_here", "checks_there", "worst_code"]
