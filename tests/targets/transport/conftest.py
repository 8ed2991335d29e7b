"""A device at the other end of a real ssh, as a target; and programs there that misbehave."""

import sys
from contextlib import contextmanager

import pytest
from sshd import NAME

from edgekd import targets


@pytest.fixture
def program(sshd):
    """Put an executable of this text on the device, before all others of its name; returns its path."""

    def write(name, text):
        path = sshd.home / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def board(sshd, local_spec):
    """Connect to the device: Python there is this one, unless changed."""

    @contextmanager
    def connected(**changes):
        spec = local_spec(**{"device": "linux", "python": sys.executable, "host": NAME, **changes})
        target, reach = targets.resolve("board", spec), targets.reach_of({"board": spec}, ssh_config=sshd.config, environment={})
        with targets.connect(target, reach) as connection:
            yield connection

    return connected
