"""The waterfall drawn: a row a step, images that turn wrong to the left and images that turn right to the right."""

from __future__ import annotations

from edgekd.report.phrases import number
from edgekd.report.svg import Canvas, Scale, linear, nice_ticks
from edgekd.report.waterfall import ALL_EQUAL, Fall, Hop, Part

_WIDTH, _LEFT, _RIGHT, _TOP, _ROW, _HEAD = 940, 300, 320, 10, 46, 34


def waterfall(fall: Fall) -> str:
    """One inline SVG. The whiskers are the 95 % interval of the net change, paired on the same images."""
    edges = [100 * edge for part in fall.parts for hop in part.hops for edge in _edges(hop, part.n)]
    ticks = nice_ticks(min(edges, default=-1), max(edges, default=1), 6)
    x = linear(ticks[0], ticks[-1], _LEFT, _WIDTH - _RIGHT)
    bottom = _TOP + sum(_HEAD + _ROW * len(part.hops) for part in fall.parts)
    told = [f"{hop.to}: {hop.lost} lost, {hop.won} won of {part.n}" for part in fall.parts for hop in part.hops]
    canvas = Canvas(_WIDTH, bottom + 46, f"What each step costs, student.{fall.flavour}.onnx", "; ".join(told))
    for tick in ticks:
        canvas.line(x(tick), _TOP, x(tick), bottom, "grid")
        canvas.text(x(tick), bottom + 18, f"{tick:g}", "tick", "middle")
    canvas.line(x(0), _TOP, x(0), bottom, "mark")
    words = "images of 100 that turn wrong (left) and right (right); dot: net, with its 95 % interval"
    canvas.text((_LEFT + _WIDTH - _RIGHT) / 2, bottom + 40, words, "axis", "middle")
    y = float(_TOP)
    for part in fall.parts:
        canvas.text(_LEFT - 14, y + 20, f"{part.start}: top-1 {number(part.top1, 3)}", "label strong", "end")
        canvas.text(_WIDTH - _RIGHT + 14, y + 20, f"{part.n:,} {part.images} images", "tick")
        y += _HEAD
        for hop in part.hops:
            _row(canvas, x, y + _ROW / 2, hop, part)
            y += _ROW
    return canvas.markup()


def _edges(hop: Hop, n: int) -> tuple[float, ...]:
    return (0.0, -hop.lost / n, hop.won / n, -hop.high, -hop.low)


def _row(canvas: Canvas, x: Scale, y: float, hop: Hop, part: Part) -> None:
    canvas.text(_LEFT - 14, y - 2, hop.to, "label", "end")
    canvas.text(_LEFT - 14, y + 13, f"top-1 {number(hop.top1, 3)}", "tick", "end")
    lost, won = (x(100 * share) for share in (-hop.lost / part.n, hop.won / part.n))
    if hop.lost:
        canvas.rect(lost, y - 9, x(0) - lost, 18, "bar v-FAIL", f"{hop.lost:,} images turn wrong")
    if hop.won:
        canvas.rect(x(0), y - 9, won - x(0), 18, "bar v-PASS", f"{hop.won:,} images turn right")
    canvas.line(x(-100 * hop.high), y, x(-100 * hop.low), y, "whisker ink")
    canvas.dot(x(-100 * hop.drop), y, 4, "ink", f"net: drop {hop.dropped}")
    canvas.text(_WIDTH - _RIGHT + 14, y - 2, f"{hop.flips}, drop {hop.dropped}", "label")
    worst = f"; {'' if hop.worst == ALL_EQUAL else 'least at '}{hop.worst}" if hop.worst else ""
    canvas.text(_WIDTH - _RIGHT + 14, y + 13, f"{number(hop.sqnr_db, 1)} dB{worst}", "tick")
