"""What the published bindings of one version have, and classes cut down to that."""

import enum as standard
import functools
import json
import os
from pathlib import Path

TABLES = Path(__file__).parents[3] / "fixtures/tensorrt_api"


def version():
    """(10, 3, 0): of the table in use."""
    return tuple(int(one) for one in os.environ["FAKE_TENSORRT_VERSION"].split("."))


@functools.cache
def published():
    """{class: {member: argument names or None}}."""
    return json.loads((TABLES / (os.environ["FAKE_TENSORRT_VERSION"] + ".json")).read_text())["classes"]


@functools.cache
def enum(name):
    """As pybind11's: members of the table alone, int() works."""
    return standard.IntEnum(name, sorted(published()[name]), start=0, module="tensorrt")


def only_published(kind):
    """The class without the public names that this version does not have; the others take the published arguments alone."""
    known = published()[kind.__name__]
    for name, value in list(vars(kind).items()):
        if not name.startswith("_") and name not in known:
            delattr(kind, name)
        elif known.get(name) is not None and callable(value):
            setattr(kind, name, _checked(name, value, known[name]))
    return kind


def _checked(name, function, arguments):
    names = [one.rstrip("=") for one in arguments]
    required = sum(not one.endswith("=") for one in arguments)

    @functools.wraps(function)
    def call(self, *given, **named):
        if not required <= len(given) + len(named) <= len(names) or set(named) - set(names[len(given) :]):
            raise TypeError(f"{name}(): incompatible function arguments; it takes {arguments}")
        return function(self, *given, **named)

    return call
