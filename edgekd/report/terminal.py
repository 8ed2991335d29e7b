"""The closing screen: aligned, with n and interval, fit to be pasted into a report; the last line is the verdict."""

from __future__ import annotations

import io
import os
import shutil
import textwrap
from collections.abc import Mapping
from typing import Any, TextIO, TypedDict

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from edgekd.core import Verdict
from edgekd.core.printable import printable
from edgekd.report.document import Document, FitPart, StagePart, parse
from edgekd.report.fit import ladder_rows
from edgekd.report.phrases import MISSING, duration
from edgekd.report.rows import Row, bundle_text, data_text, misses, rows_of, status_text, steps_to_show, verdict_text, warnings
from edgekd.report.waterfall_screen import waterfall_lines

PIPED_WIDTH = 120  # what is not a terminal and sets no COLUMNS: wide enough for one line a row
_STYLES = {
    Verdict.PASS: "green",
    Verdict.FAIL: "bold red",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NOT_MEASURED: "yellow",
    Verdict.WAIVED: "magenta",
}
_HEAD = ("stage", "target", "measured", "", "", "", "bound", "verdict", "time", "")
_RIGHT = {3, 5, 8}  # value, n, time are aligned right; all else left
_METRIC, _VERDICT, _TIME, _NOTE = 2, 7, 8, 9
SUSPECT = "suspect conditions: "


class Screen(TypedDict):
    width: int
    color: bool


def screen_of(stream: TextIO) -> Screen:
    """Width and colour for ``render``: NO_COLOR and TERM=dumb are obeyed, what is piped is plain text."""
    terminal = stream.isatty()
    color = terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return {"width": shutil.get_terminal_size((PIPED_WIDTH, 24)).columns, "color": color}


def render_terminal(document: Document | Mapping[str, Any], *, width: int = PIPED_WIDTH, color: bool = False) -> str:
    """The closing screen of a run, without a last newline. A row that ``width`` cannot hold moves below, numbers never break.

    Raises InputError when the document is not one of schema 1.
    """
    document = parse(document)
    ladder = _ladder(document.fit, width) if document.fit else []
    lines = [*_table(document, width), *ladder, *waterfall_lines(document, width), *_closing(document, width)]
    last = Text(printable(verdict_text(document)), style=_STYLES[document.verdict] if document.verdict else "bold red")
    return printed([*lines, last], color)


def printed(lines: list[Text], color: bool) -> str:
    """As text, without a last newline."""
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=color, no_color=not color, color_system="standard" if color else None, width=10_000
    )
    for line in lines:
        line.rstrip()
        console.print(line, soft_wrap=True, highlight=False)
    return out.getvalue().removesuffix("\n")


def _cells(step: StagePart, row: Row | None, first: bool) -> tuple[str, ...]:
    verdict = row.verdict.value if row and row.verdict else ("FAILED" if step.status == "failed" and first else "")
    time = "" if not first else MISSING if step.status == "skipped" else duration(step.seconds)
    measured = (row.metric, row.value, row.interval, row.n, row.bound) if row else ("", "", "", "", "")
    name, target = (step.name, step.target or "") if first else ("", "")
    return tuple(printable(cell) for cell in (name, target, *measured, verdict, time, status_text(step) if first else ""))


def _table(document: Document, width: int) -> list[Text]:
    grid: list[tuple[tuple[str, ...], str, Verdict | None]] = []  # cells, the reason below, the verdict that colours them
    of_all = {gate.why for step in document.stages for gate in step.gates} if document.smoke else set()  # the last line says it
    for step in steps_to_show(document):
        rows: list[Row | None] = [*rows_of(step)] or [None]
        told = set(of_all)  # one reason often stands behind several numbers of a step
        for place, row in enumerate(rows):
            reason = _reason(step, row, told, last=place == len(rows) - 1)
            grid.append((_cells(step, row, place == 0), reason, row.verdict if row else None))
    widths = [max(cell_len(cells[at]) for cells in (_HEAD, *(one[0] for one in grid))) for at in range(len(_HEAD))]
    stacked = sum(widths) + 2 * sum(1 for one in widths if one) > width
    lines = [] if stacked else [Text(_joined(_HEAD, widths), style="bold")]
    indent = "    " if stacked else " " * (widths[0] + 2 + (widths[1] + 2 if widths[1] else 0))
    for cells, reason, verdict in grid:
        lines += _stacked(cells, widths, width, verdict) if stacked else [_styled(_joined(cells, widths), cells, verdict)]
        lines += prose(reason, width, indent=indent)
    return lines


