"""A chain without torch for tests of the runner: counts images, fails on demand, dies on demand."""

import contextlib
import errno
import json
import os
import resource
import signal
import sys
import time
from pathlib import Path

from edgekd.core import DeviceError, DeviceMemoryError, InputError, Interrupted, Measurement, Outcome, share
from edgekd.stages.stop import STOP


@contextlib.contextmanager
def little_memory():
    """Within, this process gets 64 MB more and nothing beyond."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def count(context, name):
    with (context.folder.parent / "calls.txt").open("a") as file:
        file.write(f"{name}\n")


def first(context):
    (context.folder / "first.txt").write_text(f"seed {context.recipe.teacher_seed}")
    count(context, "teacher")
    context.say({"done": 1, "total": 2, "note": "half"})
    return Outcome((context.keep("teacher", context.folder / "first.txt"),), (share("top1", [True] * 9 + [False]),))


def second(context):
    above = context.input("teacher").path("teacher").read_text()
    (context.folder / "second.txt").write_text(above + ", then distilled")
    count(context, "distill")
    if os.environ.get("TOY") == "error":
        raise InputError("toy error", where="second", seen="TOY", fix="unset TOY")
    if os.environ.get("TOY") == "bug":
        raise ZeroDivisionError("toy bug")
    if os.environ.get("TOY") == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if os.environ.get("TOY", "").startswith("signal "):
        os.kill(os.getpid(), int(os.environ["TOY"].split()[1]))
    if os.environ.get("TOY") == "large":
        (context.folder / "large.bin").write_bytes(bytes(1 << 20))
    if os.environ.get("TOY") == "hungry":
        with little_memory():
            bytearray(1 << 30)
    if os.environ.get("TOY") == "full":
        raise OSError(errno.ENOSPC, "No space left on device", str(context.folder / "second.txt"))
    if os.environ.get("TOY") == "half a line":
        os.write(int(sys.argv[1]), b'{"outcome": {"artifacts"')
        os._exit(3)
    notes = {"words": context.recipe.gates_of("teacher")[0].waive} if os.environ.get("TOY") == "odd words" else {}
    artifacts = (context.keep("student", context.folder / "second.txt"),)
    return Outcome(artifacts, (share("top1", [True] * 8 + [False] * 2), Measurement("top1_drop", 0.1, "fraction", 10)), notes)


def taught(context):
    """A student of its own for every method and seed; kd's training takes 8 s, dkd's 6 s, any other 2 s."""
    recipe, outcome = context.recipe, second(context)
    if os.environ.get("TOY") == f"error of {recipe.distill.method} {recipe.seed}":
        raise InputError("toy error", where="taught", seen="TOY", fix="unset TOY")
    words = f"{outcome.artifacts[0].path} {recipe.distill.method} {recipe.distill.epochs} {recipe.seed}"
    (context.folder / "second.txt").write_text(words)
    told = {
        "epochs": recipe.distill.epochs,
        "seconds": {"kd": 8.0, "dkd": 6.0}.get(recipe.distill.method, 2.0),
        "images": {"student": 10},
    }
    notes = {"training": told, "compute": {"device": "cpu", "threads": 1}}
    return Outcome((context.keep("student", context.folder / "second.txt"),), outcome.measurements, notes)


def examined(context):
    """An exam: ten images, of which as many are right as the network's text is long, in ten."""
    (need,) = context.inputs.values()
    words = (need.folder / need.outcome.artifacts[0].path).read_text()
    count(context, f"exam of {need.outcome.artifacts[0].kind}")
    if os.environ.get("TOY") == "exam error" and words.startswith("seed 1"):
        raise InputError("toy error", where="exam", seen="TOY", fix="unset TOY")
    return Outcome(measurements=(share("top1", [at < len(words) % 10 for at in range(10)], images="test"),))


