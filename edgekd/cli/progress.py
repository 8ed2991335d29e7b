"""Progress on stderr: a bar with the time left on a terminal, plain lines with the time left elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from edgekd.core.duration import in_words
from edgekd.core.printable import printable

PLAIN_EVERY_S = 10.0


class _Pace:
    """Of one step under way. first: when it was first heard of, and how far it was then."""

    def __init__(self, task: TaskID | None) -> None:
        self.task, self.last_line = task, time.monotonic()
        self.first: tuple[float, float] | None = None


class ProgressLog:
    """A listener for the runner, also for several at once whose steps have names of their own; a context manager.

    verbosity: -1 quiet, 0 normal, 1 with keys.
    """

    def __init__(self, verbosity: int = 0) -> None:
        self.verbosity = verbosity
        self._console = Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._under_way: dict[str, _Pace] = {}

    def __enter__(self) -> ProgressLog:
        if self.verbosity >= 0 and sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"))
            self._bar = Progress(
                *columns, TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=self._console, transient=True
            )
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, event: Mapping[str, Any]) -> None:
        if self.verbosity < 0:
            return
        {"start": self._start, "progress": self._progress, "end": self._end, "note": self._note}[event["event"]](event)

    def _start(self, event: Mapping[str, Any]) -> None:
        task = self._bar.add_task(event["step"], total=None, note="") if self._bar is not None else None
        self._under_way[event["step"]] = _Pace(task)

    def _progress(self, event: Mapping[str, Any]) -> None:
        done, total, note = event.get("done", 0), event.get("total"), str(event.get("note", ""))
        step = self._under_way[event["step"]]
        now, first = time.monotonic(), step.first is None
        began, done_then = step.first = step.first or (now, done)
        if self._bar is not None and step.task is not None:
            if first:  # a resumed training starts in its middle, which is no pace
                self._bar.reset(step.task, completed=done, total=total)
            self._bar.update(step.task, completed=done, total=total, note=note)
        elif total and now - step.last_line >= PLAIN_EVERY_S:
            step.last_line = now
            pace = [(now - began) / (done - done_then)] if done > done_then else []
            eta = [f"about {in_words(one * (total - done))} left" for one in pace]
            self._line(f"{event['step']}: " + ", ".join([f"{done}/{total}", *eta, *([note] if note else [])]))

    def _end(self, event: Mapping[str, Any]) -> None:
        step = self._under_way.pop(event["step"], None)
        if self._bar is not None and step is not None and step.task is not None:
            self._bar.remove_task(step.task)
        row = event["row"]
        if row.status == "cached":
            text = f"reused, made {in_words(row.age_s)} ago"
        elif row.status == "done":
            text = f"done in {in_words(row.seconds or 0.0)}"
        else:
            text = f"{row.status}: {row.why}"
        key = f"  key {row.key}" if self.verbosity > 0 and row.key else ""
        self._line(f"{event['step']}: {text}{key}")

    def _note(self, event: Mapping[str, Any]) -> None:
        self._line(event["text"])

    def _line(self, text: str) -> None:
        (self._bar.console if self._bar is not None else self._console).print(printable(text), markup=False, soft_wrap=True)
