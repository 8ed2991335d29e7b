"""The agent: one JSON request on stdin, one JSON reply on stdout, between markers that no login banner can contain.

    python3 edgekd.pyz agent VERB --token T

Every request has "workdir" (a folder made for this agent) and "deadline_s". Files are named relative to it, and travel with
their sha256. The reply is the verb's JSON object or {"error": {"code", "what", "where", "seen", "fix"}}; never a traceback.
"""

import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import traceback

from . import onnxrt, probe, timing
from .arrays import read_array, write_array
from .integrity import is_inside, sha256_of
from .lock import measuring_lock
from .problem import Problem, one_line

MARKER = "edgekd-workdir"  # a file in every work folder; nothing is deleted in a folder without it
KEPT = (MARKER, "edgekd.pyz")
_MOST_REQUEST_BYTES = 1 << 20
_GRACE_S = 2
_PR_SET_PDEATHSIG = 1


def serve(verb, token):
    """Answer one request; the exit status is 0 whenever a reply was written."""
    reply_to = os.dup(1)
    os.dup2(2, 1)  # whatever a library prints goes to stderr; stdout is the reply's alone
    try:
        reply = _answer(verb, lambda error: _send(reply_to, token, {"error": error.as_json()}))
    except Problem as problem:
        reply = {"error": problem.as_json()}
    except MemoryError:
        fix = "close other programs, or choose a smaller model or batch"
        reply = {"error": Problem("device", "out of memory", where=verb, fix=fix).as_json()}
    except Exception as error:  # noqa: BLE001  the outermost boundary: told to the host, which knows a bug when it sees one
        place = traceback.extract_tb(sys.exc_info()[2])[-1]
        seen = "%s: %s (%s:%d)" % (type(error).__name__, one_line(error), os.path.basename(place.filename), place.lineno)
        reply = {"error": Problem("bug", "the agent failed", where=verb, seen=seen).as_json()}
    _send(reply_to, token, reply)
    return 0


def _answer(verb, tell):
    request = _request()
    _watch(verb, float(request["deadline_s"]), tell)
    verbs = {"probe": _probe, "build": _build, "measure": _measure, "infer": _infer, "clean": _clean}
    if verb not in verbs:
        raise Problem("device", "the agent knows no such verb", seen=verb, fix="one of: " + ", ".join(sorted(verbs)))
    return verbs[verb](request)


def _request():
    content = sys.stdin.buffer.read(_MOST_REQUEST_BYTES + 1)
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
    """End this process, and its group where it leads one, at the deadline; and when the process that started it dies.

    The alarm is the kernel's, for when native code holds the interpreter and the thread below cannot speak.
    """

    def end():
        fix = "look at what else runs on the device, or allow more time"
        tell(Problem("device", "not finished after %g s" % deadline_s, where=verb, fix=fix))
        if os.getpgrp() == os.getpid():
            os.killpg(0, signal.SIGKILL)
        os._exit(1)

    timer = threading.Timer(deadline_s, end)
    timer.daemon = True
    timer.start()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, deadline_s + _GRACE_S)
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _probe(request):
    return {"identity": probe.identity(), "conditions": probe.conditions()}


def _build(request):
    return {"models": {name: onnxrt.build(path, request["threads"]) for name, path in _models(request)}}


def _measure(request):
    plan, example = request["plan"], _array(request, request["example"])
    with measuring_lock(float(request["lock_wait_s"])) as waited_s:
        queries = {}
        for name, path in _models(request):
            queries[name] = onnxrt.query(onnxrt.open_session(path, request["threads"], own_process=True), example)
        before = probe.conditions()
        timed = timing.timed_rounds(queries, plan, probe.conditions)
        after = probe.conditions()
    samples, waited_share = timed.pop("samples"), timed.pop("waited_share")
    timed["conditions"] = {"before": before, "between": samples, "after": after, "threads": request["threads"],
                           "cpus": len(os.sched_getaffinity(0)), "waited_share": waited_share}  # fmt: skip
    return dict(timed, peak_memory_mb=probe.peak_memory_mb(), waited_for_lock_s=round(waited_s, 1))


def _infer(request):
    session = onnxrt.open_session(_checked(request, request["model"]), request["threads"], request["optimised"])
    outputs = []
    for number, described in enumerate(request["inputs"]):
        logits = onnxrt.run(session, _array(request, described), request["batch"])
        path = "logits-%d.npy" % number
        outputs.append({"path": path, "sha256": write_array(os.path.join(request["workdir"], path), logits)})
    return {"outputs": outputs}


def _clean(request):
    workdir = request["workdir"]
    if not os.path.isfile(os.path.join(workdir, MARKER)):
        raise Problem("device", "this is not a folder of ours: nothing was deleted", where=workdir)
    removed = 0
    for base, folders, names in os.walk(workdir, topdown=False):
        for name in names:
            if base != workdir or name not in KEPT:
                os.unlink(os.path.join(base, name))
                removed += 1
        for name in folders:
            path = os.path.join(base, name)
            (os.unlink if os.path.islink(path) else os.rmdir)(path)
    return {"removed": removed}


def _models(request):
    return [(name, _checked(request, request["models"][name])) for name in sorted(request["models"])]


def _array(request, described):
    return read_array(_checked(request, described))


def _checked(request, described):
    """The path of a file of the request, after its bytes were compared with the sha256 the host sent."""
    if not is_inside(described["path"]):
        raise Problem("integrity", "a file of the request lies outside the work folder", where=described["path"])
    path = os.path.join(request["workdir"], described["path"])
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise Problem("integrity", "a file did not arrive: %s" % error.strerror, where=described["path"])
    if digest != described["sha256"]:
        fix = "send it again; if that repeats, check the device's disk and cable"
        raise Problem("integrity", "a file arrived with other bytes", described["path"], digest, fix)
    return path
