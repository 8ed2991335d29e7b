"""Build: open the model on the target as it will run there; measure time, size, and the layers that stayed float.

A device that is not connected builds later, by itself: it gets the files and the commands for that, and no number.
"""

from __future__ import annotations

from edgekd import targets
from edgekd.core import Measurement, Outcome
from edgekd.core.files import link_or_copy, write_atomic
from edgekd.stages.context import Context
from edgekd.stages.on_target import model_for, resolved


def run(context: Context) -> Outcome:
    """Makes layers.json (what was executed); measures build_s, size_mb and layers.float of the file this target uses.

    Of a target that cannot be measured here: its ONNX files, build.json and ENGINES.txt, and no measurement.
    """
    target = resolved(context)
    if why := targets.why_not_measured(context.recipe.targets, context.reach).get(target.name):
        return _prepared(context, target, why)
    with targets.connect(target, context.reach) as device:
        identity = device.probe()["identity"]
        name, path = model_for(target, identity, context.input("export"))
        built = device.build({name: path})[name]
    floating = targets.float_layers(built.layers)
    conditions = {"model": path.name}
    return Outcome(
        (context.keep_json("layers", built.layers),),
        (
            Measurement("build_s", built.build_s, "s", 1, conditions=conditions),
            Measurement("size_mb", built.size_mb, "MB", 1, conditions=conditions),
            Measurement("layers.float", float(len(floating)), "count", len(built.layers), conditions=conditions),
        ),
        {"model": path.name, "float_layers": [layer["name"] for layer in floating], "identity": identity},
    )


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
    return Outcome((*artifacts, context.keep("commands", text), listing), (), {"prepared": note})
