"""Which of a bundle's models a machine runs, and what to say where it can run none."""

from . import integrity, onnxrt
from .probe import flavour_for
from .problem import Problem


def no_engine(folder, refused):
    """What to raise where an engine was asked for, and this machine can run none of them."""
    first = sorted(refused.items())[0][1]
    seen = "; ".join("%s: %s" % (path, why.seen) for path, why in sorted(refused.items()))
    return Problem(first.code, "the bundle has no engine that this machine can run", folder, seen, first.fix)


def nothing_runs(folder, missing, refused):
    """What to raise where the one runtime that would run the models is missing, and no engine is for this machine."""
    engine = no_engine(folder, refused)
    seen = "its ONNX models: %s (%s); %s" % (missing.what, missing.seen, engine.seen)
    fix = "%s, or for the engine: %s" % (missing.fix, engine.fix)
    return Problem("environment", "nothing in the bundle can run on this machine", folder, seen, fix)


def models_of(manifest):
    models = manifest.get("models")
    needed = {"path", "flavour", "precision"}
    if not isinstance(models, list) or not all(isinstance(one, dict) and needed <= set(one) for one in models):
        raise Problem("integrity", "the manifest describes no models", where=integrity.MANIFEST)
    return models


def chosen(manifest, flavour):
    """The entry of manifest["models"] to run: the flavour asked for, else this CPU's int8 file, else the first one."""
    by_flavour = {one["flavour"]: one for one in models_of(manifest)}
    wanted = [flavour] if flavour else [flavour_for(onnxrt.this_identity()), "ort", "ort-w7", "fp32"]
    for name in wanted:
        if name in by_flavour:
            return by_flavour[name]
    raise Problem("input", "the bundle has no model %s" % wanted[0], seen=flavour, fix="one of: " + ", ".join(sorted(by_flavour)))
