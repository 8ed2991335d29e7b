"""A device behind a real ssh does what this machine does, and what goes wrong on the way is told with what mends it."""

import os
import shutil
import sys
import threading
import time

import numpy as np
import pytest
from sshd import descendants

from edgekd.core import DeviceError, EnvironmentProblem, IntegrityError
from edgekd.targets import MeasuringPlan, Reach, connect
from edgekd.targets.transport import openssh, remote

QUICK = MeasuringPlan(rounds=2, queries=20, discard=2, round_s=0.0)
CACHE = ".cache/edgekd"


def until(true, seconds=20):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_device_elsewhere_answers_as_this_machine_does_bit_for_bit(board, local, models, images):
    with connect(local, Reach()) as here:
        identity, logits = here.probe()["identity"], here.infer(models["int8"], images)
    with board() as there:
        assert there.probe()["identity"] == identity
        assert len(there.build(models)["fp32"].layers) > 0
        assert np.array_equal(there.infer(models["int8"], images), logits)
        rounds = there.measure(models, images[:1], QUICK)["rounds"]
    assert {name: [len(one) for one in each] for name, each in rounds.items()} == {"fp32": [20, 20], "int8": [20, 20]}


def test_the_work_folder_is_private_and_gone_afterwards_and_nobody_works_there(sshd, board):
    with board() as connection:
        work = sshd.home / CACHE / "work"
        (folder,) = work.iterdir()
        assert str(folder) == connection._transport.workdir
        assert [one.stat().st_mode & 0o777 for one in (folder, work.parent)] == [0o700, 0o700]
    assert not list(work.iterdir()) and not sshd.agents()
    until(lambda: not sshd.sessions())  # the shared connection is closed, too


@pytest.fixture
def sent(monkeypatch):
    """Bytes that each ssh process was given to send, [first, last), in order; without the requests."""
    ranges, run = [], openssh.OpenSsh.run

    def seen(self, command, stdin, *given):
        if hasattr(stdin, "fileno"):
            ranges.append((stdin.tell(), os.fstat(stdin.fileno()).st_size))
        return run(self, command, stdin, *given)

    monkeypatch.setattr(openssh.OpenSsh, "run", seen)
    return ranges


@pytest.fixture
def large(tmp_path):
    path = tmp_path / "large.bin"
    path.write_bytes(np.random.default_rng(0).bytes(3_000_000))
    return path


STALLS = """#!/bin/sh
[ -e {home}/stalled ] && exec /bin/cat "$@"
/usr/bin/head -c 1000000; touch {home}/stalled; exec sleep 30
"""


def test_a_transfer_that_is_cut_goes_on_where_it_was(sshd, board, program, sent, large):
    path = program("cat", STALLS.format(home=f"'{sshd.home}'"))
    sshd.restart(environment={"HOME": str(sshd.home), "PATH": f"{path.parent}:/usr/bin:/bin"})
    (sshd.home / "stalled").touch()
    with board() as connection:
        sent.clear()
        (sshd.home / "stalled").unlink()
        cutter = threading.Thread(target=lambda: (until((sshd.home / "stalled").exists), sshd.cut()))
        cutter.start()
        connection._transport.put(large, "large.bin")
        cutter.join()
        assert sent == [(0, 3_000_000), (1_000_000, 3_000_000)]
        assert (sshd.home / connection._transport.workdir / "large.bin").read_bytes() == large.read_bytes()


def test_what_the_device_has_is_not_sent_again_and_what_is_damaged_there_is(sshd, board, sent, large):
    for expected in ([(0, 3_000_000)], [], [(0, 3_000_000)]):
        with board() as connection:
            sent.clear()
            connection._transport.put(large, "large.bin")
            assert sent == expected
            (kept,) = [one for one in (sshd.home / CACHE / "sent").iterdir() if one.stat().st_size == 3_000_000]
            assert (sshd.home / connection._transport.workdir / "large.bin").read_bytes() == large.read_bytes()
        if expected == []:
            content = bytearray(kept.read_bytes())
            content[7] ^= 1
            kept.write_bytes(content)