def timed(context):
    """A stage on a device."""
    count(context, f"{context.target}/benchmark")
    (context.folder / "opened.txt").write_text(context.input("distill").path("student").read_text())
    return Outcome((context.keep("latencies", context.folder / "opened.txt"),), (share("top1", [True] * 8 + [False] * 2),))


def timed_in_parts(context):
    """One on a device that is lost the first time, after its first part."""
    part = context.checkpoint / "part"
    if context.target == "board" and not part.exists():
        part.parent.mkdir(parents=True)
        part.write_text("one")
        raise DeviceError("the connection to the device was lost")
    return timed(context)


def bundled(context):
    count(context, "bundle")
    (context.folder / "model.onnx").write_text("a model")
    return Outcome(
        (context.keep("model", context.folder / "model.onnx"),), (Measurement("golden_agreement", 1.0, "fraction", 4),)
    )


def trains(context):
    """Stands for a training: computes until it is asked to stop, then keeps how far it came; a stubborn one hears nothing."""
    context.checkpoint.mkdir(parents=True)
    with STOP.waits():
        context.say({"note": "training"})
        while STOP.asked is None or os.environ.get("TOY") == "stubborn":
            time.sleep(0.01)
        (context.checkpoint / "kept.txt").write_text(signal.Signals(STOP.asked).name)
        raise Interrupted(STOP.asked)


def computes(context):
    """Has nothing to keep."""
    context.say({"note": "computing"})
    time.sleep(600)


def flown(context):
    """A preflight whose fastest query took a millisecond, and every other one who knows how long."""
    count(context, f"{context.target}/preflight")
    return Outcome(
        (context.keep_json("latencies", {}),),
        (
            Measurement("latency_ms.p50", 5.0, "ms", 600, 4.0, 6.0, suspect=("other work ran",)),
            Measurement("latency_ms.fastest", 1.0, "ms", 600),
        ),
    )


def prepared(context):
    """A build; of a target that cannot be measured only a file for it."""
    count(context, f"{context.target}/build")
    (context.folder / "student.onnx").write_text("a model")
    artifacts = (context.keep("trt", context.folder / "student.onnx"),)
    return Outcome(artifacts, (Measurement("size_mb", 1.0, "MB", 1),) if context.target == "cpu" else ())


def sketched(context):
    """Of a student of which nothing but width and image size is told."""
    student, data = context.recipe.student, context.recipe.data
    count(context, f"sketch {student.width:g}@{data.image_size}")
    (context.folder / "student.onnx").write_text(f"{student.width:g}@{data.image_size}")
    artifacts = (context.keep("fp32", context.folder / "student.onnx"),)
    return Outcome(artifacts, (), {"parameters": int(1e6 * student.width), "macs": int(1e8 * student.width)})


def raced(context):
    """A preflight whose queries take what TOY_MS says of the rung, in ms: {"0.5@8": 3.0}; a negative one under suspect
    conditions, beyond a quarter over the bound after a short look; null: the device lacks memory; "gone": it is not there."""
    rung = context.input("sketch").path("fp32").read_text()
    count(context, f"{context.target}/preflight {rung}")
    said = json.loads(os.environ["TOY_MS"])[rung]
    if said is None:
        raise DeviceMemoryError("trtexec was killed", where=f"{context.target}: build int8", seen="nothing", fix="close programs")
    if said == "gone":
        raise DeviceError("the device does not answer", where=context.target, seen="No route to host", fix="is it on?")
    ms, suspect = abs(said), ("other work ran",) * (said < 0)
    bound = context.recipe.tightest_latency(context.target)
    short = bound is not None and 0.9 * ms > 1.25 * bound.limit
    times = [Measurement(f"latency_ms.{name}", ms, "ms", 700, ms - 0.1, ms + 0.1, suspect=suspect) for name in ("p50", "p90")]
    fastest = Measurement("latency_ms.fastest", 0.9 * ms, "ms", 700)
    made = (*([] if short else times), fastest, Measurement("size_mb", ms, "MB", 1))
    return Outcome((context.keep_json("latencies", {}),), made, {"cut_short": short})
