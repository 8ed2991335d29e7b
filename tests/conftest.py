"""For all tests: none depends on how busy the machine is, on a draw of lots, or on how pytest was started.

``pytest --hypothesis-profile=explore`` draws new examples instead, and more of them.
"""

import signal

import pytest
import sshd as fake_sshd
from hypothesis import settings

# A shell's background jobs have Ctrl-C ignored, nohup's the end of the terminal; children inherit that, and some tests send them.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

settings.register_profile("same every time", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)
settings.load_profile("same every time")


@pytest.fixture
def sshd(tmp_path):
    """A device of one's own at the other end of a real ssh, with a home that has spaces; see tests/fakes/sshd.py."""
    fake_sshd.require()
    device = fake_sshd.Sshd(tmp_path / "a device")
    device.start()
    yield device
    device.stop()
