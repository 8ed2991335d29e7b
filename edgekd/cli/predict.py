"""``edgekd predict BUNDLE IMG…``: what an app with this bundle will say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgekd.cli.screen import print_json
from edgekd.core import EdgekdError, InputError

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")  # looked for in a folder
_NAMED = 10  # unreadable images named in the error; the rest is counted


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("images", type=click.Path(path_type=Path), nargs=-1, required=True, metavar="IMG...")
@click.option(
    "--flavour", metavar="NAME", help="The model to run: tensorrt, ort, ort-w7 or fp32.  [default: what suits this machine]"
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="K",
    help="How many of the likeliest classes to list.",
)
def predict(bundle: Path, images: tuple[Path, ...], flavour: str | None, as_json: bool, top: int) -> None:
    """Classify images with BUNDLE as an app would; IMG is an image or a folder of images.

    The files the prediction needs are compared with the bundle's manifest first. When an image cannot be read, the others
    are still classified, and the exit code is 2.
    """
    from edgekd.bundle import open_bundle

    loaded = open_bundle(bundle, flavour)
    predictions, unreadable = _predictions(loaded, _listed(images), top)
    error = _unreadable(unreadable, len(predictions)) if unreadable else None
    if as_json:
        failed = {"error": error.as_json()} if error else {}
        about = {"schema": 1, "exit_code": error.exit_code if error else 0, "bundle": str(bundle), "flavour": loaded.flavour}
        print_json({**about, "predictions": predictions, **failed})
        raise SystemExit(about["exit_code"])
    _print_table(predictions)
    if error:
        raise error


def _listed(given: tuple[Path, ...]) -> list[Path]:
    """The images themselves; a folder stands for the image files in it, by name, not in its subfolders."""
    images: list[Path] = []
    for path in given:
        found = sorted(filter(_is_image, path.iterdir())) if path.is_dir() else [path]
        if not found:
            raise InputError("the folder holds no images", where=str(path), fix="images end in " + ", ".join(SUFFIXES))
        images += found
    return images


def _is_image(path: Path) -> bool:
    """By its ending; hidden files do not exist, as for training."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _predictions(bundle: Any, images: list[Path], top: int) -> tuple[list[dict[str, Any]], list[str]]:
    """Predictions of what could be read, and one line for each image that could not."""
    from edgekd.runtime import Problem

    predictions, unreadable = [], []
    for image in images:  # one by one: a broken image must not cost the others
        try:
            predictions.append({"image": str(image), **bundle.predict([image], top=top)[0]})
        except Problem as problem:
            if problem.code != "input":
                raise EdgekdError.from_json(problem.as_json()) from problem
            unreadable.append(str(problem))
    return predictions, unreadable


def _unreadable(problems: list[str], readable: int) -> InputError:
    more = f"; and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
    what = f"{len(problems)} of {len(problems) + readable} images cannot be read"
    return InputError(what, seen="; ".join(problems[:_NAMED]) + more, fix="replace or leave out these files")


def _print_table(predictions: list[dict[str, Any]]) -> None:
    from edgekd.core.printable import printable

    rows = []
    for one in predictions:
        classes = [cell for best in one["top"] for cell in (printable(best["label"]), f"{best['probability']:.3f}")]
        rows.append([printable(one["image"]), *classes])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
