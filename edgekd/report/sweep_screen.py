"""The screen of a sweep: its table, aligned; what was not measured and why; how to read it. Numbers never break."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.cells import cell_len
from rich.text import Text

from edgekd.core.printable import printable
from edgekd.report.phrases import MISSING, duration
from edgekd.report.sweep import ArmPart, DifferencePart, SpreadPart, SweepDocument, parse_sweep
from edgekd.report.terminal import PIPED_WIDTH, printed, prose

HEAD = ("arm", "test top-1", "seeds", "held-out", "to {}", "95 % interval", "more than noise?", "time", "images")
_RIGHT = {1, 2, 3, 4, 7, 8}
_STYLES = {"better": "green", "worse": "bold red", "cannot tell": "yellow"}
_FIRST_LINE = (0, 1, 2, 3, 7, 8)  # of a row that the screen cannot hold in one


def percent(share: float, *, sign: bool = False) -> str:
    """As people give accuracies: 93.42, or +1.20 for a difference."""
    return f"{100 * share:{'+' if sign else ''}.2f}"


def spread_text(spread: SpreadPart | None) -> str:
    """93.42 ± 0.31, the standard error over seeds; no error from one seed."""
    if spread is None:
        return MISSING
    return percent(spread.mean) + (f" ± {percent(spread.se)}" if spread.se is not None else "")


def noise_text(gap: DifferencePart | None) -> str:
    """What the interval says, in words."""
    if gap is None:
        return ""
    if gap.verdict != "cannot tell":
        return f"yes, {gap.verdict}"
    return "cannot tell" + (f"; {gap.seeds_needed} seeds might" if gap.seeds_needed else "")


def cells(arm: ArmPart) -> tuple[str, ...]:
    """One row, in the order of HEAD."""
    gap, test, held_out = arm.difference, arm.test_top1, arm.held_out_top1
    difference, span = (percent(gap.value, sign=True), interval_text(gap)) if gap else ("", "")
    noise = "baseline" if arm.baseline else noise_text(gap)
    cost = [f"×{ratio:.2f}" if ratio else "" for ratio in (arm.time_ratio, arm.image_ratio)]
    known = percent(held_out.mean) if held_out else MISSING
    n, of = test.n if test else 0, len(arm.runs)
    return arm.name, spread_text(test), str(n) if n == of else f"{n} of {of}", known, difference, span, noise, *cost


def interval_text(gap: DifferencePart) -> str:
    """[-0.13, +2.53], in percent."""
    return f"[{percent(gap.low, sign=True)}, {percent(gap.high, sign=True)}]"


def render_sweep(document: SweepDocument | Mapping[str, Any], *, width: int = PIPED_WIDTH, color: bool = False) -> str:
    """The closing screen, without a last newline. Raises InputError: not a document of a sweep."""
    document = parse_sweep(document)
    lines = _table(document, width)
    for name, text in facts(document):
        lines += prose(f"{name:<10}{text}", width, hang=" " * 10)
    failed = sum(run.error is not None for arm in document.arms for run in arm.runs)
    runs = sum(len(arm.runs) for arm in document.arms)
    last = (
        f"{runs} run{'s' * (runs > 1)} measured" if not failed else f"{failed} of {runs} runs FAILED (exit {document.exit_code})"
    )
    return printed([*lines, Text(last, style="bold red" if failed else "green")], color)


def _table(document: SweepDocument, width: int) -> list[Text]:
    head = tuple(one.format(document.baseline) for one in HEAD)
    grid = [tuple(printable(cell) for cell in row) for row in (head, *map(cells, document.arms))]
    widths = [max(cell_len(row[at]) for row in grid) for at in range(len(HEAD))]
    fits = sum(widths) + 2 * (len(widths) - 1) <= width
    below = [at for at in range(len(HEAD)) if at not in _FIRST_LINE]
    lines = []
    for row, arm in zip(grid, (None, *document.arms), strict=True):
        places = [list(range(len(HEAD)))] if fits else [list(_FIRST_LINE), below]
        for indent, columns in enumerate(places):
            text = Text("    " * indent + _joined(row, columns, widths), style="" if arm else "bold")
            if arm is not None and arm.difference is not None and any(row[at] for at in columns):
                text.highlight_words([row[6]], _STYLES[arm.difference.verdict])
            if text.plain.strip():
                lines.append(text)
    return [*lines, Text("")]


def _joined(row: tuple[str, ...], columns: list[int], widths: list[int]) -> str:
    padded: list[str] = []
    for at in columns:
        space = " " * (widths[at] - cell_len(row[at]))
        if not padded and not row[at] and at:  # a second line that has no difference to show
            continue
        padded.append(space + row[at] if at in _RIGHT else row[at] + space)
    return "  ".join(padded).rstrip()


def facts(document: SweepDocument) -> list[tuple[str, str]]:
    """Below the table, on screen and page: (subject, sentence)."""
    found = [("teacher", _of_teacher(document))] if document.teachers else []
    if document.data:
        counts = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in document.data.counts.items())
        times = "once" if document.test_opened == 1 else f"{document.test_opened} times"
        found.append(("data", f"{document.data.source}: {counts} images; test opened {times} by runs that share this store"))
    found += [("note", text) for text in document.notes]
    found += [("left out", text) for text in _left_out(document)]
    found += [("failed", text) for text in failures(document)]
    found.append(("how", how(document)))
    return [*found, ("sweep", f"{document.sweep}, {duration(document.seconds)}"), ("command", document.command)]


def failures(document: SweepDocument) -> list[str]:
    """A sentence for each error, with the runs that it ended."""
    ended: dict[str, list[str]] = {}
    for arm in document.arms:
        for run in arm.runs:
            if (error := run.error) is not None:
                what = f"{error.where}: {error.what}" if error.where else error.what
                more = "".join(f"; {text}" for text in (error.seen, error.fix and f"try: {error.fix}") if text)
                ended.setdefault(what + more, []).append(f"{arm.name}, seed {run.seed}")
    return [f"{'; '.join(runs)}: {what}" for what, runs in ended.items()]


def _of_teacher(document: SweepDocument) -> str:
    said = []
    for one in document.teachers:
        parts = ((one.test_top1, "test"), (one.held_out_top1, "held-out"))
        said.append(
            ", ".join(f"{percent(part.value)} {name}" for part, name in parts if part is not None and part.value is not None)
        )
    return f"top-1 {'; '.join(said)}" if len(said) < 4 else f"{len(said)} teachers"


def _left_out(document: SweepDocument) -> list[str]:
    by_keys: dict[str, list[str]] = {}
    for arm in document.arms:
        if arm.left_out:
            by_keys.setdefault(", ".join(arm.left_out), []).append(arm.name)
    return [f"distill.{{{keys}}} of the recipe, for {', '.join(names)}: another method's" for keys, names in by_keys.items()]


def how(document: SweepDocument) -> str:
    """What stands behind the numbers, in sentences."""
    over = {arm.difference.over for arm in document.arms if arm.difference}
    compared = sum(arm.difference is not None for arm in document.arms)
    said = ["top-1 in percent of the test images, fp32 student, best epoch by held-out; ± is the standard error over seeds"]
    if "seeds" in over:
        said.append("differences are paired by seed, intervals are Student's t over seeds: other trainings, the same test images")
    if "images" in over:
        said.append("one seed: intervals are over images (paired, Bonett-Price) and say nothing about another training")
    if any(arm.test_top1 and arm.test_top1.n < len(arm.runs) for arm in document.arms):
        said.append("means over some of the seeds only compare badly; a difference is over the seeds that both arms have")
    if compared > 4:
        said.append(f"of {compared} comparisons at 95 %, one in twenty looks like more than noise by chance")
    places = {(run.device, run.threads) for arm in document.arms for run in arm.runs if run.seconds is not None}
    if len(places) > 1:
        said.append(f"trained on {', '.join(sorted(f'{where} (threads: {n})' for where, n in places))}: times compare badly")
    cost = f"time and images of the training are relative to {document.baseline}"
    return "; ".join([*said, f"{cost}; what a teacher that learns costs is in the time only"])
