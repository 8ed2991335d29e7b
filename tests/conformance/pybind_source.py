"""The Python API that pybind11 source defines: classes, their members and argument names. Reads text; compiles nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator

_OPENING, _CLOSING = "([{", ")]}"
_STATEMENT = re.compile(r"py::(class_|enum_)<|\bm\.def\(|\bbaseLoggerBinding\.def\(")
_NAMED = re.compile(r'(?:\(|\{)\s*(?:m|baseLoggerBinding|module)\s*,\s*"(\w+)"')
_MEMBER = re.compile(r"\.(def\w*|value)\(")
_ARGUMENT = re.compile(r'(?:"(\w+)"_a|py::arg\("(\w+)"\))\s*(=?)')
_LOGGER = "ILogger"  # bound by a variable of its own in every version


def api_of(sources: list[str]) -> dict[str, dict[str, list[str] | None]]:
    """{class: {member: argument names, an optional one with "=" behind it; None for properties and enum values}}.

    Members of the module itself are under "". Of overloads the first is kept. "__init__" is there where Python may construct one.
    """
    found: dict[str, dict[str, list[str] | None]] = {"": {}}
    for source in sources:
        text = re.sub(r"^\s*#.*$", "", re.sub(r"//[^\n]*", "", source), flags=re.MULTILINE)
        for match in _STATEMENT.finditer(text):
            statement = text[match.start() : _end(text, match.start())]
            if statement.startswith("m.def"):
                found[""].update(dict(_members(statement[1:])))
                continue
            named = _NAMED.search(statement)
            name = named[1] if named else _LOGGER if statement.startswith("baseLoggerBinding") else None
            if name:
                own = found.setdefault(name, {})
                for member, arguments in _members(statement):
                    own.setdefault(member, arguments)
    found[_LOGGER].update(dict.fromkeys(found.get("Severity", {})))  # export_values()
    return found


def _members(statement: str) -> Iterator[tuple[str, list[str] | None]]:
    for match in _MEMBER.finditer(statement):
        content = statement[match.end() : _end(statement, match.end(), closing=True)]
        name = re.match(r'\s*"(\w+)"', content)
        if name and match[1] in ("def", "def_static"):
            yield name[1], [(one[0] or one[1]) + one[2] for one in _ARGUMENT.findall(content)]
        elif name:
            yield name[1], None
        elif match[1] == "def" and content.lstrip().startswith("py::init"):
            yield "__init__", [(one[0] or one[1]) + one[2] for one in _ARGUMENT.findall(content)]


def _end(text: str, start: int, closing: bool = False) -> int:
    """Where the statement that begins at ``start`` ends: at ";" outside brackets, or at the bracket that closes it."""
    depth, index = 0, start
    while index < len(text):
        char = text[index]
        if char == '"':
            index = _after_string(text, index)
            continue
        if char in _OPENING:
            depth += 1
        elif char in _CLOSING:
            depth -= 1
            if closing and depth < 0:
                return index
        elif char == ";" and depth <= 0:
            return index
        index += 1
    return len(text)


def _after_string(text: str, index: int) -> int:
    index += 1
    while text[index] != '"':
        index += 2 if text[index] == "\\" else 1
    return index + 1
