"""Progress: a bar on a terminal, plain lines with the time left elsewhere, nothing when quiet."""

import signal

import pytest

from edgekd.cli import progress
from edgekd.cli.progress import PLAIN_EVERY_S, ProgressLog
from edgekd.core import Interrupted
from edgekd.core.signals import interruptible, undisturbed
from edgekd.pipeline import Row, steps

STEP = next(steps(("cpu",)))


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def told(log, clock, *progressed, row=None):
    """Start, then (seconds later, done, total), then the end."""
    log({"event": "start", "step": "teacher"})
    for later, done, total in progressed:
        clock.now += later
        log({"event": "progress", "step": "teacher", "done": done, "total": total, "note": "loss 0.5"})
    log({"event": "end", "step": "teacher", "status": "done", "row": row or Row(STEP, "done", key="abc", seconds=40.0)})


def test_elsewhere_than_on_a_terminal_there_are_plain_lines_with_the_time_left(clock, capsys):
    with ProgressLog() as log:
        told(log, clock, (1.0, 1, 8), (PLAIN_EVERY_S, 3, 8), (1.0, 4, 8))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["teacher: 3/8, about 25 s left, loss 0.5", "teacher: done in 40 s"]


def test_the_time_left_of_a_resumed_training_counts_only_the_steps_of_this_process(clock, capsys):
    with ProgressLog() as log:
        told(log, clock, (1.0, 60, 80), (PLAIN_EVERY_S, 70, 80))
    assert capsys.readouterr().err.splitlines()[0] == "teacher: 70/80, about 10 s left, loss 0.5"


def test_before_anything_is_done_no_time_is_promised(clock, capsys):
    with ProgressLog() as log:
        told(log, clock, (PLAIN_EVERY_S, 0, 3))
    assert capsys.readouterr().err.splitlines()[0] == "teacher: 0/3, loss 0.5"


def test_quiet_says_nothing(clock, capsys):
    with ProgressLog(-1) as log:
        told(log, clock, (PLAIN_EVERY_S, 1, 2))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("verbosity", "said"), [(0, "teacher: reused, made 1 m 30 s ago"),
                                                 (1, "teacher: reused, made 1 m 30 s ago  key abc")])  # fmt: skip
def test_a_reused_step_says_how_old_it_is_and_verbose_its_key(clock, capsys, verbosity, said):
    with ProgressLog(verbosity) as log:
        told(log, clock, row=Row(STEP, "cached", key="abc", seconds=40.0, age_s=90.0))
    assert capsys.readouterr().err.splitlines() == [said]


def test_a_failed_step_says_why_and_no_name_can_style_or_steer_the_terminal(clock, capsys):
    with ProgressLog() as log:
        told(log, clock, row=Row(STEP, "failed", why="[red]a/\x1b[2Jb.png[/red] is broken"))
    assert capsys.readouterr().err.splitlines() == ["teacher: failed: [red]a/\\x1b[2Jb.png[/red] is broken"]


def test_a_note_is_a_line_of_its_own(clock, capsys):
    with ProgressLog() as log:
        log({"event": "note", "text": "data: the images changed"})
    assert capsys.readouterr().err == "data: the images changed\n"


def test_on_a_terminal_a_bar_moves_and_is_gone_at_the_end(clock, capsys, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    with ProgressLog() as log:
        log({"event": "start", "step": "teacher"})
        log({"event": "progress", "step": "teacher", "done": 3, "total": 8, "note": "loss 0.5"})
        (task,) = log._bar.tasks
        assert (task.description, task.completed, task.total, task.fields["note"]) == ("teacher", 3, 8, "loss 0.5")
        log({"event": "end", "step": "teacher", "status": "done", "row": Row(STEP, "done", seconds=1.0)})
        assert not log._bar.tasks
    assert "3/8" not in capsys.readouterr().err  # the bar, not the plain lines


@pytest.fixture
def under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


def test_a_run_under_nohup_outlives_its_terminal_and_still_ends_when_asked(under_nohup):
    with pytest.raises(Interrupted) as caught, interruptible():
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.exit_code == 143


def test_a_signal_waits_until_the_report_is_written():
    with pytest.raises(KeyboardInterrupt), undisturbed():
        signal.raise_signal(signal.SIGINT)
        written = True
    assert written


def test_the_handlers_of_signals_are_put_back_after_a_walk():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with pytest.raises(Interrupted) as caught, interruptible():
        signal.raise_signal(signal.SIGTERM)
    assert caught.value.exit_code == 143
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before
