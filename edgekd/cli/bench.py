"""``edgekd bench MODEL --target T``: how long one query of any ONNX file takes on a device."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from edgekd.cli import options
from edgekd.cli.screen import print_json
from edgekd.core.signals import interruptible


@click.command()
@click.argument("model", type=click.Path(path_type=Path))
@options.target
@click.option(
    "--against", type=click.Path(path_type=Path), metavar="MODEL2", help="Time this one too, in the same rounds, and compare."
)
@options.one_host
@options.ssh_config
@options.python
@options.precision
@click.option("--threads", type=click.IntRange(1, 1024), default=1, show_default=True, help="Threads of one query on a CPU.")
@options.clocks
@options.as_json
@click.option("-q", "--quiet", is_flag=True, help="No progress on stderr.")
def bench(model: Path, against: Path | None, as_json: bool, quiet: bool, **asked: Any) -> None:
    """Time single queries of MODEL, an ONNX file with one float32 input [N, C, H, W], on a device; a free N is one image.

    \b
    edgekd bench student.ort.onnx --target local-cpu --against student.fp32.onnx
    edgekd bench student.trt.onnx --target jetson-orin-nano-8gb --host nano@192.168.1.20

    Values are the median of fifteen rounds, with the least and the greatest; with onnxruntime each round is a process of its
    own. TensorRT builds the engine on the device first. Exits with 0 when measured, 4 when the conditions were suspect.
    """
    from edgekd.pipeline.bench import bench as measured
    from edgekd.pipeline.one_model import OnDevice
    from edgekd.report import render_bench, screen_of

    with interruptible():
        document = measured(model, against, OnDevice(**asked), options.said(quiet))
    if as_json:
        print_json(document)
    else:
        click.echo(render_bench(document, **screen_of(sys.stdout)))
    sys.exit(document["exit_code"])
