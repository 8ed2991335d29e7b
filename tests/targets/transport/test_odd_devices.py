"""Odd shells, folders and neighbours at either end of a real ssh do no harm, or are told as what they are."""

import os
import tempfile

import pytest

from edgekd.core import DeviceError, EnvironmentProblem, IntegrityError
from edgekd.core.files import sha256_of
from edgekd.targets.transport import openssh, remote

CACHE = ".cache/edgekd"


@pytest.mark.parametrize("name", ["a b", "100%h", "${HOME}", "a'b"])
def test_a_temporary_folder_here_whose_name_ssh_would_read_its_own_way_does_no_harm(board, monkeypatch, name):
    with tempfile.TemporaryDirectory(prefix=name, dir="/tmp") as short:  # a long one holds no socket, whatever its name
        monkeypatch.setattr(tempfile, "tempdir", short)
        with board() as connection:
            assert connection.probe()["identity"]


@pytest.mark.parametrize("text", ["#!/bin/sh\nexec no-such-python\n", "#!/bin/sh\necho 2.7\n"], ids=["none", "too old"])
def test_a_device_that_is_refused_for_its_python_keeps_no_work_folder(sshd, board, program, text):
    with pytest.raises(DeviceError, match="on the device"), board(python=str(program("python", text))):
        pass
    assert not list((sshd.home / CACHE / "work").iterdir())


@pytest.mark.parametrize(
    ("text", "status", "seen"),
    [
        ("#!/bin/sh\necho This account is not available.\nexit 1\n", 1, "This account is not available."),
        ("#!/bin/sh\nexit 0\n", 0, "nothing"),
    ],
)
def test_a_login_shell_that_ends_before_our_command_is_not_taken_for_a_lost_connection(sshd, board, program, text, status, seen):
    sshd.restart(command=f"'{program('shell', text)}'")
    with pytest.raises(DeviceError, match=f"login shell on the device ended with {status}") as ended, board():
        pass
    assert ended.value.seen == seen and "edge-board-7 true must end with 0" in ended.value.fix


def test_a_shell_there_that_is_killed_while_it_opens_a_folder_is_told(sshd, board, program):
    path = program("mktemp", "#!/bin/sh\nkill -9 $PPID\n")
    program("mkdir", "#!/bin/sh\nkill -9 $PPID\n")
    sshd.restart(environment={"HOME": str(sshd.home), "PATH": f"{path.parent}:/usr/bin:/bin"})
    with pytest.raises(DeviceError) as killed, board():
        pass
    assert killed.value.exit_code == 6


NOISE = """#!/bin/sh
head -c 100000 /dev/zero | tr '\\0' x >&2
echo "last words" >&2
exit 255
"""


def test_what_was_said_last_is_shown_however_much_was_said_before(sshd, board, program):
    sshd.restart(command=f"'{program('noise', NOISE)}'")
    with pytest.raises(DeviceError) as lost, board():
        pass
    assert lost.value.seen.endswith("last words")


def test_a_device_that_fills_stderr_without_end_is_stopped(sshd, board, program, monkeypatch):
    monkeypatch.setattr(openssh, "_MOST_NOISE", 1 << 20)
    path = program("noise", "#!/bin/sh\nexec yes >&2\n")
    sshd.restart(command=f"'{path}'")
    with pytest.raises(DeviceError, match="sends more than was asked for"), board():
        pass


def test_another_run_that_sends_the_same_file_at_once_damages_nothing(sshd, board, program, tmp_path):
    (tmp_path / "file").write_bytes(b"x" * 100_000)
    part = sshd.home / CACHE / "sent" / f"{sha256_of(tmp_path / 'file')}.part"
    neighbour = f"[ -e '{part}' ] && printf y >> '{part}'"
    path = program("sha256sum", f"#!/bin/sh\n{neighbour}\nexec /usr/bin/sha256sum\n")
    sshd.restart(environment={"HOME": str(sshd.home), "PATH": f"{path.parent}:/usr/bin:/bin"})
    with board() as connection:
        part.write_bytes(b"x" * 10)
        connection._transport.put(tmp_path / "file", "file")
        assert sha256_of(sshd.home / connection._transport.workdir / "file") == sha256_of(tmp_path / "file")


def test_the_oldest_go_whatever_ls_is_told_to_write_there(sshd, board, monkeypatch, tmp_path):
    monkeypatch.setattr(remote, "MOST_SENT_FILES", 3)
    sshd.restart(environment={"HOME": str(sshd.home), "TIME_STYLE": "long-iso"})
    with board() as connection:
        for number in range(3):
            (tmp_path / "file").write_text(str(number))
            connection._transport.put(tmp_path / "file", f"file-{number}")
        assert len(list((sshd.home / CACHE / "sent").iterdir())) == 3


def test_a_disk_that_is_full_here_is_this_machines_trouble(board, monkeypatch):
    with board() as connection:
        full = os.statvfs_result((4096, 4096, 10, 0, 0, 10, 10, 10, 0, 255))
        monkeypatch.setattr(os, "fstatvfs", lambda handle: full)
        assert connection.probe()["identity"]  # nothing was missing
        monkeypatch.setattr(remote, "bracketed", lambda script, token: "true")
        with pytest.raises(EnvironmentProblem) as trouble:
            connection.probe()
    assert trouble.value.exit_code == 5


def test_a_login_shell_that_takes_what_is_sent_is_named_as_a_cause(sshd, board, program):
    path = program("shell", '#!/bin/sh\nread -r taken\nexec sh -c "$SSH_ORIGINAL_COMMAND"\n')
    sshd.restart(command=f"'{path}'")
    with pytest.raises(IntegrityError, match="other bytes, twice") as taken, board():
        pass
    assert "a read in ~/.bashrc" in taken.value.fix
