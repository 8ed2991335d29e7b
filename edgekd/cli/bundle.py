"""``edgekd bundle verify BUNDLE``: every byte, every golden case."""

from __future__ import annotations

from pathlib import Path

import click


@click.group()
def bundle() -> None:
    """Check a bundle before you rely on it."""


@bundle.command()
@click.argument("folder", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def verify(folder: Path, as_json: bool) -> None:
    """Compare every file of BUNDLE with its manifest, then run every model on its golden cases.

    Names all differences at once and exits with 7 if there is one. Hashes show that a bundle is unchanged, not who made it.
    """
    from edgekd.bundle import verify as verify_bundle
    from edgekd.cli.json_errors import json_errors, print_json
    from edgekd.core import IntegrityError
    from edgekd.core.printable import printable

    with json_errors(as_json):
        found = verify_bundle(folder)
    try:
        found.require()
        error = None
    except IntegrityError as problem:
        error = problem
    if as_json:
        failed = {"error": error.as_json()} if error else {}
        print_json({"schema": 1, "exit_code": error.exit_code if error else 0, **found.as_json(), **failed})
        raise SystemExit(error.exit_code if error else 0)
    if error:
        raise error
    for flavour, golden in found.golden.items():
        fidelity = "every bit equal" if golden.sqnr_db is None else f"SQNR {golden.sqnr_db:.1f} dB"
        click.echo(f"{flavour:<8}{golden.agree} of {golden.cases} golden cases agree, {fidelity}")
    click.echo(f"{printable(str(folder))}: whole and right")
