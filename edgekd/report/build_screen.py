"""The screen of ``edgekd build``: the layers that are executed, where the files are, and the last line, the result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from edgekd.core.duration import in_words
from edgekd.core.printable import printable
from edgekd.report.bench_screen import device_text, layers_text


def render_build(document: Mapping[str, Any]) -> str:
    """Without a last newline. document: as ``pipeline.build`` makes it."""
    rows = [
        ("layer", "computes in", "name"),
        *((str(one["op"]), one["dtype"] or "?", str(one["name"])) for one in document["layers"]),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    model, files = document["model"], document["files"]
    facts = [f"{'device':<9}{device_text(document)}", f"{'layers':<9}{layers_text(model['layers'])}"]
    facts += [f"{'file':<9}{path}" for path in files.values()]
    size, seconds = f"{model['size_mb']:.3g} MB", in_words(model["build_s"])
    how = f"reused: built before from exactly the same, in {seconds}" if model["reused"] else f"built in {seconds}"
    did = (
        f"{model['precision']} engine, {size}, {how}"
        if files
        else f"{model['precision']}, {size}, opened in {seconds}; nothing to save"
    )
    return "\n".join(map(printable, [*table, "", *facts, f"{model['file']}: {did}"]))
