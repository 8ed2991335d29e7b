"""The agent: one JSON request on stdin, one JSON reply on stdout, between markers that no login banner can contain.

    python3 edgekd.pyz agent VERB --token T [--hold]

With --hold the request is the first line of stdin, and the agent lives only as long as stdin stays open: when the host or the
way to it is gone, it ends what it started, puts back what it changed, and ends.
Every request has "workdir" (a folder made for this agent) and "deadline_s". Files are named relative to it, and travel with
their sha256. The reply is the verb's JSON object or {"error": {"code", "what", "where", "seen", "fix"}}; never a traceback.
"""

import contextlib
import errno
import importlib
import json
import os
import pkgutil
import signal
import sys
import threading
import time
import traceback

from . import beside, children, clocks, cool, probe, said
from .files import Files
from .integrity import write_aside
from .lock import measuring_lock
from .problem import Problem, one_line

_MOST_REQUEST_BYTES = 1 << 20
_GRACE_S = 2
_OF_A_MODEL = ("build", "measure", "round", "infer")
_BESIDE = {"tegrastats": beside.tegrastats, "nvidia_smi": beside.nvidia_smi}  # of which a request asks for one at most
# Each a module of this package with build(request, files), timed(request, files, sample) and infer(request, files); those that
# open their models themselves have one_round(request, files) too.
_BACKENDS = {"onnxruntime": "onnxverbs", "trtexec": "trtexec", "tensorrt": "tensorrt"}
_OTHERS = "backend_"  # so begin the names of all other modules that are one


def serve(verb, token, hold=False):
    """Answer one request; the exit status is 0 whenever a reply was written."""
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")  # as nvidia-smi counts: the GPU that is described is the one used
    reply_to = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints goes to stderr; stdout is the reply's alone
    try:
        reply = _answer(verb, lambda error: _send(reply_to, token, {"error": error.as_json()}), hold)
    except Problem as problem:
        reply = {"error": problem.as_json()}
    except SystemExit:  # all with blocks are left
        _kill()
    except Exception as error:  # noqa: BLE001  the outermost boundary: told to the host, which knows a bug when it sees one
        reply = {"error": _told(error, verb).as_json()}
    _send(reply_to, token, reply)
    return 0


def _told(error, verb):
    """The problem behind an exception that nobody expected."""
    if isinstance(error, MemoryError):
        fix = "close other programs, or choose a smaller model or batch"
        return Problem("device-memory" if verb in _OF_A_MODEL else "device", "out of memory", where=verb, fix=fix)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        fix = "delete files on the device, or give it a larger disk"
        return Problem("device", "the device's disk is full", verb, error.filename, fix)
    if isinstance(error, ImportError):
        fix = "install it for %s there: python3 -m pip install numpy onnxruntime" % sys.executable
        return Problem("environment", "the device's Python lacks a module", verb, one_line(error), fix)
    place = traceback.extract_tb(sys.exc_info()[2])[-1]
    seen = "%s: %s (%s:%d)" % (type(error).__name__, one_line(error), os.path.basename(place.filename), place.lineno)
    return Problem("bug", "the agent failed", where=verb, seen=seen)


def _answer(verb, tell, hold):
    request = _request(hold)
    request["until"] = _watch(verb, float(request["deadline_s"]), tell)
    if hold:
        threading.Thread(target=_end_with_stdin, daemon=True).start()
    else:
        children.die_with_parent()
    verbs = {"probe": _probe, "build": _build, "measure": _measure, "round": _round, "infer": _infer}
    if verb not in verbs:
        raise Problem("device", "the agent knows no such verb", seen=verb, fix="one of: " + ", ".join(sorted(verbs)))
    return verbs[verb](request)


def _request(hold):
    content = (sys.stdin.buffer.readline if hold else sys.stdin.buffer.read)(_MOST_REQUEST_BYTES + 1)
    try:
        request = json.loads(content.decode("utf-8")) if len(content) <= _MOST_REQUEST_BYTES else None
    except ValueError as error:
        raise Problem("device", "the request is not JSON", seen=one_line(error))
    if not isinstance(request, dict) or not isinstance(request.get("deadline_s"), (int, float)):
        raise Problem("device", "the request is not an object with deadline_s", seen=one_line(content[:200]))
    return request


