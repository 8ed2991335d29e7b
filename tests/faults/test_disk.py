"""A disk that is full, too small, or not ours to write on: exit 5 with the place and what to do, and the next run goes on."""

import errno
import os
import resource
import shutil
import sys

import pytest
from as_nobody import as_nobody

from edgekd import data
from edgekd.core import EnvironmentProblem, InputError


class FullDisk:
    """Sees every file operation of this process through Python's own audit events; from the ``room``-th that needs room below
    ``folder`` on, there is none."""

    NEED_ROOM = ("open", "os.mkdir", "os.rename", "os.link")

    def __init__(self):
        self.folder, self.room, self.refused = None, 0, []
        sys.addaudithook(self.hear)  # for the life of the process; without a folder it lets all pass

    def fill(self, folder, room):
        self.folder, self.room, self.refused = os.fspath(folder), room, []

    def hear(self, event, arguments):
        if self.folder is None or event not in self.NEED_ROOM:
            return
        path = os.fspath(arguments[0]) if not isinstance(arguments[0], int) else ""
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR):
            return
        if str(path).startswith(self.folder):
            self.room -= 1
            if self.room < 0:
                self.refused.append(f"{event} {path}")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


@pytest.fixture(scope="module")
def full_disk():
    return FullDisk()


def ended(walk):
    """The error that a walk ends in, returned or raised."""
    try:
        return walk().error
    except EnvironmentProblem as error:
        return error


def outcomes(walked):
    return [row.outcome for row in walked.rows]


@pytest.mark.parametrize("toy_chain", [False], indirect=True, ids=["in the parent"])
def test_a_disk_full_from_any_file_operation_on_is_told_and_the_next_run_goes_on(walk, full_disk, tmp_path, monkeypatch):
    first = walk()
    monkeypatch.setattr(data, "describe", lambda *given, **named: first.described)  # the same each time, and slow
    clean = outcomes(first)
    room, told = 0, []
    while True:
        shutil.rmtree(tmp_path / "run")
        shutil.rmtree(tmp_path / "store")
        full_disk.fill(tmp_path, room)
        try:
            told.append(ended(walk))
        finally:
            full_disk.folder = None
        if not full_disk.refused:
            break
        assert isinstance(told[-1], EnvironmentProblem), (full_disk.refused, told[-1])
        assert (told[-1].exit_code, told[-1].what) == (5, "no space left on the disk"), full_disk.refused
        assert told[-1].where.startswith(str(tmp_path)) and told[-1].fix
        assert outcomes(walk()) == clean, full_disk.refused
        room += 1
    assert room > 20 and told[-1] is None


def test_a_file_that_may_not_grow_is_told_and_the_next_run_goes_on(walk, monkeypatch):
    monkeypatch.setenv("TOY", "large")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, hard))  # the kernel refuses what goes beyond; a child inherits it
    try:
        refused = walk()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (refused.error.exit_code, "larger than this process may write" in refused.error.what) == (5, True)
    assert "ulimit -f" in refused.error.fix and refused.error.where
    assert [row.status for row in refused.rows] == ["done", "failed"]
    assert [row.status for row in walk().rows] == ["cached", "done"]


@pytest.mark.parametrize("toy_chain", [False], indirect=True, ids=["in the parent"])
@pytest.mark.parametrize("forbidden", [".", "run", "store", "run/teacher"])
def test_a_folder_one_may_not_write_to_is_told_with_its_place(walk, tmp_path, forbidden):
    walk()
    folder = tmp_path / forbidden
    with as_nobody(tmp_path):
        for name in ("run/.lock", "run/state.json", "run/teacher/first.txt", "run/distill/second.txt"):
            (tmp_path / name).unlink()
        if forbidden == ".":
            shutil.rmtree(tmp_path / "run")
        folder.chmod(0o500)
        refused = ended(lambda: walk("seed=1"))
        folder.chmod(0o700)
        assert (refused.exit_code, refused.what) == (5, "permission denied")
        assert refused.where.startswith(str(folder)) and refused.fix
        assert [row.status for row in walk("seed=1").rows][-1] == "done"


@pytest.mark.parametrize("toy_chain", [False], indirect=True, ids=["in the parent"])
def test_a_run_folder_that_is_a_file_is_bad_input(walk, tmp_path):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="no folder can be made there"):
        walk()
    assert (tmp_path / "run").read_text() == "mine"
