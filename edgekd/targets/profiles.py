"""Device profiles: what a device can do, as data (profiles.json, with its source)."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

from edgekd.core import InputError


@dataclass(frozen=True)
class Profile:
    """A kind of device. precisions: what its hardware computes in; int8_native: in integer units, not emulated.

    compute_capability, memory_gib: of a GPU module, None for a CPU. tensorrt: its version by JetPack release, oldest first.
    suspect: thresholds, see ``edgekd.targets.suspect``.
    """

    name: str
    runtimes: tuple[str, ...]
    precisions: tuple[str, ...]
    int8_native: bool
    aliases: tuple[str, ...] = ()
    soc: str | None = None
    arch: str | None = None
    compute_capability: str | None = None
    sm_count: int | None = None
    gpu_max_mhz: float | None = None
    memory_gib: float | None = None
    dla_cores: int = 0
    default_jetpack: str | None = None
    tensorrt: Mapping[str, str] = field(default_factory=dict)
    suspect: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_local(self) -> bool:
        return self.name == "local-cpu"


@cache
def profiles() -> tuple[Profile, ...]:
    """All profiles, in the order of the file."""
    document = json.loads(resources.files("edgekd.targets").joinpath("profiles.json").read_text(encoding="utf-8"))
    return tuple(Profile(**_frozen(device)) for device in document["devices"])


def _frozen(device: Mapping[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in device.items()}


def profile(name: str) -> Profile:
    """The profile of this name or alias, in any case. Raises InputError with the nearest names."""
    wanted = name.strip().lower()
    by_name = {known: one for one in profiles() for known in (one.name, *one.aliases)}
    if wanted in by_name:
        return by_name[wanted]
    near = list(dict.fromkeys(by_name[match].name for match in difflib.get_close_matches(wanted, by_name, n=3, cutoff=0.5)))
    fix = f"did you mean {' or '.join(near)}?" if near else "known: " + ", ".join(one.name for one in profiles())
    raise InputError("unknown device", where="device", seen=name, fix=fix)