def test_of_what_was_sent_the_oldest_goes_and_work_folders_of_dead_runs_do(sshd, board, monkeypatch, tmp_path):
    monkeypatch.setattr(remote, "MOST_SENT_FILES", 3)
    old, young = sshd.home / CACHE / "work/old", sshd.home / CACHE / "work/young"
    for folder in (old, young):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 2 * 86400,) * 2)
    with board() as connection:
        for number in range(3):
            (tmp_path / "file").write_text(str(number))
            connection._transport.put(tmp_path / "file", f"file-{number}")
        names = [one.read_bytes()[:1] for one in (sshd.home / CACHE / "sent").iterdir()]
    assert (old.exists(), young.exists(), sorted(names)) == (False, True, [b"0", b"1", b"2"])


HANGS = """#!/bin/sh
case "$*" in *" agent {verb} "*) ;; *) exec {python} "$@";; esac
shift 2
exec {python} -E -c '
import sys, time
sys.path.insert(0, "edgekd.pyz")
from edgekd_device import __main__, agent, children
def hang(request):
    children.start(["sleep", "600"])
    open("../../hangs", "w").close()
    time.sleep(600)
for verb in ("probe", "build", "measure", "infer"):
    setattr(agent, "_" + verb, hang)
sys.exit(__main__.main(sys.argv[1:]))' "$@"
"""
VERBS = {
    "probe": lambda device, models, images: device.probe(),
    "build": lambda device, models, images: device.build(models),
    "measure": lambda device, models, images: device.measure(models, images, QUICK),
    "infer": lambda device, models, images: device.infer(models["fp32"], images),
}


@pytest.mark.parametrize(("verb", "killed"), [("probe", "ssh"), ("build", "sshd"), ("measure", "ssh"), ("infer", "sshd")])
def test_a_connection_that_dies_ends_the_call_and_leaves_no_agent_behind(sshd, board, program, models, images, verb, killed):
    python = program("python", HANGS.format(verb=verb, python=sys.executable))

    def kill():
        until((sshd.home / CACHE / "hangs").exists)
        assert len(sshd.agents()) >= 2  # with its child
        if killed == "sshd":
            return sshd.cut()
        for pid in descendants(os.getpid(), "ssh"):
            os.kill(pid, 9)

    killer = threading.Thread(target=kill)
    with board(python=str(python)) as connection, pytest.raises(DeviceError, match="connection to the device was lost") as lost:
        killer.start()
        VERBS[verb](connection, models, images)
    killer.join()
    assert (lost.value.where, lost.value.exit_code) == (f"board: {verb}", 6)
    assert "goes on where this stopped" in lost.value.fix
    until(lambda: not sshd.agents(), 10)


def refused(board, kind=DeviceError, **changes):
    with pytest.raises(kind) as error, board(**changes):
        pass
    assert error.value.fix and error.value.seen and "\n" not in error.value.seen
    assert error.value.where.startswith("board: ")
    return error.value


def test_an_unknown_host_key_is_never_accepted_for_the_user(sshd, board):
    sshd.know()
    error = refused(board)
    assert (error.what, error.exit_code) == ("this machine does not know the device's host key yet", 6)
    assert f"ssh -F '{sshd.config}' edge-board-7 true" in error.fix and "Host key verification failed" in error.seen
    assert not (sshd.folder / "known_hosts").read_text()


def test_another_host_key_is_told_as_what_it_may_be_and_nothing_removes_it(sshd, board):
    sshd.know(sshd.folder / "other_key.pub")
    error = refused(board)
    assert error.what == "the host key of the device is not the one this machine knows"
    assert "somebody stands in between" in error.fix and "keygen -R" not in error.fix


def test_a_key_the_device_does_not_know_is_refused_with_the_way_to_tell_it(sshd, board):
    (sshd.folder / "authorized_keys").write_text("")
    error = refused(board)
    assert error.what == "the device does not let us in" and "ssh-copy-id" in error.fix and "Permission denied" in error.seen


def test_nobody_listening_is_told(sshd, board):
    sshd.stop()
    error = refused(board)
    assert error.what == "nothing listens at the device's ssh port" and "Connection refused" in error.seen


def test_a_host_that_nobody_knows_is_told(board):
    error = refused(board, host="no-such-host.invalid")
    assert error.what == "the name of the device's host cannot be resolved"


