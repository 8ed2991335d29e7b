"""``edgekd devices [show NAME]``: the devices a recipe can name, and one of them as the file a user starts an own one from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgekd.cli import options
from edgekd.cli.screen import print_json
from edgekd.core.printable import printable

if TYPE_CHECKING:
    from edgekd.targets import Profile

_HEAD = ("device", "reached", "gpu", "memory", "int8", "runtimes", "tensorrt", "power modes")


@click.group(invoke_without_command=True)
@options.as_json
@click.pass_context
def devices(ctx: click.Context, as_json: bool) -> None:
    """List the devices a recipe can name, or show one.

    A profile of your own is one JSON file in the folder named at the end, or in the folder EDGEKD_DEVICES. A device that is not
    the machine edgekd runs on is reached by ssh: edgekd pipeline RECIPE --host TARGET=[user@]HOST.
    """
    if ctx.invoked_subcommand is not None:
        return
    from edgekd.targets import own_folder, profiles

    known = profiles()
    if as_json:
        listed = [one.as_json() for one in known]
        print_json({"schema": 1, "exit_code": 0, "devices": listed, "own_folder": str(own_folder())})
        return
    rows = [_HEAD, *map(_row, known)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    click.echo(f"your own: {printable(str(own_folder()))}/*.json; edgekd devices show NAME prints one to start from")


@devices.command()
@click.argument("name")
@options.as_json
def show(name: str, as_json: bool) -> None:
    """Print the profile NAME as JSON: what a file of your own holds, under another name and with aliases of its own.

    With --json it stands in a document, under "device", as every command's does.
    """
    from edgekd.targets import profile

    shown = profile(name).as_json()
    print_json({"schema": 1, "exit_code": 0, "device": shown} if as_json else shown)


def _row(one: Profile) -> tuple[str, ...]:
    versions = list(dict.fromkeys(one.tensorrt.values()))
    gpu = " ".join(part for part in (one.arch, one.compute_capability) if part)
    return (
        printable(one.name),
        "here" if one.is_local else "by ssh",
        printable(gpu) or ("NVIDIA" if "tensorrt" in one.runtimes else "—"),
        f"{one.memory_gib:g} GiB" if one.memory_gib else "—",
        "yes" if one.int8_native else "no: use fp16",
        ", ".join(one.runtimes),
        printable(versions[0] if len(versions) == 1 else f"{versions[0]} to {versions[-1]}") if versions else "—",
        printable(", ".join(one.power_modes[:2]) + (", …" if len(one.power_modes) > 2 else "")) or "—",
    )
