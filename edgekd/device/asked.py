"""Asking an agent of one's own, in a process of its own: a kit's calls, and what must begin in a fresh process."""

import binascii
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time

from . import children
from .problem import Problem, device_code, one_line

AGENT = "edgekd.pyz"  # in every work folder
_GRACE_S, _TICK_S = 10.0, 1.0
_MOST_SAID = 1 << 16  # bytes of what a process said beside its reply


def ask(work, call, request, tick=lambda seconds: None):
    """One call: {"name", "verb", "request", "status", "body", "stdout", "stderr", "seconds"}; body: the reply or None.

    call: {"name", "verb"}. request: with "deadline_s". tick: called every second with the seconds it took until then.
    """
    token, begun = binascii.hexlify(os.urandom(8)).decode(), time.monotonic()
    flags = ["-E"] + (["-S"] if sys.flags.no_site else [])  # as this process was started
    command = [sys.executable] + flags + [os.path.join(work, AGENT), "agent", call["verb"], "--token", token]
    with contextlib.ExitStack() as opened:
        stdin, stdout, stderr = (opened.enter_context(tempfile.TemporaryFile(dir=work)) for _ in range(3))
        stdin.write(json.dumps(dict(request, workdir=work)).encode())
        stdin.seek(0)
        environment = dict(os.environ, LC_ALL="C.UTF-8")
        child = children.start(command, stdin=stdin, stdout=stdout, stderr=stderr, cwd=work, env=environment)
        status = _ended(child, request["deadline_s"] + _GRACE_S, begun, tick)
        out, err = _read(stdout), _read(stderr)
    found = re.search(("EDGEKD-%s-BEGIN\n(.*)\nEDGEKD-%s-END" % (token, token)).encode(), out, re.DOTALL)
    body = json.loads(found.group(1).decode("utf-8")) if found else None
    said = {"stdout": "" if found else _tail(out), "stderr": _tail(err)}
    seconds = round(time.monotonic() - begun, 3)
    return dict(said, name=call["name"], verb=call["verb"], request=request, status=status, body=body, seconds=seconds)


def raise_told(answer):
    """The problem an answer tells, as this process' own."""
    body = answer["body"] or {}
    told = body.get("error")
    if told:
        raise Problem(told["code"], told["what"], told.get("where"), told.get("seen"), told.get("fix"))
    if answer["body"] is not None:
        raise Problem("device", "%s failed" % answer["name"], seen="its log is in the reply")
    status = answer["status"]
    ended = "was not done in time" if status is None else "ended with status %d and without a reply" % status
    killed = status == -signal.SIGKILL
    fix = "out of memory? See the kernel's log (dmesg)" if killed else None
    code = "device-memory" if killed else device_code(answer["stderr"])
    raise Problem(code, "%s %s" % (answer["name"], ended), seen=one_line(answer["stderr"][-300:]) or "nothing", fix=fix)


def _ended(child, most_s, begun, tick):
    """A child's exit status, None where it was killed at its time."""
    try:
        while child.poll() is None and time.monotonic() - begun < most_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(_TICK_S)
            tick(time.monotonic() - begun)
        return child.poll()
    finally:
        if child.poll() is None:
            child.terminate()  # its agent puts back what it changed
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(5)
        children.end(child)


def _read(file):
    file.seek(0)
    return file.read(64 << 20)


def _tail(content):
    return content[-_MOST_SAID:].decode("utf-8", "replace")