def test_a_host_that_takes_the_connection_and_says_nothing_is_told_in_time(board, monkeypatch):
    import socket

    monkeypatch.setattr(openssh, "CONNECT_S", 1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = refused(board, host=f"127.0.0.1:{silent.getsockname()[1]}")
    assert error.what == "the device does not answer"


@pytest.mark.parametrize("size", [10, 100_000], ids=["small", "large"])
def test_a_full_disk_is_told_as_one(sshd, board, tmp_path, size):
    from edgekd.core.files import sha256_of

    (tmp_path / "file").write_bytes(b"x" * size)
    with board() as connection:
        (sshd.home / CACHE / "sent" / f"{sha256_of(tmp_path / 'file')}.part").symlink_to("/dev/full")
        with pytest.raises(DeviceError, match="the device's disk is full") as full:
            connection._transport.put(tmp_path / "file", "file")
    assert "No space left on device" in full.value.seen and full.value.where == "board: send"


def test_a_folder_that_cannot_be_made_is_told(sshd, board):
    (sshd.home / ".cache").write_text("a file")
    assert refused(board).what == "no work folder can be made on the device"


def test_bytes_that_arrive_as_others_every_time_are_an_integrity_error(sshd, board, program):
    path = program("sha256sum", "#!/bin/sh\necho 0000000000000000  -\n")
    sshd.restart(environment={"HOME": str(sshd.home), "PATH": f"{path.parent}:/usr/bin:/bin"})
    error = refused(board, IntegrityError)
    assert (error.what, error.exit_code) == ("a file arrived with other bytes, twice", 7)


def test_without_sha256sum_python_compares(sshd, board, program):
    path = program("sha256sum", "#!/bin/sh\nexit 127\n")
    sshd.restart(environment={"HOME": str(sshd.home), "PATH": f"{path.parent}:/usr/bin:/bin"})
    with board() as connection:
        assert connection.probe()["identity"]["versions"]["python"]


BANNER = """#!/bin/sh
echo 'Welcome to the board'; echo EDGEKD-0-BEGIN; echo 'and a warning' >&2
sh -c "$SSH_ORIGINAL_COMMAND"; echo 'Goodbye'
"""


def test_a_shell_that_prints_around_everything_does_no_harm(sshd, board, program, local, models, images):
    path = program("banner", BANNER)
    sshd.restart(command=f"'{path}'")
    with connect(local, Reach()) as here, board() as there:
        assert np.array_equal(there.infer(models["fp32"], images), here.infer(models["fp32"], images))


@pytest.mark.parametrize(
    ("text", "what", "seen"),
    [
        ("#!/bin/sh\nexec no-such-python\n", "on the device that runs", "no-such-python"),
        ("#!/bin/sh\necho 3.5\n", "on the device is too old", "3.5"),
        (None, "there is no", "not found"),
    ],
)
def test_a_device_without_a_python_that_runs_the_agent_is_told(board, program, text, what, seen):
    error = refused(board, python=str(program("python", text)) if text else "no-python-of-this-name")
    assert what in error.what and seen in error.seen and "board.python" in error.fix and error.exit_code == 6


def test_a_python_in_the_home_of_the_device_is_found(board, program):
    program("my python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    with board(python="~/bin/my python") as connection:
        assert connection.probe()["identity"]


def test_a_python_there_without_numpy_is_the_devices_trouble_and_not_this_machines(board, program, models, images):
    python = program("bare", f'#!/bin/sh\nexec {sys.executable} -I -S "$@"\n')
    with board(python=str(python)) as connection, pytest.raises(EnvironmentProblem) as missing:
        connection.infer(models["fp32"], images)
    assert missing.value.where.startswith("board: infer") and missing.value.what.endswith("(on the device, not here)")
    assert "pip install" in missing.value.fix


def test_an_agent_that_is_killed_there_is_not_taken_for_a_lost_connection(board, program):
    kills = f'#!/bin/sh\ncase "$*" in *" agent "*) kill -9 $$;; esac\nexec {sys.executable} "$@"\n'
    with board(python=str(program("kills", kills))) as connection, pytest.raises(DeviceError, match="killed by SIGKILL"):
        connection.probe()


def test_a_result_that_is_not_there_any_more_is_told(sshd, board):
    with board() as connection:
        with pytest.raises(DeviceError, match="not on the device any more"):
            connection._transport.get("logits-0.npy")
        shutil.rmtree(connection._transport.workdir)
        with pytest.raises(DeviceError, match="the work folder on the device is gone"):
            connection.probe()


def test_without_ssh_this_machine_is_at_fault(board, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentProblem, match="ssh cannot be started here"), board():
        pass
