"""``edgekd doctor [--host H]``: what works here and on a device, what is missing, and the command that mends it."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekd.cli import options
from edgekd.cli.screen import print_json
from edgekd.core.signals import interruptible

if TYPE_CHECKING:
    from edgekd.targets.doctor import Check


@click.command()
@click.option("--host", metavar="DEST", help="Look at this device too: [user@]host[:port], or a name of your ssh config.")
@options.ssh_config
@options.python
@options.as_json
def doctor(host: str | None, ssh_config: Path | None, python: str, as_json: bool) -> None:
    """Look at this machine, and with --host at a device: what works, what is missing, and the command that mends it.

    Nothing is changed. Exits with 0 when all works that edgekd needs to check, benchmark and predict; else with the code of the
    first thing that does not: 5 where something is missing here or on the device, 6 where the device cannot be reached or used.
    What only training needs does not count.
    """
    from edgekd.targets import Host
    from edgekd.targets.doctor import checks_here, checks_there, worst_code

    where = Host.parse(re.sub(r"^\w[\w.-]*=", "", host), where="--host") if host is not None else None  # NAME=, as pipeline takes
    with interruptible():
        checks, device = list(checks_here(with_host=where is not None)), None
        ssh_works = not any(one.name == "ssh" and one.fails for one in checks)
        if where is not None and ssh_works:
            found, device = checks_there(where, ssh_config, python)
            checks += found
    code = worst_code(checks)
    if as_json:
        print_json(_document(checks, device, code))
    else:
        click.echo("\n".join(_lines(checks, device, code)))
    sys.exit(code)


def _document(checks: list[Check], device: str | None, code: int) -> dict[str, Any]:
    first = next((one for one in checks if one.fails), None)
    error = None
    if first is not None:
        kind = {5: "environment", 6: "device"}[code]
        what, where = f"{first.name} {_STATES[first.state]}", f"{first.where}: {first.name}"
        error = {"code": kind, "what": what, "where": where, "seen": first.seen, "fix": first.fix or None}
    return {"schema": 1, "exit_code": code, "error": error, "device": device, "checks": [one.as_json() for one in checks]}


_STATES = {"missing": "is missing", "wrong": "does not work", "unknown": "could not be looked at"}


def _lines(checks: list[Check], device: str | None, code: int) -> list[str]:
    """The screen: a line a check, what mends it below; the last line is the result."""
    from edgekd.core.printable import printable

    rows = [("where", "what", "state", "seen"), *((one.where, one.name, one.state, one.seen) for one in checks)]
    widths = [max(len(row[at]) for row in rows) for at in range(3)]
    indent = " " * (sum(widths) + 6)
    lines = []
    for row, fix in zip(rows, ["", *(one.fix for one in checks)], strict=True):
        lines.append("  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]).rstrip())
        lines += [f"{indent}mend: {fix}"] if fix else []
    failed = [f"{one.where} {one.name}" for one in checks if one.fails]
    less = [f"{one.where} {one.name}" for one in checks if one.state not in ("ok", "unknown") and not one.fails]
    without = f"; it does without {', '.join(less)}" if less else ""
    said = f"needed and not there: {', '.join(failed)} (exit {code})" if failed else "all that edgekd needs works"
    return [*map(printable, lines), "", printable(said + without + (f"; in a recipe: device: {device}" if device else ""))]
