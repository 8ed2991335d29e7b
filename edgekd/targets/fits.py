"""Whether a device is the kind that a recipe says: numbers of another device are worse than none."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from edgekd.core import DeviceError
from edgekd.targets.profiles import Profile, profiles

_FORMER = {"10.1": "11.0"}  # Thor, before CUDA 13


def require_fits(profile: Profile, identity: Mapping[str, Any]) -> None:
    """Raise DeviceError, naming both and the right ``device:``, when chip, compute capability or module are another's.

    identity: of a probe. What the device does not tell is not held against it; any machine fits a profile without a GPU.
    """
    if "tensorrt" not in profile.runtimes:
        return
    found = device_of(identity)
    if profile.soc is None:
        differs = identity.get("soc") is not None
    else:
        foreign = identity.get("soc") is None and (found is not None or identity.get("arch") == "x86_64")
        differs = foreign or any(_differs(profile, identity, key) for key in ("soc", "compute_capability"))
    if differs or (found is not None and _parts(profile) and _parts(found) != _parts(profile)):
        told = [str(identity.get(key)) for key in ("module", "soc", "arch") if identity.get(key)]
        fix = f"device: {found.name}" if found else "edgekd devices lists the profiles; one of your own can be added"
        what = f"the device is not a {profile.name}" + (f" but a {found.name}" if found else "")
        raise DeviceError(what, seen=", ".join(told), fix=fix)


def device_of(identity: Mapping[str, Any]) -> Profile | None:
    """The profile that knows this device by its module's part number or its model's name; a desktop's NVIDIA GPU by being one."""
    module = str(identity.get("module") or "").lower()
    words = {module, module.removeprefix("nvidia ")}
    for one in profiles():
        if words & {name.lower() for name in one.aliases}:
            return one
    is_desktop = identity.get("soc") is None and identity.get("compute_capability") is not None
    return next((one for one in profiles() if is_desktop and "tensorrt" in one.runtimes and one.soc is None), None)


def _differs(profile: Profile, identity: Mapping[str, Any], key: str) -> bool:
    told, ours = identity.get(key), getattr(profile, key)
    return told is not None and ours is not None and _FORMER.get(told, told) != ours


def _parts(profile: Profile) -> frozenset[str]:
    """A module's part numbers, without "-super": that is the same board, flashed to run faster."""
    return frozenset(name.removesuffix("-super") for name in profile.aliases if re.match(r"p\d{4}-\d{4}", name))
