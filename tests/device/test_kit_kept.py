"""What a kit keeps and seals on a device whose power and clock nobody looks after."""

import json
import os
import time
import zipfile

import pytest

from edgekd.device import kit_calls, kit_reply
from edgekd.device.integrity import sha256_of


@pytest.fixture
def work(tmp_path):
    """A work folder with one call answered, and a file of its answer."""
    for name in (kit_calls.CALLS, kit_calls.PARTS):
        (tmp_path / name).mkdir()
    (tmp_path / "a.log").write_text("all is well")
    answer = {"request": {}, "body": {"log": {"path": "a.log", "sha256": sha256_of(tmp_path / "a.log")}}}
    kit_calls.keep(str(tmp_path), 1, answer)
    assert kit_calls.kept(str(tmp_path), 1) == answer
    return tmp_path


def seal(work):
    kit_reply.write(str(work / "reply.zip"), b"{}", {"calls": [kit_calls.kept(str(work), 1)]}, str(work))


@pytest.mark.parametrize("content", ["all is wel", "all is ill!", None])
def test_a_call_whose_files_are_not_whole_is_made_again(work, content):
    """As after a power cut: the answer reached the disk, its files did not."""
    (part,) = (work / kit_calls.PARTS).iterdir()
    part.unlink() if content is None else part.write_text(content)
    assert kit_calls.kept(str(work), 1) is None


def test_a_device_that_believes_it_is_1970_can_seal_a_reply(work, monkeypatch):
    real = time.localtime
    monkeypatch.setattr(time, "localtime", lambda _=None: real(86400))
    for part in (work / kit_calls.PARTS).iterdir():
        os.utime(part, (86400, 86400))
    seal(work)
    with zipfile.ZipFile(work / "reply.zip") as archive:
        assert archive.testzip() is None and archive.read(archive.namelist()[-1]) == b"all is well"
        assert json.loads(archive.read("reply.json"))["calls"][0]["body"]["log"]["path"] == "a.log"


def test_a_reply_that_cannot_be_finished_leaves_the_one_before_and_nothing_half(work, monkeypatch):
    seal(work)
    before = (work / "reply.zip").read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        seal(work)
    assert (work / "reply.zip").read_bytes() == before and not list(work.glob("*.tmp"))
