"""Failures as a person sees them: what, where, the line, the value seen, what to do; on stderr, with the right exit code."""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from edgekd import __version__
from edgekd.core.errors import EdgekdError, EnvironmentProblem, InputError, Interrupted, RecipeError
from edgekd.core.files import disk_problems
from edgekd.core.printable import json_text, printable

MOST_PROBLEMS = 10  # of one recipe, on one screen
UNREAD = 141  # 128 + SIGPIPE: who read our output went away


def screen_of(error: EdgekdError) -> str:
    """The lines that stderr gets; no line can steer a terminal."""
    if not isinstance(error, RecipeError) or not error.others:
        return _one(error)
    problems = [error, *error.others]
    lines = [_one(problem) for problem in problems[:MOST_PROBLEMS]]
    more = f", {len(problems) - MOST_PROBLEMS} of them not shown" if len(problems) > MOST_PROBLEMS else ""
    return "\n".join([*lines, f"{len(problems)} problems{more}"])


def error_document(error: EdgekdError) -> dict[str, Any]:
    """The JSON document of a command that failed before anything could be judged: every key, nothing measured."""
    return {
        "schema": 1, "verdict": None, "exit_code": error.exit_code, "error": error.as_json(), "run": None, "recipe": None,
        "resume": shlex.join(["edgekd", *sys.argv[1:]]), "unmeasured": [], "targets": [], "stages": [], "report": None,
    }  # fmt: skip


def print_json(document: Mapping[str, Any]) -> None:
    """The one document on stdout; in UTF-8, whatever the terminal shows: that is what JSON is written in."""
    text = json_text(document) + "\n"
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode())
        sys.stdout.buffer.flush()
    else:
        sys.stdout.write(text)


def mend_streams() -> None:
    """A closed stdout or stderr becomes one nobody reads; letters that a stream cannot show become visible escapes."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123  until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def errors_on_screen(*, as_json: bool) -> Iterator[None]:
    """Ends the process with the error's exit code and its screen on stderr; with ``as_json`` also its document on stdout."""
    try:
        with disk_problems(Path.cwd()):
            yield
    except click.ClickException as error:
        error.show()
        _end(InputError(error.format_message()), as_json, shown=True)
    except (click.Abort, KeyboardInterrupt):
        _end(Interrupted(), as_json)
    except EdgekdError as error:
        _end(error, as_json)
    except MemoryError:
        _end(EnvironmentProblem("out of memory", fix="close other programs, or use smaller batches or images"), as_json)
    except Exception as error:  # noqa: BLE001  the last stop: whatever comes here is a bug, told and written down
        _end(_bug(error), as_json)


@contextmanager
def quiet_when_unread() -> Iterator[None]:
    """`edgekd ... | head` ends without a word; Ctrl-C is Interrupted."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the interpreter flushes once more at its end
        raise SystemExit(UNREAD) from None
    except KeyboardInterrupt:
        raise Interrupted from None


def _end(error: EdgekdError, as_json: bool, *, shown: bool = False) -> None:
    if not shown:
        click.echo(screen_of(error), err=True)
    if as_json:
        with suppress(OSError):  # stdout may be what failed: a full disk, a reader that went away
            print_json(error_document(error))
    raise SystemExit(error.exit_code) from None


def _one(error: EdgekdError) -> str:
    snippet = error.snippet if isinstance(error, RecipeError) else None
    lines = [printable(str(error))]
    lines += snippet.split("\n") if snippet else []
    if error.seen and not _says(f"{error}\n{snippet}", error.seen.strip("'")):
        lines.append(f"  seen: {printable(error.seen)}")
    if error.fix:
        lines.append(f"  help: {printable(error.fix)}")
    return "\n".join(lines)


def _says(text: str, seen: str) -> bool:
    """Whether ``seen`` stands in the text as a word of its own, not as a part of another."""
    return re.search(rf"(?<!\w){re.escape(seen)}(?!\w)", text) is not None


def _bug(error: Exception) -> EdgekdError:
    """An exception nobody foresaw, as an error that names the file with the traceback."""
    import platform
    import tempfile
    import traceback

    what = f"this is a bug in edgekd: {type(error).__name__}: {error}".split("\n")[0]
    facts = f"edgekd {__version__}, Python {platform.python_version()}, {platform.platform()}\n{sys.argv}\n\n"
    details = facts + "".join(traceback.format_exception(error))
    try:
        handle, name = tempfile.mkstemp(prefix="edgekd-bug-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.write(details)
    except OSError as full:
        return EdgekdError(what, fix=f"report it; the traceback could not be written ({full.strerror})")
    return EdgekdError(what, seen=f"the traceback is in {name}", fix="report it with that file")