def _ladder(fit: FitPart, width: int) -> list[Text]:
    """The rungs that were asked, and of one that was chosen why."""
    rows = [row for row in ladder_rows(fit) if row.numbers or row.lacks]
    grid = [("width", "px", "parameters", "MACs", "", "")]
    for row in rows:
        told = [*(" ".join(filter(None, parts[:3])) for parts in row.numbers), *(f"{one} lacks the memory" for one in row.lacks)]
        numbers = "; ".join(told)
        grid.append((row.width, row.pixels, row.parameters, row.macs, numbers, "chosen" if row.chosen else row.fits))
    widths = [max(cell_len(cells[at]) for cells in grid) for at in range(len(grid[0]))]
    lines = [Text("")]
    for at, cells in enumerate(grid if rows else ()):
        padded = "  ".join(cell + " " * (size - cell_len(cell)) for cell, size in zip(cells, widths, strict=True))
        lines.append(Text(printable(f"{'' if at else 'ladder':<8}{padded}").rstrip(), style="" if at else "bold"))
    if fit.verdict is Verdict.PASS or not rows:
        lines += prose(f"{'fit':<8}{fit.why}", width, hang=" " * 8)
    return lines


def _reason(step: StagePart, row: Row | None, told: set[str], *, last: bool) -> str:
    """What stands below a row: why a gate did not simply pass; below a step's last row, why it failed or was skipped."""
    own = step.why if last and step.why else ""  # says more than a gate's "not measured"
    gates = row.why if row and row.verdict not in (Verdict.PASS, Verdict.FAIL) else ""
    below = [why.removeprefix(SUSPECT) for why in (gates, own) if why and not (own and why == "not measured")]
    below = [why for why in dict.fromkeys(below) if why not in told]
    told.update(below)
    return "; ".join(below)


def _joined(cells: tuple[str, ...], widths: list[int]) -> str:
    padded = []
    for at, (cell, width) in enumerate(zip(cells, widths, strict=True)):
        space = " " * (width - cell_len(cell))
        if width:
            padded.append(space + cell if at in _RIGHT else cell + space)
    return "  ".join(padded).rstrip()


def _stacked(cells: tuple[str, ...], widths: list[int], width: int, verdict: Verdict | None) -> list[Text]:
    """For a narrow screen: the step as a heading with its time, its measurements below, the verdict below those if it must."""
    lines = []
    if cells[0]:
        heading = "  ".join(filter(None, (cells[0], cells[1], cells[_TIME], cells[_NOTE])))
        lines.append(Text(heading, style="bold"))
    inner, inner_widths = cells[_METRIC:_TIME], widths[_METRIC:_TIME]
    if not any(inner):
        return lines
    if 2 + sum(inner_widths) + 2 * sum(1 for one in inner_widths[1:] if one) <= width:
        padded = ("", "", *inner, "", "")
        return [*lines, _styled("  " + _joined(padded, [0, 0, *inner_widths, 0, 0]), cells, verdict)]
    lines.append(Text("  " + _joined(("", "", *inner[:4], "", "", "", ""), [0, 0, *inner_widths[:4], 0, 0, 0, 0])))
    below = "  ".join(filter(None, (cells[6], cells[_VERDICT])))
    return [*lines, _styled(f"    {below}", cells, verdict)] if below else lines


def _styled(line: str, cells: tuple[str, ...], verdict: Verdict | None) -> Text:
    text = Text(line)
    if cells[_VERDICT]:
        start = line.rfind(cells[_VERDICT])
        text.stylize(_STYLES[verdict] if verdict else "bold red", start, start + len(cells[_VERDICT]))
    return text


def prose(sentence: str, width: int, *, indent: str = "", hang: str | None = None) -> list[Text]:
    """A sentence in lines of this width, further ones hanging below the first; dim if it is indented."""
    wrapped = textwrap.wrap(
        printable(sentence), max(width, 40), initial_indent=indent, subsequent_indent=indent if hang is None else hang,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip
    return [Text(line, style="dim" if indent else "") for line in wrapped]


def _closing(document: Document, width: int) -> list[Text]:
    """Below the table: what the run was, the bundle, what went wrong and how to go on."""
    facts = [("run", ", ".join(filter(None, (document.run, duration(document.seconds)))))] if document.run else []
    facts += [(name, text) for name, text in (("data", data_text(document)), ("bundle", bundle_text(document))) if text]
    facts += [("note", note) for note in document.data.notes] if document.data else []
    facts += [("warning", sentence) for sentence in warnings(document)]
    facts += [("failed", sentence) for sentence in misses(document, Verdict.FAIL)]
    facts += [("open", sentence) for sentence in misses(document, Verdict.INCONCLUSIVE)]
    if error := document.error:
        facts.append(("error", f"{error.where}: {error.what}" if error.where else error.what))
        facts += [(name, text) for name, text in (("seen", error.seen), ("try", error.fix)) if text]
    facts += [("report", document.report)] if document.report else []
    done = document.smoke and not document.error
    facts += [("next" if done else "resume", document.resume)] if document.exit_code or document.until else []
    lines = [Text("")]
    for name, text in facts:
        lines += prose(f"{name:<8}{text}", width, hang=" " * 8)
    return lines
