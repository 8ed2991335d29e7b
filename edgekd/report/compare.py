"""What changed between two runs, and whether it is more than noise: a pure function of their documents.

Shares of the same images are paired image by image; without that they are compared as two samples. Times are compared by their
rounds. What has no interval is shown and not judged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from edgekd.core import InputError
from edgekd.core.printable import printable
from edgekd.core.statistics import REPORTED_CONFIDENCE, agresti_caffo_interval, z_two_sided
from edgekd.report.document import Document, MeasurementPart, StagePart
from edgekd.report.evidence import flat
from edgekd.report.phrases import decimals, interval, number
from edgekd.report.rows import SHOWN
from edgekd.report.sweep import paired_on_images
from edgekd.report.terminal import PIPED_WIDTH, printed, prose

CANNOT_TELL = "INCONCLUSIVE"
ONE_TRAINING = "one training a side, intervals over images: another seed may differ as much; edgekd sweep --vary seed=0,1,2 tells"
_OVER_IMAGES = ("paired on", "two shares")
_APART = ("made apart", "made by other code")
_STYLES = {"higher": "bold", "lower": "bold", CANNOT_TELL: "yellow"}


def compared(a: Document, b: Document) -> dict[str, Any]:
    """The JSON document of the comparison; differences are b - a. Raises InputError: one is a smoke run.

    verdict of a measurement: "higher" or "lower" (b, by more than noise), "INCONCLUSIVE", "equal", "same step", or null where
    there is nothing to judge by; how says what it was judged by. caution: what the judged accuracies do not say, or null.
    """
    for one in (a, b):
        if one.smoke:
            raise InputError("a smoke run measures nothing", where=one.run, fix="name two real runs")
    other_images = _other_images(a, b)
    measurements = [] if other_images else [*_measurements(a, b)]
    return {
        "schema": 1,
        "exit_code": 0,
        "a": a.run,
        "b": b.run,
        "images": other_images,
        "changes": [*_changes(a, b)],
        "steps": [{"name": name, "how": _relation(one, other)} for name, one, other in _steps(a, b)],
        "measurements": measurements,
        "caution": _caution(a, b, measurements),
    }


def _other_images(a: Document, b: Document) -> str | None:
    """Why their numbers are not about the same images; None if they are."""
    of_a, of_b = ((one.data.digest if one.data else None) for one in (a, b))
    if of_a is None or of_b is None:
        return "which images one of them saw was not recorded, so their numbers are not compared"
    if of_a != of_b:
        return f"they saw other images (digest {of_a[:8]} and {of_b[:8]}), so their numbers are not compared"
    seeds = [dict(flat(one.recipe or {})).get("data.split_seed") for one in (a, b)]
    return None if seeds[0] == seeds[1] else "they split the images by other seeds, so their numbers are not compared"


def _caution(a: Document, b: Document, measurements: Sequence[Mapping[str, Any]]) -> str | None:
    """Of networks trained apart a paired difference is also one of chance: of the seed, of the order of the images."""
    trained_apart = any(name in ("teacher", "distill") and _relation(one, other) in _APART for name, one, other in _steps(a, b))
    over_images = any(one["verdict"] in ("higher", "lower") and one["how"].startswith(_OVER_IMAGES) for one in measurements)
    if not (trained_apart and over_images):
        return None
    seeds = [(one.recipe or {}).get("seed") for one in (a, b)]
    return ONE_TRAINING if seeds[0] == seeds[1] else f"seeds {seeds[0]} and {seeds[1]}: {ONE_TRAINING}"


def _changes(a: Document, b: Document) -> Iterator[dict[str, Any]]:
    for what, in_a, in_b in (("recipe", a.recipe, b.recipe), ("environment", a.environment, b.environment)):
        rows_a, rows_b = dict(flat(in_a or {})), dict(flat(in_b or {}))
        for name in dict.fromkeys((*rows_a, *rows_b)):
            if rows_a.get(name) != rows_b.get(name):
                yield {"what": what, "name": name, "a": rows_a.get(name), "b": rows_b.get(name)}


def _steps(a: Document, b: Document) -> Iterator[tuple[str, StagePart | None, StagePart | None]]:
    of_a, of_b = ({" ".join(filter(None, (one.target, one.name))): one for one in document.stages} for document in (a, b))
    for name in dict.fromkeys((*of_a, *of_b)):
        yield name, of_a.get(name), of_b.get(name)


def _relation(a: StagePart | None, b: StagePart | None) -> str:
    made_a, made_b = (one is not None and one.key is not None for one in (a, b))
    if a is None or b is None or not (made_a and made_b):
        return "only in a" if made_a else "only in b" if made_b else "in neither"
    if a.key == b.key:
        return "shared"
    if a.artifacts and {one.sha256 for one in a.artifacts} == {one.sha256 for one in b.artifacts}:
        return "made twice, to the same bytes"
    return "made by other code" if a.source != b.source else "made apart"


def _measurements(a: Document, b: Document) -> Iterator[dict[str, Any]]:
    for step, one, other in _steps(a, b):
        for measured in one.measurements if one else ():
            against = other.measurement(measured.name) if other else None
            if against is not None and measured.value is not None and against.value is not None:
                low, high, how = _judged_by(
                    measured, against, same=one is not None and other is not None and one.key == other.key
                )
                yield {
                    "step": step, "name": measured.name, "unit": measured.unit, "a": measured.value, "b": against.value,
                    "difference": against.value - measured.value, "low": low, "high": high, "how": how,
                    "verdict": _verdict(measured, against, low, high, how),
                }  # fmt: skip


def _judged_by(a: MeasurementPart, b: MeasurementPart, *, same: bool) -> tuple[float | None, float | None, str]:
    """The interval of b - a, and what it was made from."""
    if same:
        return None, None, "same step"
    if a.suspect or b.suspect:
        return None, None, f"suspect conditions: {(*a.suspect, *b.suspect)[0]}"
    if a.right and b.right and (gap := paired_on_images(b, a)) is not None:
        return gap.low, gap.high, f"paired on {gap.n:,} images"
    if len(a.counts) == 1 == len(b.counts) and a.n and b.n:
        low, high = agresti_caffo_interval(b.counts[0], b.n, a.counts[0], a.n, z_two_sided(REPORTED_CONFIDENCE))
        return low, high, "two shares, not paired"
    if a.low is None or a.high is None or b.low is None or b.high is None:
        return None, None, "no interval"
    return b.low - a.high, b.high - a.low, "rounds of both" if a.rounds and b.rounds else "intervals of both"


def _verdict(a: MeasurementPart, b: MeasurementPart, low: float | None, high: float | None, how: str) -> str | None:
    if how == "same step":
        return how
    if low is None or high is None:
        if how != "no interval":
            return CANNOT_TELL
        return "equal" if a.value == b.value else None
    return "higher" if low > 0 else "lower" if high < 0 else CANNOT_TELL


def render_comparison(document: Mapping[str, Any], *, width: int = PIPED_WIDTH, color: bool = False) -> str:
    """The screen, without a last newline: what changed, which steps they share, the numbers a reader asks for first."""
    lines = [Text(f"a  {printable(str(document['a']))}"), Text(f"b  {printable(str(document['b']))}"), Text("")]
    changes = [(one["name"], one["a"] or "—", one["b"] or "—") for one in document["changes"]]
    lines += _columns([("changed", "a", "b"), *changes]) if changes else [Text("nothing in recipe or environment changed")]
    lines.append(Text(""))
    for how in dict.fromkeys(one["how"] for one in document["steps"]):
        names = ", ".join(one["name"] for one in document["steps"] if one["how"] == how)
        lines += prose(f"{how}: {names}", width, hang="    ") if how != "in neither" else []
    shown = [one for one in document["measurements"] if one["verdict"] != "same step" and _asked_for_first(one)]
    if shown:
        lines += [Text(""), *_table(shown, width)]
    caution = [Text(""), *prose(document["caution"], width, hang="    ")] if document["caution"] else []
    return printed([*lines, *caution, Text(""), *prose(_last(document), width, hang="    ")], color)


def _asked_for_first(one: Mapping[str, Any]) -> bool:
    return one["name"] in SHOWN.get(one["step"].split(" ")[-1], ())


def _table(rows: list[Mapping[str, Any]], width: int) -> list[Text]:
    head = ("step", "", "a", "b", "b - a", "95 % interval", "more than noise?", "judged by")
    grid = [head]
    for one in rows:
        places = decimals(one["unit"], (one["a"], one["b"]))
        span = interval(one["low"], one["high"], places)
        values = [number(one[name], places) for name in ("a", "b")]
        gap = f"{one['difference']:+.{places}f}"
        grid.append((one["step"], one["name"], *values, gap, span, noise_words(one["verdict"]), one["how"]))
    lines = _columns(grid, right={2, 3, 4})
    if max(cell_len(line.plain) for line in lines) > width:
        lines = []
        for cells in grid[1:]:
            lines += [Text(f"{cells[0]} {cells[1]}: {cells[2]} to {cells[3]}, {cells[4]} {cells[5]}".rstrip())]
            lines += prose(f"{cells[6]}; {cells[7]}", width, indent="    ")
    else:
        for line, one in zip(lines[1:], rows, strict=True):
            line.highlight_words([noise_words(one["verdict"])], _STYLES.get(one["verdict"] or "", "dim"))
    return lines


def noise_words(verdict: str | None) -> str:
    """A verdict as a person reads it."""
    return {"higher": "yes, higher", "lower": "yes, lower", None: "not judged"}.get(verdict, str(verdict))


def _columns(grid: Sequence[tuple[str, ...]], right: set[int] | None = None) -> list[Text]:
    cells = [[printable(cell) for cell in row] for row in grid]
    widths = [max(cell_len(row[at]) for row in cells) for at in range(len(cells[0]))]
    lines = []
    for place, row in enumerate(cells):
        spaces = [" " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)]
        padded = [
            space + cell if at in (right or ()) else cell + space
            for at, (cell, space) in enumerate(zip(row, spaces, strict=True))
        ]
        lines.append(Text("  ".join(padded).rstrip(), style="" if place else "bold"))
    return lines


def _last(document: Mapping[str, Any]) -> str:
    if document["images"]:
        return f"NOT COMPARED: {document['images']}"
    differ = [one for one in document["measurements"] if one["verdict"] in ("higher", "lower")]
    judged = [one for one in document["measurements"] if one["verdict"] in ("higher", "lower", CANNOT_TELL)]
    if not judged:
        return "nothing that both measured apart can be judged"
    if not differ:
        return f"INCONCLUSIVE: none of {len(judged)} measurements differs by more than noise"
    names = ", ".join(f"{one['step']} {one['name']} {one['verdict']}" for one in differ)
    return f"{len(differ)} of {len(judged)} measurements differ by more than noise: {names}"
