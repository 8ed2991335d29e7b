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
    """The class without the public names that this version does not have."""
    known = published()[kind.__name__]
    for name in [one for one in vars(kind) if not one.startswith("_") and one not in known]:
        delattr(kind, name)
    return kind
