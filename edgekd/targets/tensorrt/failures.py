"""Whether trtexec failed, and why, for a person: its own line, what it means, what to do. It must prove that it did not fail.

Built or run means: exit status 0, the PASSED line, a file that begins like an engine, and no warning that makes it worthless.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Sequence

from edgekd.core import DeviceError, DeviceMemoryError, EdgekdError, EnvironmentProblem, InputError
from edgekd.device.plan_header import built_by
from edgekd.targets.tensorrt.failure_texts import CAUSES, CONSEQUENCES, MEMORY, NO_KERNEL, NO_ROOM, REBUILD, Rule
from edgekd.targets.tensorrt.log import TrtexecLog, read_log
from edgekd.targets.told import told_at

_SHOWN = 3  # of the last error lines, where nothing is known of the text


def failure_of(log_text: str, status: int | None, where: str) -> EdgekdError:
    """The error to raise for a run of trtexec that failed: DeviceError, EnvironmentProblem (the device's GPU or installation) or
    InputError (the model). seen: the line of the log it was read from; for texts nobody knows, the last errors as they are.

    status: its exit status; negative or 128 + n where signal n ended it; None where it was ended because its time was up.
    """
    log = read_log(log_text)
    errors = "\n".join(line.text for line in log.lines if line.level in ("E", ""))
    # Of plain messages what follows on further lines: it may be an error's that came in between.
    troubles = "\n".join(line.text.partition("\n")[2] if line.level in ("I", "V") else line.text for line in log.lines)
    # Warnings of a build that went on say less than the error that ended it; a consequence says less than any of them.
    short = (((NO_ROOM,), troubles),) if NO_KERNEL in errors else ()
    for rules, searched in (*short, (CAUSES, errors), (CAUSES, troubles), (CONSEQUENCES, troubles)):
        if found := _known(rules, searched, where):
            return found
    return _by_status(log, log_text, status, where)


def judged(log_text: str, status: int | None, where: str, *, engine: bytes | None = None) -> TrtexecLog:
    """The log of a run that did what it was asked to; raises ``failure_of`` or the like for any other.

    engine: the first bytes of the file it was to build, b"" if there is none; None if it was to build none.
    """
    log = read_log(log_text)
    if status != 0 or not log.passed:
        raise failure_of(log_text, status, where)
    if engine is not None:
        with told_at(where):
            built_by(engine, where)
        _refuse_unfit_build(log, where)
    if line := log.concerns.get("other-module"):
        what = "the engine was built on another module with the same compute capability"
        raise DeviceError(what, where=where, seen=_shown(line), fix=REBUILD)
    return log


def _refuse_unfit_build(log: TrtexecLog, where: str) -> None:
    if line := log.concerns.get("typed-by-the-file"):
        what = "precision was asked for by options, which a strongly typed build ignores"
        raise InputError(what, where=where, seen=_shown(line), fix="a file that carries its own types, and no option")
    if line := log.concerns.get("dynamic-shape"):
        what = "the model has a free dimension, and TensorRT made it 1"
        raise InputError(what, where=where, seen=_shown(line), fix="a file of batch one: edgekd exports them as *-b1 and trt")
    if (line := log.concerns.get("made-up-scales")) and not log.own_scales:
        what = "int8 was asked of a file without Q/DQ nodes: TensorRT made its scales up, and accuracy is lost"
        raise InputError(what, where=where, seen=_shown(line), fix="the quantized file (trt), or precision: fp16")


def _known(rules: Sequence[Rule], text: str, where: str) -> EdgekdError | None:
    for rule in rules:
        if found := re.search(rule.pattern, text, re.MULTILINE):
            line = text[text.rfind("\n", 0, found.start()) + 1 :].partition("\n")[0]
            named = {name: _shown(value, 80) for name, value in found.groupdict().items()}
            return rule.kind(rule.what.format(**named), where=where, seen=_shown(line), fix=rule.fix)
    return None


def _by_status(log: TrtexecLog, log_text: str, status: int | None, where: str) -> EdgekdError:
    last = " | ".join(_shown(text) for text in (log.errors or tuple(line.text for line in log.lines))[-_SHOWN:]) or "nothing"
    number = None if status is None else -status if status < 0 else status - 128 if 128 < status < 160 else None
    if status is None or status == 124:
        return DeviceError("trtexec did not end in its time", where=where, seen=last, fix="look at what else runs on the device")
    if status == 255:
        return DeviceError("the connection to the device broke", where=where, seen=last, fix="run the same command again")
    if number == signal.SIGKILL:
        what = "trtexec was killed, as the kernel does when memory runs out"
        return DeviceMemoryError(what, where=where, seen=last, fix=f"see dmesg on the device; {MEMORY}")
    if number is not None:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        if number not in (signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE):
            return DeviceError(f"trtexec was ended by {name}", where=where, seen=last, fix="run the same command again")
        return DeviceError(f"trtexec crashed ({name})", where=where, seen=last, fix="see its log; try another JetPack's TensorRT")
    if status in (126, 127):
        what = "trtexec is not on the device, or cannot be run"
        return EnvironmentProblem(what, where=where, seen=last, fix="sudo apt install libnvinfer-bin, on the device")
    if status == 0 and not log_text.strip():
        return DeviceError("trtexec said nothing", where=where, seen="an empty log", fix="run the same command again")
    if status == 0 and not log.failed:
        return DeviceError("trtexec ended without saying PASSED", where=where, seen=last, fix="run the same command again")
    return DeviceError(f"trtexec failed with status {status}", where=where, seen=last, fix="see its log")


def _shown(text: str, most: int = 400) -> str:
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= most else line[: most - 1] + "…"
