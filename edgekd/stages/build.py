"""Build: open the model on the target as it will run there; measure time, size, and the layers that stayed float."""

from __future__ import annotations

from edgekd import targets
from edgekd.core import Measurement, Outcome
from edgekd.stages.context import Context
from edgekd.stages.on_target import model_for, resolved


def run(context: Context) -> Outcome:
    """Makes layers.json (what was executed); measures build_s, size_mb and layers.float of the file this target uses."""
    target = resolved(context)
    with targets.connect(target) as device:
        identity = device.probe()["identity"]
        name, path = model_for(target, identity, context.input("export"))
        built = device.build({name: path})[name]
    floating = targets.float_layers(built["layers"])
    conditions = {"model": path.name}
    return Outcome(
        (context.keep_json("layers", built["layers"]),),
        (
            Measurement("build_s", built["load_s"], "s", 1, conditions=conditions),
            Measurement("size_mb", built["size_mb"], "MB", 1, conditions=conditions),
            Measurement("layers.float", float(len(floating)), "count", len(built["layers"]), conditions=conditions),
        ),
        {"model": path.name, "float_layers": [layer["name"] for layer in floating], "identity": identity},
    )
