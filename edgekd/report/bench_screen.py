"""The screen of ``edgekd bench``: a table of numbers with n and interval, what to know of them, and the last line, the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from edgekd.core.printable import printable
from edgekd.report.phrases import decimals, interval, number
from edgekd.report.terminal import PIPED_WIDTH, SUSPECT, printed, prose

_HEAD = ("model", "precision", "measured", "", "", "")
_RIGHT = {3, 5}
_FLOAT_NAMED = 4  # layers named on the screen; the document has all


def render_bench(document: Mapping[str, Any], *, width: int = PIPED_WIDTH, color: bool = False) -> str:
    """The closing screen, without a last newline. document: as ``pipeline.bench`` makes it."""
    rows = [_HEAD, *_rows(document)]
    widths = [max(cell_len(row[at]) for row in rows) for at in range(len(_HEAD))]
    lines = [Text(_joined(row, widths), style="" if number else "bold") for number, row in enumerate(rows)]
    lines.append(Text(""))
    for name, text in _facts(document):
        lines += prose(f"{name:<9}{text}", width, hang=" " * 9)
    style = "yellow" if document["suspect"] else "green"
    return printed([*lines, *(Text(line.plain, style=style) for line in prose(_result(document), width))], color)


def layers_text(layers: Mapping[str, Any]) -> str:
    """18 executed, 5 of them in int8, 1 in floating point (conv_1): the heavy ones, convolutions and matrix products."""
    named = ", ".join(layers["float"][:_FLOAT_NAMED])
    more = ", …" if len(layers["float"]) > _FLOAT_NAMED else ""
    floating = f"{len(layers['float'])} in floating point" + (f" ({named}{more})" if named else "")
    return f"{layers['executed']} executed; convolutions and matrix products: {layers['int8']} in int8, {floating}"


def device_text(document: Mapping[str, Any]) -> str:
    """local-cpu: its chip, runtime and version, threads or power mode."""
    target, identity = document["target"], document["identity"]
    chip = identity.get("module") or identity.get("cpu") or identity.get("arch") or ""
    if target["runtime"] == "tensorrt":
        by = (document.get("conditions") or {}).get("facts", {}).get("via")
        with_it = f"TensorRT {identity.get('tensorrt')}" + (f" by {by}" if by else "")
        mode = f"power mode {identity['power_mode']}" if identity.get("power_mode") else ""
        return ", ".join(filter(None, (f"{target['device']}: {chip}", with_it, mode)))
    version = (identity.get("versions") or {}).get(target["runtime"], "")
    return f"{target['device']}: {chip}, {target['runtime']} {version}, {target['threads']} thread{'s' * (target['threads'] > 1)}"


def _rows(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    for model in document["models"]:
        for place, one in enumerate(model["measurements"]):
            yield ((model["name"], model["precision"]) if place == 0 else ("", "")) + _numbers(one)
    if document["speedup"]:
        yield ("", "", *_numbers(document["speedup"]))


def _numbers(one: Mapping[str, Any]) -> tuple[str, ...]:
    places = decimals(one["unit"], (one["value"], one["low"], one["high"]))
    count = f"n={one['n']:,}" if one["n"] > 1 else ""
    return one["name"], number(one["value"], places), interval(one["low"], one["high"], places), count


def _facts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "device", device_text(document)
    several = len(document["models"]) > 1
    for model in document["models"]:
        yield "layers", (f"{model['name']}: " if several else "") + layers_text(model["layers"])
    for label in document["labels"]:
        yield "note", label
    if document["set_aside"] and not document["suspect"]:
        yield "note", f"measured again {len(document['set_aside'])} times, until the conditions were calm"


def _result(document: Mapping[str, Any]) -> str:
    models: Sequence[Mapping[str, Any]] = document["models"]
    found = next(one for one in models[0]["measurements"] if one["name"] == "latency_ms.p50")
    said = f"{models[0]['name']}: {_value(found)} ms a query"
    if ratio := document["speedup"]:
        said += f", {_value(ratio)} times the speed of {models[1]['name']}"
    if not document["suspect"]:
        return printable(said)
    return printable(f"INCONCLUSIVE (exit {document['exit_code']}): {said}; {SUSPECT}{'; '.join(document['suspect'])}")


def _value(one: Mapping[str, Any]) -> str:
    places = decimals(one["unit"], (one["value"], one["low"], one["high"]))
    return " ".join(filter(None, (number(one["value"], places), interval(one["low"], one["high"], places))))


def _joined(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = []
    for at, (cell, width) in enumerate(zip(row, widths, strict=True)):
        space = " " * (width - cell_len(cell))
        cells.append(space + cell if at in _RIGHT else cell + space)
    return "  ".join(map(printable, cells)).rstrip()
