"""Reach: at which hosts the devices of a recipe are found today. No part of any result: a device is known by what it says."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgekd.core import InputError, IntegrityError
from edgekd.core.nearest import did_you_mean
from edgekd.targets.host import Host
from edgekd.targets.kit.reply import Reply
from edgekd.targets.profiles import profile
from edgekd.targets.target import TargetSpec


@dataclass(frozen=True)
class Reach:
    """hosts: by target name. ssh_config: a file for ssh's ``-F``; None: the user's own configuration. replies: of kits, by target
    name, in place of a host."""

    hosts: Mapping[str, Host] = field(default_factory=dict)
    ssh_config: Path | None = None
    replies: Mapping[str, Path] = field(default_factory=dict)


def reach_of(
    specs: Mapping[str, TargetSpec], given: Sequence[str] = (), ssh_config: Path | None = None,
    environment: Mapping[str, str] = os.environ, replies: Sequence[Path] = (),
) -> Reach:  # fmt: skip
    """The hosts of a recipe's targets: of ``given`` (NAME=[user@]HOST[:port]), else of EDGEKD_HOST_<NAME>, else of the recipe.
    replies: of kits; each knows its target, and stands for its host.

    Raises InputError: an unknown target, one that is this machine itself, or what is no host. IntegrityError: a reply that is
    not what a kit wrote, or is of none of these targets.
    """
    asked = dict(_named(one, specs) for one in given)
    told = _replies(replies, specs, asked)
    hosts = {}
    for name, spec in specs.items():
        variable = "EDGEKD_HOST_" + re.sub(r"[^A-Z0-9]", "_", name.upper())
        ways = {"--host": asked.get(name), variable: environment.get(variable), f"targets.{name}.host": spec.host}
        where, text = next(((where, text) for where, text in ways.items() if text), ("", ""))
        if not text:
            continue
        if profile(spec.device).is_local:
            fix = "leave the host out, or name a device such as linux"
            raise InputError(f"{name} is this machine, and needs no host", where=where, seen=text, fix=fix)
        hosts[name] = Host.parse(text, where=where)
    return Reach({name: host for name, host in hosts.items() if name not in told}, ssh_config, told)


def why_not_measured(specs: Mapping[str, TargetSpec], reach: Reach | None = None) -> dict[str, str]:
    """{target: reason} of those of a recipe's targets that cannot be measured: no way leads to their devices."""
    return {
        name: f"no host is given: --host {name}=[user@]HOST"
        for name, spec in specs.items()
        if not profile(spec.device).is_local and name not in ({*reach.hosts, *reach.replies} if reach else ())
    }


def _replies(paths: Sequence[Path], specs: Mapping[str, TargetSpec], hosts: Mapping[str, str]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in paths:
        with Reply.opened(path) as reply:
            name = reply.kit.target
        if name not in specs:
            fix = "the recipe's targets are " + ", ".join(specs)
            raise IntegrityError("this reply is of a target that the recipe does not have", where=str(path), seen=name, fix=fix)
        if name in found or name in hosts:
            fix = f"one --reply or one --host for {name}"
            raise InputError(f"{name} is reached in two ways", where="--reply", seen=str(path), fix=fix)
        found[name] = path
    return found


def _named(text: str, specs: Mapping[str, TargetSpec]) -> tuple[str, str]:
    name, sign, host = text.partition("=")
    if not sign or not host:
        raise InputError("--host names a target and where it is", where="--host", seen=text, fix="--host NAME=[user@]HOST[:port]")
    if name not in specs:
        fix = "the recipe's targets are " + ", ".join(specs)
        raise InputError(f"unknown target '{name}'{did_you_mean(name, specs)}", where="--host", seen=text, fix=fix)
    return name, host
