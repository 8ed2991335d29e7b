"""A device: can it be reached, can edgekd's agent work there, which runtime has it, who is it, and in what state."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekd.core import DeviceError, EdgekdError, InputError
from edgekd.targets.cpu import CpuConnection
from edgekd.targets.doctor.check import DEVICE, ENVIRONMENT, Check
from edgekd.targets.doctor.shell import Told, ask_shell
from edgekd.targets.doctor.tensorrt import engines_check, tensorrt_check
from edgekd.targets.fits import device_of
from edgekd.targets.host import Host
from edgekd.targets.jetson.identity import describe
from edgekd.targets.jetson.tegrastats import parse
from edgekd.targets.profiles import Profile, profile
from edgekd.targets.target import Target
from edgekd.targets.transport.openssh import OpenSsh
from edgekd.targets.transport.ssh import OLDEST_PYTHON, SshTransport

_LEAST_DISK_MB, _LEAST_MEMORY_MB = 1000, 500  # for an engine, its timing cache and its log; to build a small one
_NOBODY = Told(127, "not asked")


def checks_there(host: Host, ssh_config: Path | None, python: str) -> tuple[list[Check], str | None]:
    """The checks, and what a recipe calls this device (None: not known). Never raises for anything the device does."""
    ssh = OpenSsh(host, ssh_config)
    try:
        told = ask_shell(ssh, python)
    except EdgekdError as error:
        return list(_unreached(error)), None
    finally:
        ssh.close()
    reached = [_there("ssh", "ok", ssh.by_hand, code=DEVICE), _there("host key", "ok", "known to this machine", code=DEVICE)]
    python_there = _python(told.get("python", _NOBODY), python)
    agent, probed = _agent(host, ssh_config, python) if python_there.state == "ok" else (_unknown("agent", DEVICE), {})
    return _judged(told, probed, [*reached, python_there, agent], python)


def _judged(
    told: Mapping[str, Told], probed: Mapping[str, Any], before: list[Check], python: str
) -> tuple[list[Check], str | None]:
    trees = ("nv_tegra_release", "device_tree_model", "device_tree_compatible")
    by_shell = {name: told[name].text for name in trees if name in told and told[name].status == 0}
    said = {**by_shell, **probed.get("said", {})}
    identity = {"arch": told.get("arch", _NOBODY).last or None, **probed.get("identity", {}), **describe(said).as_identity()}
    try:
        known = device_of(identity)
    except (InputError, ImportError):  # a broken profile of the user's own, a package missing here: told of already
        known = None
    is_gpu, is_jetson = known is not None and "tensorrt" in known.runtimes, identity.get("soc") is not None
    needed = None if is_gpu or is_jetson else ENVIRONMENT
    checks = [*before, *(_module(name, told.get(name, _NOBODY), python, needed) for name in ("numpy", "onnxruntime"))]
    if is_gpu or is_jetson:
        checks += (
            [tensorrt_check("there", probed, ENVIRONMENT), engines_check("there", said)]
            if probed
            else [_unknown("tensorrt", ENVIRONMENT)]
        )
    name = known.name if known else None if is_jetson else "linux"
    checks.append(_device(identity, known, name))
    if is_jetson:
        checks += [_power_mode(identity, said), _clocks(identity), _tegrastats(told.get("tegrastats", _NOBODY)), _groups(told)]
    return [*checks, _memory(told), _disk(told)], name


def _unreached(error: EdgekdError) -> Iterator[Check]:
    seen = ": ".join(part for part in (error.what, error.seen) if part)
    code = DEVICE if isinstance(error, DeviceError) else ENVIRONMENT
    if "host key" in error.what:
        yield _there("ssh", "ok", "the device answers", code=code)
        yield _there("host key", "missing" if "not know" in error.what else "wrong", seen, error.fix or "", code)
    else:
        yield _there("ssh", "wrong", seen, error.fix or "", code)


def _python(told: Told, python: str) -> Check:
    found = re.fullmatch(r"(\d+)\.(\d+)\.(\d+)", told.last)
    install = "sudo apt install python3, or name another: --python PROGRAM (targets.NAME.python in a recipe)"
    if told.status != 0 or found is None:
        return _there("python", "missing", f"{python}: {told.last or f'status {told.status}'}", install, DEVICE)
    if (int(found[1]), int(found[2])) < OLDEST_PYTHON:
        return _there("python", "wrong", f"{python} is {told.last}, and 3.6 is the oldest that will do", install, DEVICE)
    return _there("python", "ok", f"{told.last} ({python})", code=DEVICE)


def _agent(host: Host, ssh_config: Path | None, python: str) -> tuple[Check, dict[str, Any]]:
    """edgekd's own program, sent and asked as a measurement would: the folder, the transfer, the reply."""
    target = Target("device", profile("linux"), "onnxruntime", "fp32", "always", 1, python)
    try:
        transport = SshTransport(target.name, host, python, ssh_config)
        try:
            probed = CpuConnection(target, transport).probe()
        finally:
            transport.close()
    except EdgekdError as error:
        seen = ": ".join(part for part in (error.what, error.seen) if part)
        return _there("agent", "wrong", seen, error.fix or "", DEVICE), {}
    return _there("agent", "ok", "sent, run, and answered", code=DEVICE), probed


