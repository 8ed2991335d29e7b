"""``edgekd parity A B``: whether two models answer alike, and where they part."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgekd.cli import options
from edgekd.cli.screen import print_json
from edgekd.core.signals import interruptible


@click.command()
@click.argument("first", type=click.Path(path_type=Path), metavar="A")
@click.argument("second", type=click.Path(path_type=Path), metavar="B")
@click.option(
    "--images", type=click.Path(path_type=Path), metavar="FOLDER",
    help="Compare on these; with a folder a class, accuracy too.  [default: blurred noise]",
)  # fmt: skip
@click.option(
    "--data", "recipe", type=click.Path(path_type=Path), metavar="RECIPE", help="Compare on the images this recipe holds out."
)
@click.option(
    "--preprocessing", type=click.Path(path_type=Path), metavar="FILE",
    help="How --images become inputs: a bundle's preprocessing.json.  [default: resized as by a recipe, normalized as ImageNet]",
)  # fmt: skip
@click.option("--layers", is_flag=True, help="Compare the tensors inside too, and name the first from which on they part.")
@options.as_json
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def parity(
    first: Path, second: Path, images: Path | None, recipe: Path | None, preprocessing: Path | None, layers: bool,
    as_json: bool, quiet: bool,
) -> None:  # fmt: skip
    """Compare the answers of A and B, two ONNX files of one float32 input [N, C, H, W], on the same images.

    \b
    edgekd parity student.fp32.onnx student.ort.onnx --data recipe.yaml --layers
    edgekd parity mine.onnx mine.int8.onnx --images photos/val
    edgekd parity student.ort.onnx student.ort.onnx --images photos/val

    onnxruntime runs both with every node as written, which is what the files say; of a file and itself, the second as it is
    optimised for this CPU. Nothing is judged: the exit code is 0 when they were compared.
    """
    from edgekd.pipeline.parity import parity as compared
    from edgekd.report import render_parity, screen_of

    with interruptible():
        document = compared(
            first, second, images=images, recipe=recipe, preprocessing=preprocessing, layers=layers, say=options.said(quiet)
        )
    if as_json:
        print_json(document)
    else:
        click.echo(render_parity(document, **screen_of(sys.stdout)))
