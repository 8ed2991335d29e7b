"""Drawing as inline SVG: a canvas that escapes all text, nice ticks, linear and logarithmic axes. Colours are CSS classes."""

from __future__ import annotations

import math
from collections.abc import Callable
from xml.etree.ElementTree import Element, SubElement, tostring

Scale = Callable[[float], float]


class Canvas:
    """An SVG of ``width`` × ``height`` units that scales with the page; screen readers read ``title`` and ``summary``."""

    def __init__(self, width: int, height: int, title: str, summary: str) -> None:
        self.width, self.height = width, height
        shape = {"viewBox": f"0 0 {width} {height}", "style": f"max-width:{width}px"}
        self.root = Element("svg", {**shape, "role": "img", "class": "chart"})
        SubElement(self.root, "title").text = title
        SubElement(self.root, "desc").text = summary

    def line(self, x1: float, y1: float, x2: float, y2: float, css: str) -> None:
        SubElement(self.root, "line", {"x1": _n(x1), "y1": _n(y1), "x2": _n(x2), "y2": _n(y2), "class": css})

    def rect(self, x: float, y: float, width: float, height: float, css: str, tip: str = "") -> None:
        shape = {"x": _n(x), "y": _n(y), "width": _n(width), "height": _n(height), "class": css}
        self._tip(SubElement(self.root, "rect", shape), tip)

    def dot(self, x: float, y: float, radius: float, css: str, tip: str = "") -> None:
        self._tip(SubElement(self.root, "circle", {"cx": _n(x), "cy": _n(y), "r": _n(radius), "class": css}), tip)

    def path(self, points: list[tuple[float, float]], css: str) -> None:
        steps = " L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        SubElement(self.root, "path", {"d": f"M{steps}", "class": css})

    def text(self, x: float, y: float, words: str, css: str = "", anchor: str = "start", turn: bool = False) -> None:
        where = {"x": _n(x), "y": _n(y), "class": css, "text-anchor": anchor}
        if turn:
            where["transform"] = f"rotate(-90 {_n(x)} {_n(y)})"
        SubElement(self.root, "text", where).text = words

    def markup(self) -> str:
        return tostring(self.root, encoding="unicode")

    @staticmethod
    def _tip(shape: Element, tip: str) -> None:
        if tip:
            SubElement(shape, "title").text = tip


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def linear(low: float, high: float, start: float, end: float) -> Scale:
    """Map low…high to start…end; a range of no width maps to the middle."""
    if high == low:
        return lambda value: (start + end) / 2
    return lambda value: start + (value - low) / (high - low) * (end - start)


def logarithmic(low: float, high: float, start: float, end: float) -> Scale:
    """As ``linear`` for the logarithm; low must be positive, values below it lie at the start."""
    inner = linear(math.log10(low), math.log10(high), start, end)
    return lambda value: inner(math.log10(max(value, low)))


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round values (1, 2 or 5 times a power of ten apart) from at or below ``low`` to at or above ``high``.

    A range too narrow to label is widened by five percent a side.
    """
    largest = max(abs(low), abs(high))
    if high - low <= max(1e-12, 1e-8 * largest):
        margin = 0.05 * (largest if largest > 1e-9 else 1.0)
        low, high = low - margin, high + margin
    raw = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{at * step:.12g}") for at in range(first, last + 1)]


def log_ticks(low: float, high: float, about: int = 9) -> list[float]:
    """Round values inside low…high for a logarithmic axis: as many of 1…9 times a power of ten as ``about`` allows; low > 0.

    A range too narrow for two of them gets evenly spaced ones.
    """
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 1.5, 2, 2.5, 3, 4, 5, 6, 8), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        ticks = [float(f"{factor * 10.0**power:.6g}") for power in powers for factor in factors]
        inside = [tick for tick in ticks if low <= tick <= high]
        if len(inside) <= about:
            break
    return inside if len(inside) >= 4 else [tick for tick in nice_ticks(low, high) if low <= tick <= high]