def _module(name: str, told: Told, python: str, code: int | None) -> Check:
    if told.status == 0:
        return _there(name, "ok", told.last, code=code)
    absent = "No module named" in told.text
    apt = " (or: sudo apt install python3-numpy)" if name == "numpy" else ""
    needs = "" if code else ". Only targets with runtime onnxruntime need it"
    seen = (told.last or f"import ended with status {told.status}") + needs
    again = "" if absent else "--force-reinstall "
    return _there(name, "missing" if absent else "wrong", seen, f"{python} -m pip install {again}{name}{apt}", code)


def _device(identity: Mapping[str, Any], known: Profile | None, name: str | None) -> Check:
    jetpack = identity.get("jetpack") and f"JetPack {identity['jetpack']}"
    l4t = identity.get("l4t") and f"L4T {identity['l4t']}"
    chip = identity.get("module") or identity.get("cpu") or identity.get("arch")
    told = ", ".join(str(part) for part in (chip, identity.get("soc"), jetpack, l4t) if part)
    if name is None:
        fix = "edgekd devices lists the profiles; one of your own can be added"
        return _there("device", "wrong", f"no profile knows it: {told}", fix, DEVICE)
    runtime = known.runtimes[0] if known else "onnxruntime"
    return _there("device", "ok", f"{told}; in a recipe: device: {name}, runtime: {runtime}", code=DEVICE)


def _power_mode(identity: Mapping[str, Any], said: Mapping[str, Any]) -> Check:
    if identity.get("power_mode"):
        return _there("power mode", "ok", str(identity["power_mode"]))
    return _there("power mode", "unknown", _line(said.get("nvpmodel")) or "not told", "there: sudo nvpmodel -q")


def _clocks(identity: Mapping[str, Any]) -> Check:
    if identity.get("clocks") is None:
        return _there("clocks", "unknown", "not told", "there: sudo jetson_clocks --show")
    hint = "" if identity["clocks"] == "locked" else "; clocks: lock in a recipe, or --lock-clocks, locks them while timing"
    return _there("clocks", "ok", f"{identity['clocks']}{hint}")


def _tegrastats(told: Told) -> Check:
    if told.status in (126, 127) or not told.last:
        return _there("tegrastats", "missing", told.last or "not there, or it says nothing", "sudo apt install nvidia-l4t-tools")
    sample = parse(told.last)
    if sample.rails_mw:
        return _there("tegrastats", "ok", "rails: " + ", ".join(sample.rails_mw))
    if sample.ram_used_mb is None:
        return _there("tegrastats", "wrong", told.last[:120], "there: sudo tegrastats, and look at what it says")
    return _there("tegrastats", "wrong", "it names no power rail, so power is not measured", "there: sudo tegrastats shows more?")


def _groups(told: Mapping[str, Told]) -> Check:
    """Who may use the GPU. JetPack 4 has no group render."""
    mine = set(told.get("groups", _NOBODY).text.split())
    user = told.get("user", _NOBODY).last
    lacking = [one for one in told.get("gpu_groups", _NOBODY).text.split() if one in ("video", "render") and one not in mine]
    if lacking and user != "root":
        fix = f"there: sudo usermod -a -G {','.join(lacking)} {user}; then log in again"
        return _there("groups", "wrong", f"{user} is not in {' and '.join(lacking)}, whose members may use the GPU", fix, DEVICE)
    return _there("groups", "ok", f"{user} may use the GPU", code=DEVICE)


def _memory(told: Mapping[str, Told]) -> Check:
    found = re.search(r"^MemAvailable:\s*(\d+) kB", told.get("memory", _NOBODY).text, re.MULTILINE)
    if found is None:
        return _there("memory", "unknown", told.get("memory", _NOBODY).last)
    free_mb = int(found[1]) / 1000
    little = free_mb < _LEAST_MEMORY_MB
    fix = "close other programs there, such as the desktop: sudo systemctl isolate multi-user.target" if little else ""
    return _there("memory", "wrong" if little else "ok", f"{free_mb:,.0f} MB free", fix)


def _disk(told: Mapping[str, Told]) -> Check:
    found = re.search(r"\s(\d+)\s+\d+\s+(\d+)\s+\d+%\s", told.get("disk", _NOBODY).text)
    if found is None:
        return _there("disk", "unknown", told.get("disk", _NOBODY).last)
    free_mb = int(found[2]) / 1000
    little = free_mb < _LEAST_DISK_MB
    fix = "free some space there; ~/.cache/edgekd may be removed" if little else ""
    return _there("disk", "wrong" if little else "ok", f"{free_mb:,.0f} MB free in the home folder", fix, DEVICE)


def _there(name: str, state: str, seen: str, fix: str = "", code: int | None = None) -> Check:
    return Check("there", name, state, seen, fix, code)


def _unknown(name: str, code: int) -> Check:
    return _there(name, "unknown", "edgekd's agent needs a Python there that runs it", code=code)


def _line(text: str | None) -> str:
    return " ".join((text or "").split())[:120]
