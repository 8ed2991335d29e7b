"""The worker: one child process for consecutive torch steps, so that the parent never loads torch and a crash has a name.

Requests come as JSON lines on stdin, answers and progress go as JSON lines to the file descriptor given as the only argument;
stdout and stderr stay free for what libraries print. When the parent dies, stdin ends and so does the worker; a training is kept
first, as it is at SIGTERM, SIGINT and SIGHUP (``stages.stop``).
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgekd.core import EdgekdError, EnvironmentProblem, Interrupted, Outcome
from edgekd.core.errors import INSTALL_TRAINING
from edgekd.core.files import disk_problems
from edgekd.recipe import Recipe
from edgekd.stages import parallel
from edgekd.stages.context import Context, Input
from edgekd.stages.stop import STOP, end_by

# How torch (GPU, Linux, Windows) and onnxruntime say it, in errors of no kind of their own.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "Failed to allocate memory")


def call_stage(entry: str, context: Context) -> Outcome:
    """Import ``module:function`` of the chain table and run it. Raises EdgekdErrors only; a stage's bug is one of code "bug"."""
    module, _, function = entry.partition(":")
    try:
        stage: Callable[[Context], Outcome] = getattr(importlib.import_module(module), function)
    except ModuleNotFoundError as error:
        raise EnvironmentProblem(f"{error.name} is not installed", where=entry, fix=INSTALL_TRAINING) from error
    try:
        with disk_problems(context.folder):
            return stage(context)
    except EdgekdError:
        raise
    except Exception as error:
        raise _told(error, entry) from error


def _told(error: Exception, entry: str) -> EdgekdError:
    text = str(error)
    if isinstance(error, MemoryError) or any(words in text for words in _NO_MEMORY):
        fix = "a smaller batch_size or image_size"
        return EnvironmentProblem("out of memory", where=entry, seen=text.partition("\n")[0] or None, fix=fix)
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return EdgekdError(what, where=entry, fix="please report it with the log named here")


def context_from_json(request: Mapping[str, Any], say: Callable[[Mapping[str, Any]], None]) -> Context:
    inputs = {
        name: Input(Outcome.from_json(one["outcome"]), Path(one["folder"])) for name, one in request["inputs"].items()
    }  # fmt: skip
    cache = Path(request["cache"]) if request["cache"] else None
    recipe, folder, checkpoint = Recipe.from_json(request["recipe"]), Path(request["folder"]), Path(request["checkpoint"])
    return Context(
        recipe, folder, inputs, request["target"], cache, say, smoke=request["smoke"], checkpoint=checkpoint,
        last=request["last"],
    )  # fmt: skip


def main() -> None:
    STOP.listen()
    answers = os.fdopen(int(sys.argv[1]), "w", buffering=1)
    requests: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read_until_parent_dies, args=(requests,), daemon=True).start()

    def answer(kind: str, value: Any) -> None:
        with contextlib.suppress(BrokenPipeError):  # a dead parent ends stdin too, and that ends this process
            answers.write(json.dumps({kind: value}) + "\n")

    while True:
        request = json.loads(requests.get())
        try:
            answer("outcome", _run(request, lambda event: answer("progress", dict(event))).as_json())
        except Interrupted:
            end_by(STOP.asked or signal.SIGTERM)
        except EdgekdError as error:
            is_bug = error.code == EdgekdError.code
            answer("error", {**error.as_json(), "traceback": traceback.format_exc() if is_bug else None})


def _run(request: Mapping[str, Any], say: Callable[[Mapping[str, Any]], None]) -> Outcome:
    context = context_from_json(request, say)
    if parallel.several(request["entry"], context.recipe):
        return parallel.run(request, context.recipe.compute.devices, say)
    return call_stage(request["entry"], context)


def _read_until_parent_dies(requests: queue.Queue[str]) -> None:
    for line in sys.stdin:
        requests.put(line)
    STOP.now_or_soon()


if __name__ == "__main__":
    main()
