"""The waterfall on a terminal: a line a step, with the images it turned wrong and right."""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len
from rich.text import Text

from edgekd.core.printable import printable
from edgekd.report.document import Document
from edgekd.report.phrases import number
from edgekd.report.waterfall import Fall, falls

_RIGHT = {1, 2, 4}
_INDENT = 2


def waterfall_lines(document: Document, width: int) -> list[Text]:
    """Of measured targets; of files that no target ran only where there is nothing else. A narrow screen has no tensors, a very
    narrow one nothing."""
    found = falls(document)
    lines = []
    for fall in [one for one in found if one.target] or found:
        rows = [("steps", "top1", "flips", "drop", "SQNR", "least at"), *_rows(fall)]
        sizes = [max(cell_len(row[at]) for row in rows) for at in range(6)]
        shown = next((count for count in (6, 5) if _INDENT + sum(sizes[:count]) + 2 * (count - 1) <= width), 0)
        if shown:
            title = ", ".join(filter(None, (fall.target, f"student.{fall.flavour}.onnx")))
            lines += [Text(""), Text(printable(title), style="bold")]
            for at, row in enumerate(rows):
                lines.append(Text(" " * _INDENT + _joined(row[:shown], sizes), style="" if at else "dim"))
    return lines


def _rows(fall: Fall) -> Iterator[tuple[str, ...]]:
    for part in fall.parts:
        yield f"{printable(part.start)} ({part.n:,} {printable(part.images)})", number(part.top1, 3), "", "", "", ""
        for hop in part.hops:
            sqnr = f"{number(hop.sqnr_db, 1)} dB"
            yield f"  {printable(hop.to)}", number(hop.top1, 3), hop.flips, hop.dropped, sqnr, printable(hop.worst)


def _joined(row: tuple[str, ...], sizes: list[int]) -> str:
    cells = []
    for at, (cell, size) in enumerate(zip(row, sizes, strict=False)):
        space = " " * (size - cell_len(cell))
        cells.append(space + cell if at in _RIGHT else cell + space)
    return "  ".join(cells).rstrip()
