"""A request to end this process: a training may finish its step and be kept first; everything else ends at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
LAST_WORDS_S = 10.0  # for the step under way and its checkpoint, once nobody waits for the result any more


class Stop:
    """One for a process. asked: the number of the first signal that came while a training was under way."""

    def __init__(self) -> None:
        self.asked: int | None = None
        self._under_way = False
        self._then: Callable[[], None] = lambda: None

    def listen(self) -> None:
        """Take the signals that ask a process to end. Call it from the main thread."""
        for number in SIGNALS:
            signal.signal(number, self._on_signal)

    @contextmanager
    def waits(self, then: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Within, a signal only sets ``asked`` and calls ``then``: the caller looks at it often, and ends when it is set."""
        self._under_way, self._then = True, then
        try:
            yield
        finally:
            self._under_way = False

    def now_or_soon(self) -> None:
        """Nobody reads the result any more: end at once, or when a training under way has been kept; soon in any case."""
        if not self._under_way:
            os._exit(128 + signal.SIGHUP)
        self._ask(signal.SIGHUP)
        timer = threading.Timer(LAST_WORDS_S, os._exit, (128 + signal.SIGHUP,))
        timer.daemon = True
        timer.start()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if not self._under_way:
            end_by(number)
        self._ask(number)

    def _ask(self, number: int) -> None:
        if self.asked is None:
            self.asked = number
            self._then()


def end_by(number: int) -> NoReturn:
    """End this process by the signal itself, so that its parent sees what ended it."""
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # only where the signal is blocked


STOP = Stop()
