"""Local paths that a file tells the world: torch's exporter notes stack traces at every node."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from onnx import ModelProto

# Names of nodes may begin with a slash too (/features/3/Relu): a path is one of a user, of an installation, or to a source.
_WORD = r"""[^\s"',;:]"""
_PATH = re.compile(
    rf"(?:/(?:home|Users|root|mnt|media|tmp|private)/|\b[A-Za-z]:[\\/]){_WORD}{{1,200}}|/?{_WORD}{{0,200}}site-packages|/{_WORD}{{1,200}}\.py\b"
)
_STRING, _MESSAGE, _BYTES = 9, 11, 12  # protobuf's numbers of types
_WEIGHTS = ("raw_data", "external_data")  # any bytes may turn up in weights; what external_data names is a rule of its own
_MOST = 100_000  # characters looked at of one word: a stack trace has a hundredth of that


def leaked_paths(model: ModelProto) -> list[str]:
    """The paths, each once, in order."""
    return list(dict.fromkeys(path for _, path in leaks(model)))


def leaks(model: ModelProto) -> Iterator[tuple[str, str]]:
    """(name of the node or tensor, "" for the model, and a path in its notes or names): one for each that has any."""
    own = [place for place in (str(Path.home()), str(Path.cwd())) if len(place) > 4]
    for thing in (*model.graph.node, *model.graph.initializer, *model.graph.value_info):
        if path := _path_in(thing, own):
            yield thing.name, path
    rest = ModelProto()
    rest.CopyFrom(model)
    for emptied in ("node", "initializer", "value_info"):
        rest.graph.ClearField(emptied)
    if path := _path_in(rest, own):
        yield "", path


def words(message: Any, *kinds: int) -> Iterator[str | bytes]:
    """All strings in a message (and bytes, where asked), also in nested graphs and functions. One that is no UTF-8 is bytes."""
    open_ = [message]
    while open_:
        for kind, value in open_.pop().ListFields():
            several = value if hasattr(value, "append") else [value]
            if kind.type == _MESSAGE:
                open_ += several
            elif kind.type in (_STRING, *kinds) and kind.name not in _WEIGHTS:
                yield from several


def _path_in(message: Any, own: list[str]) -> str | None:
    """The first."""
    for word in words(message, _BYTES):
        text = word[:_MOST].decode("utf-8", "replace") if isinstance(word, bytes) else word[:_MOST]
        if found := _PATH.search(text):
            return found[0]
        if place := next((place for place in own if place in text), None):
            return place
    return None
