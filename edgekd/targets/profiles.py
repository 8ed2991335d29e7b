"""The device profiles there are: those shipped (profiles.json, with its sources), and a user's own, one JSON file each."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from edgekd.core import InputError
from edgekd.targets.device_profile import Profile, profile_of

__all__ = ["Profile", "own_folder", "profile", "profiles", "shipped", "shipped_document"]

FOLDER = "EDGEKD_DEVICES"  # the environment's word for another folder of own profiles


@cache
def shipped_document() -> Mapping[str, Any]:
    """profiles.json: "devices", "families", "jetpacks" and their sources."""
    text = resources.files("edgekd.targets").joinpath("profiles.json").read_text(encoding="utf-8")
    document: dict[str, Any] = json.loads(text)
    return document


@cache
def shipped() -> tuple[Profile, ...]:
    """In the order of the file. A family's keys hold for each of its devices."""
    document = shipped_document()
    entries = [{**document["families"][device["family"]], **device} for device in document["devices"]]
    return tuple(profile_of({k: v for k, v in one.items() if k != "family"}, "profiles.json", _rules()) for one in entries)


def profiles() -> tuple[Profile, ...]:
    """All profiles, the user's own last. Raises InputError: one of those is not a profile, or has a name that is taken."""
    found = list(shipped())
    for path in _own_files():
        one = _own(path)
        taken = {name: known.name for known in found for name in (known.name, *known.aliases)}
        for name in (one.name, *one.aliases):
            if name.lower() in taken:
                fix = "give it another name; a shipped profile cannot be replaced"
                raise InputError(f"the name is {taken[name.lower()]}'s already", where=str(path), seen=name, fix=fix)
        found.append(one)
    return tuple(found)


def _own_files() -> list[Path]:
    """A folder that only has to be there if somebody named it: without a home, or in one of others, there are no own profiles."""
    folder = own_folder()
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == ".json")
    except OSError as error:
        if not os.environ.get(FOLDER):
            return []
        fix = "name a folder of profiles, or leave the variable out"
        raise InputError(f"the folder of own profiles: {error.strerror}", where=FOLDER, seen=str(folder), fix=fix) from error


def own_folder() -> Path:
    """Where a user's own profiles lie: in EDGEKD_DEVICES, else below the user's folder for settings."""
    if os.environ.get(FOLDER):
        return Path(os.environ[FOLDER])
    import platformdirs

    return platformdirs.user_config_path("edgekd", appauthor=False) / "devices"


def profile(name: str) -> Profile:
    """The profile of this name or alias, in any case. Raises InputError with the nearest names."""
    wanted, known = name.strip().lower(), profiles()
    by_name = {word.lower(): one for one in known for word in (one.name, *one.aliases)}
    if wanted in by_name:
        return by_name[wanted]
    near = list(dict.fromkeys(by_name[match].name for match in difflib.get_close_matches(wanted, by_name, n=3, cutoff=0.5)))
    fix = f"did you mean {' or '.join(near)}?" if near else "known: " + ", ".join(one.name for one in known)
    raise InputError("unknown device", where="device", seen=name, fix=fix)


def _own(path: Path) -> Profile:
    try:
        entry = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("a device profile cannot be read", where=str(path), seen=error.strerror) from error
    except (ValueError, RecursionError) as error:
        raise InputError("a device profile is not JSON", where=str(path), seen=str(error)) from error
    return profile_of(entry, str(path), _rules())


@cache
def _rules() -> frozenset[str]:
    return frozenset(rule for family in shipped_document()["families"].values() for rule in family["suspect"])
