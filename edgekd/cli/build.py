"""``edgekd build MODEL --target T``: what runs on a device, made there of any ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgekd.cli import options
from edgekd.cli.screen import print_json
from edgekd.core.signals import interruptible


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@options.target
@options.one_host
@options.ssh_config
@options.python
@options.precision
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=".",
    metavar="DIR",
    help="Put it there.  [default: here]",
)
@options.as_json
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def build(model: Path, output: Path, as_json: bool, quiet: bool, **asked: Any) -> None:
    """Make of MODEL, an ONNX file, the engine that runs on a device, and list the layers executed there.

    \b
    edgekd build student.trt.onnx --target jetson-orin-nano-8gb --host nano@192.168.1.20

    TensorRT builds on the device; the engine comes back with its log, its layers and a JSON file that says what it depends on:
    versions, chip, module, options and the model's sha256. It runs nowhere else. An engine that was built from exactly the same
    before is reused. onnxruntime opens the file itself, so that nothing is saved.
    """
    from edgekd.pipeline.build import build as made
    from edgekd.pipeline.one_model import OnDevice
    from edgekd.report import render_build

    with interruptible():
        document = made(model, OnDevice(**asked), output, options.said(quiet))
    if as_json:
        print_json(document)
    else:
        click.echo(render_build(document))
