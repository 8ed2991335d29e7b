"""``edgekd recipes [cp NAME]``: the shipped recipes, to read and to start from."""

from __future__ import annotations

from pathlib import Path

import click

from edgekd.core.errors import InputError
from edgekd.core.files import write_atomic
from edgekd.core.nearest import did_you_mean


@click.group(invoke_without_command=True)
@click.pass_context
def recipes(ctx: click.Context) -> None:
    """List the shipped recipes, or copy one."""
    if ctx.invoked_subcommand is None:
        shipped = _shipped()
        width = max(map(len, shipped), default=0)
        for name, path in sorted(shipped.items()):
            click.echo(f"{name:<{width}}  {_first_line(path)}")


@recipes.command()
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def cp(name: str, file: Path | None) -> None:
    """Copy the recipe NAME to FILE (default: its own name, here), to be changed. An existing file is never overwritten."""
    shipped = _shipped()
    if name not in shipped:
        what = f"no shipped recipe '{name}'{did_you_mean(name, shipped)}"
        raise InputError(what, seen=name, fix="edgekd recipes lists them")
    target = file or Path()
    target = target / shipped[name].name if target.is_dir() else target
    if target.exists():
        raise InputError("the file exists, and is left alone", where=str(target), fix="give another FILE")
    write_atomic(target, shipped[name].read_bytes())
    click.echo(f"{target}: now change data, student, targets and gates to yours, then run: edgekd check {target}")


def _shipped() -> dict[str, Path]:
    """By name, with the folder in it: beside the package in a checkout, else where pip put the distribution's data files."""
    from importlib import metadata  # 25 ms that --help need not wait for

    beside = Path(__file__).parents[2] / "recipes"
    if beside.is_dir():
        return {path.relative_to(beside).with_suffix("").as_posix(): path for path in beside.rglob("*.yaml")}
    try:
        files = metadata.files("edgekd") or []
    except metadata.PackageNotFoundError:
        return {}
    names = {file: file.as_posix().partition("share/edgekd/recipes/")[2] for file in files}
    found = {name: Path(str(file.locate())) for file, name in names.items() if name.endswith(".yaml")}
    return {name.removesuffix(".yaml"): path for name, path in found.items() if path.is_file()}


def _first_line(path: Path) -> str:
    return path.read_text(encoding="utf-8").split("\n", 1)[0].removeprefix("#").strip()
