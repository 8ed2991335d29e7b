"""YAML 1.2 text to plain data with the place of every key and value. Builds dicts, lists, text and numbers, never an object.

Reads ruamel's event stream lazily, so that depth, size and expansion of aliases are capped before they cost anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent, DocumentStartEvent, NodeEvent, ScalarEvent, SequenceStartEvent

from edgekd.core import RecipeError
from edgekd.recipe.problem import Path as Keys
from edgekd.recipe.problem import shown
from edgekd.recipe.source import Place, Places, snippet

MOST_VALUES = 10_000  # keys and values of a recipe, aliases counted as often as they are used
MOST_DEPTH = 24

# The core schema of YAML 1.2.2, section 10.3.2.
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOL = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class _Node(NamedTuple):
    place: Place
    value: Any  # a scalar, a list of nodes, or a dict of key -> (place of the key, node)


class Parsed(NamedTuple):
    data: Any
    places: dict[Keys, Places]


@dataclass
class _Stop(Exception):
    """Something a recipe must not hold, at a place."""

    place: Place
    what: str
    fix: str | None = None


def parse(text: str, name: str, *, one_line: bool = False) -> Parsed:
    """``name`` stands before line and column in errors; with ``one_line`` (a ``--set`` value) it stands alone.

    Raises RecipeError: not YAML, a duplicate key, a tag, NaN or infinity, an alias bomb, nesting without end.
    """
    try:
        events = YAML(typ="safe", pure=True).parse(text)
        node = _document(_Events(events))
        places: dict[Keys, Places] = {}
        return Parsed(_plain(node, (), node.place, places), places)
    except _Stop as stop:
        place, what, fix = stop.place, stop.what, stop.fix
    except MarkedYAMLError as error:
        place, what, fix = _syntax(error, text)
    except YAMLError as error:
        place, what, fix = _strange_letter(error, text)
    if one_line:
        raise RecipeError(what, where=name, fix=fix)
    raise RecipeError(what, where=f"{name}:{place.line}:{place.column}", fix=fix, snippet=snippet(text, place))


class _Events:
    """The event stream with a count of values, the anchors seen, and the event read last."""

    def __init__(self, events: Iterator[Any]) -> None:
        self.events, self.count, self.anchors = events, 0, dict[str, _Node | None]()

    def next(self) -> Any:
        return next(self.events)

    def next_node(self) -> Any:
        self.count += 1
        event = next(self.events)
        if self.count > MOST_VALUES:
            raise _Stop(_place(event), f"a recipe of more than {MOST_VALUES:,} values")
        if tag := None if isinstance(event, AliasEvent) else getattr(event, "tag", None):
            written = shown(str(tag).replace("tag:yaml.org,2002:", "!!"))
            raise _Stop(_place(event), f"a tag ({written}): a recipe holds plain values only", "leave the tag out")
        return event


def _document(events: _Events) -> _Node:
    events.next()  # start of the stream
    if not isinstance(events.next(), DocumentStartEvent):
        raise _Stop(Place(1, 1), "the recipe is empty", "edgekd recipes cp mobilenetv2_jetson copies one to start from")
    node = _node(events, events.next_node(), 0)
    events.next()  # end of the document
    event = events.next()
    if isinstance(event, DocumentStartEvent):
        raise _Stop(_place(event), "a second document: a recipe is one", "remove the '---' and what follows")
    return node


def _node(events: _Events, event: Any, depth: int) -> _Node:
    place = _place(event)
    if depth > MOST_DEPTH:
        raise _Stop(place, f"nested deeper than {MOST_DEPTH} levels")
    if isinstance(event, AliasEvent):
        found = events.anchors.get(event.anchor)
        if found is None:
            inside = "stands inside what it names" if event.anchor in events.anchors else "names nothing above"
            raise _Stop(place, f"the alias '*{event.anchor}' {inside}")
        return _Node(place, found.value)
    if event.anchor:
        events.anchors[event.anchor] = None
    if isinstance(event, ScalarEvent):
        if not event.value.isprintable() and any("\ud800" <= letter <= "\udfff" for letter in event.value):
            raise _Stop(place, "half a character (a lone \\ud800...\\udfff), which no file can hold")
        node = _Node(place, _scalar(event.value, place) if event.style is None else event.value)
    elif isinstance(event, SequenceStartEvent):
        node = _Node(place, _items(events, depth))
    else:
        node = _Node(place, _pairs(events, depth))
    if event.anchor:
        events.anchors[event.anchor] = node
    return node


def _items(events: _Events, depth: int) -> list[_Node]:
    items = []
    while isinstance(event := events.next_node(), NodeEvent):
        items.append(_node(events, event, depth + 1))
    return items


def _pairs(events: _Events, depth: int) -> dict[str, tuple[Place, _Node]]:
    pairs: dict[str, tuple[Place, _Node]] = {}
    while isinstance(event := events.next_node(), NodeEvent):
        place = _place(event)
        if not isinstance(event, ScalarEvent):
            raise _Stop(place, "a key must be a word")
        key = event.value
        if key == "":
            raise _Stop(place, "a key is empty", "a value with ':' in it needs quotes")
        if key == "<<" and event.style is None:
            raise _Stop(place, "merge keys (<<) are not part of YAML 1.2", "write the keys out")
        if key in pairs:
            raise _Stop(place, f"duplicate key {shown(key)}; the first is on line {pairs[key][0].line}", "remove one of the two")
        pairs[key] = (place, _node(events, events.next_node(), depth + 1))
    return pairs


def _plain(node: _Node, path: Keys, key: Place, places: dict[Keys, Places]) -> Any:
    if len(places) >= MOST_VALUES:
        raise _Stop(key, f"aliases make this more than {MOST_VALUES:,} values")
    if len(path) > MOST_DEPTH:
        raise _Stop(key, f"nested deeper than {MOST_DEPTH} levels")
    empty = (
        node.value is None and node.place.line > key.line
    )  # "key:" and nothing: YAML puts the null where the next thing starts
    places[path] = Places(key, key if empty else node.place)
    if isinstance(node.value, dict):
        return {name: _plain(child, (*path, name), at, places) for name, (at, child) in node.value.items()}
    if isinstance(node.value, list):
        return [_plain(child, (*path, index), child.place, places) for index, child in enumerate(node.value)]
    return node.value


def _scalar(text: str, place: Place) -> Any:
    if _NULL.fullmatch(text):
        return None
    if found := _BOOL.fullmatch(text):
        return found[1] is not None
    if _OCTAL_OR_HEX.fullmatch(text):
        return _whole(int(text, 0), place) if len(text) < 32 else _whole(2**64, place)
    if _INT.fullmatch(text):
        return _whole(int(text), place) if len(text) < 32 else _whole(2**64, place)
    if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        number = float(text.replace(".", "", 1)) if _NOT_FINITE.fullmatch(text) else float(text)
        if not math.isfinite(number):
            raise _Stop(place, f"{shown(text)[1:-1]} is not a number a recipe can hold")
        return number
    return text


def _whole(number: int, place: Place) -> int:
    if not -(2**63) <= number < 2**63:
        raise _Stop(place, "a whole number of more than 64 bits")
    return number


def _place(event: Any) -> Place:
    return Place(event.start_mark.line + 1, event.start_mark.column + 1)


_MARKER = re.compile(r"(<<<<<<<|>>>>>>>|=======)( |$)")
_PLAINLY: list[tuple[str, str, str | None]] = [  # part of ruamel's message -> what a person did
    (r"found character '\t'", "a tab where YAML wants spaces", "indent with spaces"),
    ("mapping values are not allowed", "a ':' where none can be", "quote a value with ': ' in it, or mend the indentation"),
    ("could not find expected ':'", "this line has no ':'", "write key: value"),
    ("but found '}'", "a '}' that closes nothing", None),
    ("but found ']'", "a ']' that closes nothing", None),
    ("expected <block end>", "this does not line up with the lines above", "indent keys of one section alike"),
    ("expected ',' or '}'", "a '}' or ',' is missing before this", None),
    ("expected ',' or ']'", "a ']' or ',' is missing before this", None),
    ("found unexpected end of stream", "a quote is never closed", None),
    ("but found '<stream end>'", "the file ends in the middle of a value", None),
    ("cannot start any token", "a value cannot start with this character", "put the value in quotes"),
    ("expected '<document start>'", "text after the end of the recipe", None),
]  # fmt: skip


def _syntax(error: MarkedYAMLError, text: str) -> tuple[Place, str, str | None]:
    for number, line in enumerate(text.split("\n"), 1):
        if _MARKER.match(line):
            return Place(number, 1), "a merge conflict that was not resolved", "keep one side and remove the marker lines"
    at, began = error.problem_mark, error.context_mark
    problem = str(error.problem or error.context)
    found = next(((what, fix) for part, what, fix in _PLAINLY if part in problem), (f"not YAML: {problem}", None))
    what, fix = found
    if began and ("never closed" in what or "has no" in what or "file ends" in what):
        at = began
    elif began and at and began.line != at.line and "missing before" in what:
        what += f" (opened on line {began.line + 1})"
    return Place(at.line + 1, at.column + 1) if at else Place(1, 1), what, fix


def _strange_letter(error: YAMLError, text: str) -> tuple[Place, str, str | None]:
    position = getattr(error, "position", 0)
    before = text[:position]
    place = Place(before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)
    letter = f"U+{ord(text[position]):04X}" if position < len(text) else "a letter"
    return place, f"the character {letter} cannot stand in YAML", "a recipe is a text file"
