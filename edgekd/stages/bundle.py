"""Bundle: collect what an app needs, hash it, load it the way an app would, and run its golden cases."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from edgekd import bundle, data, targets
from edgekd.core import IntegrityError, Measurement, Outcome
from edgekd.core.runtimes import BUILT_IN
from edgekd.recipe import TargetSpec
from edgekd.stages.context import Context
from edgekd.stages.images import open_images
from edgekd.stages.on_target import ENGINE, files_for

GOLDEN_CASES = 32
FLAVOURS = ("ort", "ort-w7", "fp32")
LICENCES = {"digits": "CC BY 4.0 (UCI Machine Learning Repository, Optical Recognition of Handwritten Digits)"}


def run(context: Context) -> Outcome:
    """Makes the bundle's files; measures golden_agreement (of the flavour that agrees least, on this machine) and size_mb.

    Of a connected TensorRT target the bundle has the engine that was measured. Its golden logits are those of its ONNX file, as
    written, in onnxruntime here; whether the engine gives them is for the device to say.
    """
    images, export = open_images(context), context.input("export")
    models, engines = [(flavour, export.path(flavour)) for flavour in FLAVOURS], list(_engines(context))
    candidates = images.held_out.images[data.spread_over_classes(images.held_out.labels, 2 * GOLDEN_CASES)]
    answering = {**dict(models), **{engine.flavour: engine.onnx for engine in engines}}
    logits = {flavour: bundle.golden_logits(path, candidates, images.preprocessing) for flavour, path in answering.items()}
    chosen = bundle.surest_half(logits.values())
    golden = candidates[chosen]
    artifacts = bundle.make(
        context.folder,
        name=context.recipe.name + "-smoke" * context.smoke,
        models=models,
        preprocessing=images.preprocessing,
        labels=images.classes,
        golden_images=golden,
        golden_logits={flavour: values[chosen] for flavour, values in logits.items()},
        card=_card(context),
        for_devices=_for_devices(context, engines),
        engines=engines,
    )
    found = bundle.verify(context.folder)
    found.require()
    agreement = found.measurement()
    if agreement.n == 0:
        raise IntegrityError("the bundle's golden cases did not run", where=str(context.folder))
    size = sum(artifact.bytes for artifact in artifacts) / 1e6
    return Outcome(
        artifacts, (agreement, Measurement("size_mb", size, "MB", 1)), {"files": len(artifacts), "golden_cases": len(golden)}
    )


def _engines(context: Context) -> Iterator[bundle.Engine]:
    """Of each TensorRT target whose ``build`` made engines, and not only files for them, the one it runs; not its yardsticks."""
    for name, spec in _tensorrt(context).items():
        target, build = targets.resolve(name, spec), context.inputs.get(f"{name}/build")
        kind = ENGINE + target.precision
        if build is None or kind not in {one.kind for one in build.outcome.artifacts}:
            continue
        identity = build.outcome.notes["identity"]
        yield bundle.Engine(
            build.path(kind),
            files_for(target, identity, context.input("export"))[target.precision],
            targets.candidates(target, identity)[target.precision],
            name,
            target.profile.name,
            target.precision,
            identity["tensorrt"],
            identity.get("compute_capability"),
            identity.get("module"),
        )


def _for_devices(context: Context, engines: Sequence[bundle.Engine]) -> dict[str, Path | str]:
    """What targets need beside the files an app loads: of TensorRT ONNX files, and for each target a text with the commands; of
    another runtime the file it was measured with, where that is none of the usual ones."""
    files: dict[str, Path | str] = {engine.onnx.name: engine.onnx for engine in engines}
    export, overflow, built = context.input("export"), _overflow(context), {one.target: one.path for one in engines}
    for name, spec in context.recipe.targets.items():
        if spec.runtime not in BUILT_IN and "gated" in export.outcome.notes:
            own = (export.path(flavour) for flavour in targets.flavours_of({name: spec}) if flavour not in FLAVOURS)
            files |= {path.name: path for path in own}
    for name, spec in _tensorrt(context).items():
        paths = [export.path(flavour) for flavour in targets.files_of(spec, overflow) if flavour not in FLAVOURS]
        files |= {path.name: path for path in paths}
        files[_commands_of(name)] = targets.commands_text(name, spec, overflow, built.get(name))
    return files


def _tensorrt(context: Context) -> dict[str, TargetSpec]:
    return {name: spec for name, spec in context.recipe.targets.items() if spec.runtime == "tensorrt"}


def _overflow(context: Context) -> str | None:
    """Why there is no float16 file to compare int8 with."""
    why: str | None = context.input("export").outcome.notes.get("overflow")
    return why


def _commands_of(target: str) -> str:
    return f"ENGINES-{target}.txt"


def _card(context: Context) -> bundle.Card:
    recipe, images = context.recipe, open_images(context)
    shown = ("teacher", "distill", "quantize")
    measured = [(stage, one) for stage in shown for one in context.inputs[stage].outcome.measurements]
    for name in recipe.targets:
        if f"{name}/benchmark" in context.inputs:
            measured += [(name, one) for one in context.inputs[f"{name}/benchmark"].outcome.measurements]
    return bundle.Card(
        student=f"{recipe.student.model} (width {recipe.student.width:g})",
        teacher=f"{recipe.teacher.model} (width {recipe.teacher.width:g})" if recipe.teacher.model else "an ONNX file",
        method=recipe.distill.method,
        data=recipe.data.source,
        counts=images.counts,
        data_license=LICENCES.get(recipe.data.source),
        measured=measured,
        not_measured=list(targets.why_not_measured(recipe.targets, context.reach).items()),
        for_devices=[
            (name, [f"student.{flavour}.onnx" for flavour in targets.files_of(spec, _overflow(context))], _commands_of(name))
            for name, spec in _tensorrt(context).items()
        ],
        smoke=context.smoke,
    )
