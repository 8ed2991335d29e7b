"""Who a device is, from its own words: module, chip, releases. What it does not say is None; nothing is derived by hope."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from edgekd.device import tensorrt_found
from edgekd.targets.jetson.clocks import clocks_locked
from edgekd.targets.jetson.power_mode import power_mode
from edgekd.targets.profiles import shipped, shipped_document

_L4T = re.compile(r"#\s*R(\d+)\s*\(release\),\s*REVISION:\s*(\d+(?:\.\d+)+)")
_PART = re.compile(r"\bp\d{4}-\d{4}(?:-super)?\b")
_SOC = re.compile(r"\btegra\d{3}\b")
_DESKTOP_GPU = re.compile(r"^[ \t]*([^,\n]+?)[ \t]*,[ \t]*(\d+\.\d)[ \t]*,", re.MULTILINE)
_NUMBER = re.compile(r"\d+\.\d+")


@dataclass(frozen=True)
class Described:
    """module: its part number, else the model's or the GPU's name. cuda: major.minor. tensorrt: as trtexec will run it."""

    module: str | None
    soc: str | None
    compute_capability: str | None
    l4t: str | None
    jetpack: str | None
    cuda: str | None
    tensorrt: str | None
    power_mode: str | None
    clocks_locked: bool | None

    def as_identity(self) -> dict[str, str | None]:
        """What of it tells one device, or one state of it, from another, as part of a probe's identity."""
        clocks = {None: None, True: "locked", False: "not locked"}[self.clocks_locked]
        told = {key: value for key, value in vars(self).items() if key != "clocks_locked"}
        return {**told, "clocks": clocks}


def describe(said: Mapping[str, Any]) -> Described:
    """said: the raw texts of a probe, see edgekd/device/said.py. Never raises."""
    packages, tensorrt = tensorrt_found.packages(said), tensorrt_found.version(said)
    l4t = _l4t(said.get("nv_tegra_release") or "", packages)
    jetpack = next((one for one in shipped_document()["jetpacks"] if l4t in one["l4t"]), None)
    trees = "\n".join((said.get(f"device_tree_{name}") or "").replace("\0", "\n") for name in ("compatible", "source"))
    soc = _first(_SOC, trees)
    gpu = None if soc else _DESKTOP_GPU.search(said.get("nvidia_smi") or "")
    return Described(
        module=_module(trees, said.get("device_tree_model") or "") or (gpu[1] if gpu else None),
        soc=soc,
        compute_capability=_capabilities().get(soc or "") or (gpu[2] if gpu else None),
        l4t=l4t,
        jetpack=str(jetpack["jetpack"]) if jetpack else None,
        cuda=_cuda(said.get("cuda") or "", packages) or (jetpack["cuda"] if jetpack else None),
        tensorrt=".".join(map(str, tensorrt)) if tensorrt else None,
        power_mode=power_mode(said.get("nvpmodel"), said.get("jetson_clocks")),
        clocks_locked=clocks_locked(said.get("jetson_clocks"), said.get("devfreq")),
    )


def _l4t(release: str, packages: Mapping[str, str]) -> str | None:
    found = _L4T.search(release)
    if found:
        return f"{found[1]}.{found[2]}"
    packaged = re.match(r"\d+\.\d+\.\d+", packages.get("nvidia-l4t-core", ""))
    return str(packaged[0]) if packaged else None


def _module(trees: str, model: str) -> str | None:
    """A board's part number is that of its carrier; a module's is one whose first four digits a profile knows."""
    parts: list[str] = [part for part in _PART.findall(trees) if part[:5] in _modules()]
    if parts:
        return max(parts, key=len)  # p3767-0005-super says more than p3767-0005
    return model.strip(" \n\0") or None


@cache
def _modules() -> frozenset[str]:
    return frozenset(name[:5] for one in shipped() for name in one.aliases if _PART.fullmatch(name))


@cache
def _capabilities() -> dict[str, str]:
    return {one.soc: one.compute_capability for one in shipped() if one.soc and one.compute_capability}


def _cuda(text: str, packages: Mapping[str, str]) -> str | None:
    """From version.json, from version.txt of CUDA 10, or of the runtime's package."""
    try:
        told = str(json.loads(text)["cuda"]["version"])
    except (ValueError, KeyError, TypeError):
        told = text
    runtime = next((version for name, version in packages.items() if name.startswith("cuda-cudart-")), "")
    return _first(_NUMBER, told) or _first(_NUMBER, runtime)


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    found = pattern.search(text)
    return str(found[0]) if found else None
