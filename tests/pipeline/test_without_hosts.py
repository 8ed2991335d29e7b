"""A document that is kept and shared names no device's host, however the command line named it."""

import shlex

import pytest

from edgekd.pipeline import without_hosts
from edgekd.targets import Host, Reach

REACH = Reach({"board": Host.parse("nano@linux:22")})


@pytest.mark.parametrize(
    ("word", "kept"),
    [
        ("targets.board.host=nano@linux:22", "targets.board.host=HOST"),
        ("targets.board.host= nano@linux:22", "targets.board.host= HOST"),
        ("targets.board.host='nano@linux:22'", "targets.board.host='HOST'"),
        ("targets.board={device: linux, host: nano@linux:22}", "targets.board={device: linux, host: HOST}"),
        ('targets={"board": {"host": "nano@linux:22"}}', 'targets={"board": {"host": "HOST"}}'),
        ("name=linux", "name=linux"),
    ],
)
def test_a_host_in_any_form_of_an_override_is_not_kept(word, kept):
    resume = shlex.join(["edgekd", "pipeline", "linux", "--set", word, "--host", "board=nano@linux:22"])
    words = shlex.split(without_hosts({"resume": resume}, REACH)["resume"])
    assert words == ["edgekd", "pipeline", "linux", "--set", kept, "--host", "board=HOST"]


def test_an_address_that_ssh_prints_for_an_alias_is_not_kept_and_a_version_that_looks_like_one_is():
    seen = "ssh linux: ssh: connect to host 192.168.1.20 port 2222: Connection refused (TensorRT 10.3.0.30)"
    error = {"code": "device", "what": "x", "where": "board: connect", "seen": seen, "fix": "ping 192.168.1.20, ssh nano@linux"}
    kept = without_hosts({"resume": "edgekd", "error": error}, REACH)["error"]
    assert kept["seen"] == "ssh HOST: ssh: connect to host HOST port 2222: Connection refused (TensorRT 10.3.0.30)"
    assert (kept["fix"], kept["what"], kept["code"]) == ("ping HOST, ssh HOST", "x", "device")
