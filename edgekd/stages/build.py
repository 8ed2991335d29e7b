"""Build: make of the exported files what runs on the target; measure time, size, and the layers that stayed float.

onnxruntime opens the file itself; TensorRT builds engines, on the device, of the target's precision and of the yardsticks it is
compared with. A device that is not connected builds later, by itself: it gets the files and the commands for that, and no number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from edgekd import targets
from edgekd.core import Artifact, Measurement, Outcome
from edgekd.core.files import link_or_copy, write_atomic
from edgekd.stages.context import Context
from edgekd.stages.on_target import ENGINE, files_for, resolved, say_removed


def run(context: Context) -> Outcome:
    """Makes layers.json (what is executed), and the engines with their logs; measures build_s, size_mb and layers.float of the
    file that the target runs.

    Of a target that cannot be measured here: its ONNX files, build.json and ENGINES.txt, and no measurement.
    """
    target = resolved(context)
    if why := targets.why_not_measured(context.recipe.targets, context.reach).get(target.name):
        return _prepared(context, target, why)
    with targets.connect(target, context.reach) as device:
        identity = device.probe()["identity"]
        files = files_for(target, identity, context.input("export"))
        name, path = next(iter(files.items()))
        context.say({"done": 0, "total": 1, "note": f"building {', '.join(files)}" if target.builds_engines else "opening"})
        built = device.build(files if target.builds_engines else {name: path})
        kept = list(_engines(context, built)) if target.builds_engines else []
    own = built[name]
    floating = targets.float_layers(own.layers)
    conditions = {"model": path.name, **({"reused": True} if own.reused else {})}
    return Outcome(
        (context.keep_json("layers", list(own.layers)), *kept),
        (
            Measurement("build_s", own.build_s, "s", 1, conditions=conditions),
            Measurement("size_mb", own.size_mb, "MB", 1, conditions=conditions),
            Measurement("layers.float", float(len(floating)), "count", len(own.layers), conditions=conditions),
        ),
        {
            "model": path.name, "float_layers": [layer["name"] for layer in floating], "identity": identity,
            **_why_float(context, target), **say_removed(context, built),
        },
    )  # fmt: skip


def _engines(context: Context, built: Mapping[str, targets.Built]) -> Iterator[Artifact]:
    """The engines, out of the connection's folder, and what the builder said of each."""
    for precision, one in built.items():
        engine = context.folder / f"student.{precision.replace('+', '-')}.engine"
        link_or_copy(one.file, engine)
        yield context.keep(ENGINE + precision, engine)
        log = engine.with_suffix(".log")
        write_atomic(log, one.log)
        yield context.keep(f"log-{precision}", log)


def _prepared(context: Context, target: targets.Target, why: str) -> Outcome:
    """What the device will need: files linked from the export, and how to make engines of them."""
    spec, export = context.recipe.targets[target.name], context.input("export")
    artifacts, overflow = [], export.outcome.notes.get("overflow")
    for flavour in targets.files_of(spec, overflow):
        source = export.path(flavour)
        link_or_copy(source, context.folder / source.name)
        artifacts.append(context.keep(flavour, context.folder / source.name))
    text = context.folder / "ENGINES.txt"
    write_atomic(text, targets.commands_text(target.name, spec, overflow))
    engines = [engine.as_json() for engine in targets.engines(spec, overflow)]
    listing = context.keep_json("build", {"device": target.profile.name, "measured": False, "why": why, "engines": engines})
    note = "nothing was built or measured; ENGINES.txt says what to do on the device"
    return Outcome((*artifacts, context.keep("commands", text), listing), (), {"prepared": note, **_why_float(context, target)})


def _why_float(context: Context, target: targets.Target) -> dict[str, str]:
    why = targets.why_float(context.recipe.targets[target.name])
    return {"warning": why} if why else {}
