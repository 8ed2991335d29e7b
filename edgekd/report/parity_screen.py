"""The screen of ``edgekd parity``: what was compared, the numbers, the tensors inside, and the last line, the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.text import Text

from edgekd.core.printable import printable
from edgekd.report.phrases import MISSING, decimals, interval, number
from edgekd.report.terminal import PIPED_WIDTH, printed, prose
from edgekd.report.waterfall import EQUAL_DB

_RULER = 30  # characters of the longest bar
_LABELS = {
    "parity.top1_agreement": "same class", "parity.sqnr_db": "SQNR of logits (dB)", "parity.max_abs": "largest difference",
    "top1.first": "top-1 of A", "top1.second": "top-1 of B", "top1_drop": "drop from A to B",
}  # fmt: skip


def render_parity(document: Mapping[str, Any], *, width: int = PIPED_WIDTH, color: bool = False) -> str:
    """Without a last newline. document: as ``pipeline.parity`` makes it."""
    lines = [Text(line) for line in _aligned(list(_numbers(document)))]
    if layers := document["layers"]:
        lines += [Text(""), *(Text(line, style=style) for line, style in _tensors(layers))]
    lines.append(Text(""))
    for name, text in _facts(document):
        lines += prose(f"{name:<9}{text}", width, hang=" " * 9)
    return printed([*lines, *prose(_result(document), width)], color)


def _numbers(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    for one in document["measurements"]:
        places = decimals(one["unit"], (one["value"], one["low"], one["high"]))
        more = f"n={one['n']:,}"
        if one["name"] == "top1_drop":
            lost, won = one["counts"]
            more += f", {lost} lost, {won} won"
        yield _LABELS[one["name"]], number(one["value"], places), interval(one["low"], one["high"], places), more


def _aligned(rows: list[tuple[str, str, str, str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        f"{label:<{widths[0]}}  {value:>{widths[1]}}  {span:<{widths[2]}}  {more}".rstrip() for label, value, span, more in rows
    ]


def _tensors(layers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A line a tensor: the longer the bar, the more alike; where they part for good is marked."""
    rows = layers["tensors"]
    names = [printable(_name(row)) for row in rows]
    widest, ops = max(map(len, names)), max(len(row.get("op", "")) for row in rows)
    yield f"{'tensor':<{widest}}  {'op':<{ops}}  SQNR (dB)", "bold"
    for name, row in zip(names, rows, strict=True):
        db = row["sqnr_db"]
        bar = "#" * round(_RULER * min(1.0, max(0.0, (db or 0.0) / 100)))
        here = "  <- from here on they part" if row == layers["parts_at"] else ""
        style = "" if db is not None and db >= layers["limit_db"] else "yellow"
        line = f"{name:<{widest}}  {row.get('op', ''):<{ops}}  {number(db, 1):>9}  {bar}{here}"
        yield line.rstrip(), style


def _facts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for letter, model in zip("AB", document["models"], strict=True):
        yield letter, f"{model['file']}: {model['computes_in']}, onnxruntime, {model['ran']}"
    images = document["images"]
    yield "images", images["said"]
    if "noise" in images["said"]:
        yield "note", "on noise logits hardly differ from image to image, and sound models agree less: give --images or --data"
    if layers := document["layers"]:
        how = {"name": "by name", "order": "by the order of convolutions and matrix products"}[layers["matched"]]
        yield "layers", f"{len(layers['tensors'])} tensors matched {how}, on {layers['images']} images"


def _result(document: Mapping[str, Any]) -> str:
    by_name = {one["name"]: one for one in document["measurements"]}
    agreement, sqnr = by_name["parity.top1_agreement"], by_name["parity.sqnr_db"]["value"]
    first, second = (Path(model["file"]).name for model in document["models"])
    said = f"{first} and {second}: {agreement['counts'][0]:,} of {agreement['n']:,} images get the same class"
    said += f", {number(sqnr, 1)} dB" if sqnr is not None else f", SQNR {MISSING}: a logit is not finite"
    if layers := document["layers"]:
        worst, parts = layers["worst"], layers["parts_at"]
        limit = f"{layers['limit_db']:g} dB"
        if worst["sqnr_db"] == EQUAL_DB:
            return printable(f"{said}; every tensor inside is equal")
        said += f"; below {limit} from {_name(parts)} on" if parts else f"; no tensor stays below {limit}"
        said += f", least at {_name(worst)} ({number(worst['sqnr_db'], 1)} dB)"
    return printable(said)


def _name(row: Mapping[str, Any]) -> str:
    return str(row.get("node", row["tensor"]))
