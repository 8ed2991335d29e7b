"""``edgekd inspect MODEL``: what of an ONNX file a runtime refuses, computes otherwise or cannot make fast; how to mend it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edgekd.cli import options
from edgekd.cli.screen import print_json


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--for", "asked", metavar="WHAT",
    help="onnxruntime, tensorrt, tensorrt:8.5 (the oldest version that must read it), or a device of edgekd devices.  "
    "[default: what the file is made for]",
)  # fmt: skip
@options.as_json
def inspect(model: Path, asked: str | None, as_json: bool) -> None:
    """Lint MODEL, any ONNX file: its scales and zero points, where its Q/DQ pairs stand, what stays float and why.

    \b
    edgekd inspect student.trt.onnx --for tensorrt:8.5
    edgekd inspect theirs.onnx --for jetson-orin-nano-8gb

    Nothing of the file is run, and no file it names is opened. An error is what the runtime refuses, computes otherwise than
    meant, or what was rounded and gains nothing; a warning works, but slower, less exactly or on fewer devices than it could.
    Exits with 0 without errors, 3 with some.
    """
    from edgekd.pipeline.inspect import inspect as inspected
    from edgekd.report import render_inspect, screen_of

    document = inspected(model, asked)
    if as_json:
        print_json(document)
    else:
        click.echo(render_inspect(document, **screen_of(sys.stdout)))
    sys.exit(document["exit_code"])
