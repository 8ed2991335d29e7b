"""The screen of ``edgekd inspect``: each rule that found something, where, what that means, what to do; last, the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text

from edgekd.core.printable import printable
from edgekd.report.phrases import megabytes
from edgekd.report.terminal import PIPED_WIDTH, printed, prose

_SHOWN = 4  # places of one rule, and float layers; the document has all
_STYLES = {"error": "bold red", "warning": "yellow"}
_HANG = " " * 9


def render_inspect(document: Mapping[str, Any], *, width: int = PIPED_WIDTH, color: bool = False) -> str:
    """Without a last newline. document: as ``pipeline.inspect`` makes it."""
    lines: list[Text] = []
    for findings in _by_rule(document):
        first = findings[0]
        runtimes = f"  ({' and '.join(first['runtimes'])})" if len(document["for"]) > 1 else ""
        lines.append(Text(f"{first['severity']:<9}{first['rule']}{runtimes}", style=_STYLES[first["severity"]]))
        for one in findings[:_SHOWN]:
            lines += prose(f"{_HANG}{one['node']}: {one['seen']}", width, hang=_HANG + "  ")
        if len(findings) > _SHOWN:
            lines.append(Text(f"{_HANG}and {len(findings) - _SHOWN} more"))
        lines += prose(f"{_HANG}means: {first['means']}", width, hang=_HANG + "  ")
        lines += prose(f"{_HANG}help:  {first['fix']}", width, hang=_HANG + "  ")
    if lines:
        lines.append(Text(""))
    for name, text in _facts(document):
        lines += prose(f"{name:<9}{text}", width, hang=_HANG)
    style = "bold red" if document["errors"] else "yellow" if document["warnings"] else "green"
    return printed([*lines, *(Text(line.plain, style=style) for line in prose(_result(document), width))], color)


def _by_rule(document: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    """In the document's order: errors first."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for one in document["findings"]:
        groups.setdefault(one["rule"], []).append(one)
    return list(groups.values())


def _facts(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    model, layers = document["model"], document["layers"]
    opsets = ", ".join(
        f"{version}" if domain == "ai.onnx" else f"{domain} {version}" for domain, version in model["opset"].items()
    )
    yield "file", f"{megabytes(model['bytes'])}, {model['nodes']:,} nodes, opset {opsets}"
    yield "for", f"{_purposes(document)} ({document['because']})"
    floating = [one for one in layers if one["precision"] == "float"]
    counted = f"{len(layers) - len(floating)} in int8, {len(floating)} in floating point"
    yield "layers", f"{len(layers)} convolutions and matrix products: {counted}"
    if len(floating) < len(layers):  # else the file is a float one
        for one in floating[:_SHOWN]:
            yield "", f"{one['name']}: {one['reason']}"
        if len(floating) > _SHOWN:
            yield "", f"and {len(floating) - _SHOWN} more"


def _purposes(document: Mapping[str, Any]) -> str:
    said = [" ".join(filter(None, (one.get("device"), one["runtime"], one["tensorrt"]))) for one in document["for"]]
    return " and ".join(map(printable, said))


def _result(document: Mapping[str, Any]) -> str:
    counts = [(document["errors"], "error"), (document["warnings"], "warning")]
    said = ", ".join(f"{number} {word}{'s' * (number != 1)}" for number, word in counts)
    end = f" (exit {document['exit_code']})" if document["errors"] else ""
    return printable(f"{document['verdict']}{end}: {document['model']['file']} has {said} for {_purposes(document)}")