def _send(handle, token, reply):
    lines = "\nEDGEKD-%s-BEGIN\n%s\nEDGEKD-%s-END\n" % (token, json.dumps(reply, allow_nan=False), token)
    with contextlib.suppress(BrokenPipeError), os.fdopen(os.dup(handle), "wb") as out:  # no one listens any more
        out.write(lines.encode())


def _watch(verb, deadline_s, tell):
    """End this process, and its group where it leads one, at the deadline.

    The alarm is the kernel's, for when native code holds the interpreter and the thread below cannot speak. Returns the
    monotonic time by which a child should have ended, so that there is still time to tell what it said.
    """
    until = time.monotonic() + deadline_s - min(_GRACE_S, deadline_s / 10)

    def end():
        fix = "look at what else runs on the device, or allow more time"
        tell(Problem("device", "not finished after %g s" % deadline_s, where=verb, fix=fix))
        _end()

    timer = threading.Timer(deadline_s, end)
    timer.daemon = True
    timer.start()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, deadline_s + 2 * _GRACE_S)
    signal.signal(signal.SIGTERM, _leave)
    return until


def _end_with_stdin():
    """In a thread of its own: stdin is held open by the host, and by nobody else."""
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    _end()


def _end():
    """End this process from a thread: the main one gets a moment to leave its with blocks, which put back what they changed."""
    children.end_all()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    _kill()


def _kill():
    """This process, with its group where it leads one."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def _leave(number, frame):
    raise SystemExit(1)


def _probe(request):
    identity = probe.identity(request.get("packages", ()))
    return {"identity": identity, "conditions": probe.conditions(), "said": said.said(identity["versions"])}


def _backend(request):
    """The module that does the work, imported only now: each needs a runtime that others do not have."""
    there = (one[1] for one in pkgutil.iter_modules(sys.modules[__package__].__path__))
    known = dict({name[len(_OTHERS) :]: name for name in there if name.startswith(_OTHERS)}, **_BACKENDS)
    name = str(request.get("backend", "onnxruntime"))
    if name not in known:
        raise Problem("device", "the agent knows no such backend", seen=name, fix="one of: " + ", ".join(sorted(known)))
    return importlib.import_module("." + known[name], __package__)


def _build(request):
    return _backend(request).build(request, Files(request["workdir"]))


def _measure(request):
    backend, files = _backend(request), Files(request["workdir"])
    with contextlib.ExitStack() as held:
        lock = held.enter_context(measuring_lock(float(request["lock_wait_s"])))
        locked = held.enter_context(clocks.locked(request.get("clocks"), lock.handle))
        cooled = cool.down(request.get("cool_down"))
        lines = {name: held.enter_context(beside.sampled(commands(request.get(name)))) for name, commands in _BESIDE.items()}
        before = probe.conditions()
        timed = backend.timed(request, files, probe.conditions)
        after = probe.conditions()
    conditions = {"before": timed.pop("before", before), "between": timed.pop("samples"), "after": after,
                  "threads": request["threads"], "cpus": len(os.sched_getaffinity(0)),
                  "waited_share": timed.pop("waited_share")}  # fmt: skip
    return dict(timed, conditions=conditions, clocks=locked, cooled=cooled, waited_for_lock_s=round(lock.waited_s, 1),
                **{name: _written(one, name, files) for name, one in lines.items()})  # fmt: skip


def _round(request):
    """Asked by the agent that measures and holds the lock."""
    return _backend(request).one_round(request, Files(request["workdir"]))


def _written(lines, name, files):
    """A file of one JSON list a line, for the host; None where nothing was sampled."""
    if lines is None:
        return None
    path = files.path(name + ".jsonl")
    write_aside(path, lambda file: file.writelines(json.dumps(line).encode() + b"\n" for line in lines))
    return files.kept(path)


def _infer(request):
    return _backend(request).infer(request, Files(request["workdir"]))
