"""Runs of a sweep: one after another in this process, or several at once, each in a process of its own with cores of its own."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from edgekd.core import EdgekdError, EnvironmentProblem, Interrupted
from edgekd.core.files import write_atomic, write_json
from edgekd.core.signals import interruptible, undisturbed
from edgekd.pipeline.control import Control
from edgekd.pipeline.document import run_document
from edgekd.pipeline.making import Listener
from edgekd.pipeline.runner import Runner
from edgekd.pipeline.store import Store
from edgekd.pipeline.worker import GRACE_S
from edgekd.recipe import Recipe
from edgekd.report import FILE_NAME, render_html

Heard = queue.Queue[tuple[str, dict[str, Any] | None]]
ROW = ("status", "why", "key", "seconds", "age_s")  # of a Row, for who only watches


@dataclass(frozen=True)
class Order:
    """One run: what is walked, how far, into which folder. name: what a person calls it; resume: the command that goes on."""

    name: str
    recipe: Recipe
    folder: Path
    store: Path
    until: str
    resume: tuple[str, ...]


def take(order: Order, listen: Listener) -> EdgekdError | None:
    """Walk it and leave its report in its folder. Returns the error that ended it, or raises what kept it from starting."""
    started = time.time()
    control = Control(until=order.until, keep_going=True, exams=True)
    walk = Runner(order.recipe, order.folder, Store(order.store), listen, control).walk()
    with undisturbed():
        document = run_document(walk, order.recipe, order.folder, resume=list(order.resume), started=started)
        write_json(order.folder / FILE_NAME, document)
        write_atomic(order.folder / "report.html", render_html(document, order.folder))
    return walk.error


def take_all(orders: Sequence[Order], jobs: int, listen: Listener, finished: Callable[[Order, EdgekdError | None], None]) -> None:
    """Take every order, ``jobs`` at once. listen: gets their events, each step under the order's name; finished: each result.

    A run that fails does not stop the others. Raises Interrupted, when all have ended and what they trained is kept.
    """
    if jobs == 1 or len(orders) == 1:
        for order in orders:
            error = _outcome(order, listen)
            if isinstance(error, Interrupted):
                raise error
            finished(order, error)
        return
    waiting, free, under_way = list(orders), list(range(jobs)), dict[str, _Child]()
    heard: Heard = queue.Queue()
    try:
        while waiting or under_way:
            while waiting and free:
                order = waiting.pop(0)
                under_way[order.name] = _Child(order, free.pop(0), jobs, heard)
            name, event = heard.get()
            if event is not None:
                listen({**event, **({"row": SimpleNamespace(**event["row"])} if "row" in event else {})})
                continue
            child = under_way.pop(name)
            free.append(child.place)
            finished(child.order, child.result())
    finally:
        _end(list(under_way.values()))


def _outcome(order: Order, listen: Listener) -> EdgekdError | None:
    def named(event: Mapping[str, Any]) -> None:
        listen({**event, "step": f"{order.name}: {event['step']}"} if "step" in event else event)

    try:
        return take(order, named)
    except EdgekdError as error:
        return error


def _cores(place: int, jobs: int) -> list[int]:
    """The cores of one of so many jobs: its share, or one that others have too where there are too few."""
    mine = sorted(os.sched_getaffinity(0))
    share = max(1, len(mine) // jobs)
    return [mine[(place * share + at) % len(mine)] for at in range(share)]


class _Child:
    """A process that takes one order on the cores of one place among ``jobs``. Its events come to ``heard`` under the order's
    name, and None when it has ended."""

    def __init__(self, order: Order, place: int, jobs: int, heard: Heard) -> None:
        self.order, self.place = order, place
        self._said: dict[str, Any] = {}
        safe_path = ["-P"] if sys.version_info >= (3, 11) else []  # the user's folder must not shadow a library
        self._process = subprocess.Popen(
            [sys.executable, *safe_path, "-c", "from edgekd.pipeline.apart import main; main()"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, text=True,
        )  # fmt: skip
        recipe = {**order.recipe.model_dump(mode="json"), "folder": str(order.recipe.folder)}
        paths = {"folder": str(order.folder), "store": str(order.store)}
        request = {**vars(order), **paths, "recipe": recipe, "cores": _cores(place, jobs)}
        with contextlib.suppress(BrokenPipeError):  # it has died already: ``result`` says so
            print(json.dumps(request), file=self._process.stdin, flush=True)
        threading.Thread(target=self._listen, args=(heard,), daemon=True).start()

    def result(self) -> EdgekdError | None:
        """What ended it; only when it has ended."""
        self._close()
        if "error" in self._said:
            return EdgekdError.from_json(self._said["error"]) if self._said["error"] else None
        code = self._process.returncode
        if code == -signal.SIGKILL:
            what = "the process of this run was killed (SIGKILL), most likely by the system for want of memory"
            return EnvironmentProblem(what, fix="fewer --jobs")
        how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return EdgekdError(f"the process of this run died ({how})", fix="please report it")

    def end(self) -> None:
        """Ask it to; a training is kept first."""
        self._process.terminate()

    def wait(self) -> None:
        """Until it has ended; killed if it does not in time, or at a second signal. Its worker then ends by itself."""
        try:
            self._process.wait(2 * GRACE_S)
        except (subprocess.TimeoutExpired, Interrupted):
            self._process.kill()
            self._process.wait()
        self._close()

    def _listen(self, heard: Heard) -> None:
        for line in self._process.stdout or ():
            with contextlib.suppress(ValueError):  # it died while it spoke
                self._said = json.loads(line)
                if "event" in self._said:
                    heard.put((self.order.name, self._said))
        self._process.wait()
        heard.put((self.order.name, None))

    def _close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def _end(children: Sequence[_Child]) -> None:
    for child in children:
        child.end()
    for child in children:
        child.wait()


def main() -> None:
    """The child: one order as a line of JSON on stdin, events and then the result as lines on stdout. When the parent dies, stdin
    ends, and so does this process."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what anything prints is not an answer
    request = json.loads(sys.stdin.readline())
    os.sched_setaffinity(0, request.pop("cores"))  # compute.threads: auto are then this run's share
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def answer(event: Mapping[str, Any]) -> None:
        row = {"row": {name: getattr(event["row"], name) for name in ROW}} if "row" in event else {}
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps({**event, **row}), file=answers)

    paths = {name: Path(request[name]) for name in ("folder", "store")}
    order = Order(**{**request, **paths, "recipe": Recipe.from_json(request["recipe"]), "resume": tuple(request["resume"])})
    with interruptible():
        error = _outcome(order, answer)
        answer({"error": error.as_json() if error is not None else None})


def _end_with_parent() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)
