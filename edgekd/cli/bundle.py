"""``edgekd bundle verify BUNDLE``: every byte, every golden case."""

from __future__ import annotations

from pathlib import Path

import click

from edgekd.cli.screen import print_json


@click.group()
def bundle() -> None:
    """Check a bundle before you rely on it."""


@bundle.command()
@click.argument("folder", metavar="BUNDLE", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def verify(folder: Path, as_json: bool) -> None:
    """Compare every file of BUNDLE with its manifest, then run every model and engine on its golden cases.

    Names all differences at once and exits with 7 if there is one; what this machine cannot run is named, not judged. Hashes show
    that a bundle is unchanged, not who made it.
    """
    from edgekd.bundle import verify as verify_bundle
    from edgekd.core import IntegrityError
    from edgekd.core.printable import printable

    found = verify_bundle(folder)
    count = len(found.differences)
    what = f"the bundle is not what it was made as: {count} difference{'s' * (count > 1)}"
    error = IntegrityError(what, where=str(folder), fix="copy or make the bundle again") if count else None
    if as_json:
        failed = {"error": error.as_json()} if error else {}
        document = {"schema": 1, "exit_code": error.exit_code if error else 0, **found.as_json(), **failed}
        print_json(document)
        raise SystemExit(document["exit_code"])
    for difference in found.differences:
        click.echo(printable(difference), err=True)
    if error:
        raise error
    for flavour, golden in found.golden.items():
        fidelity = "every bit equal" if golden.sqnr_db is None else f"SQNR {golden.sqnr_db:.1f} dB"
        click.echo(f"{flavour:<8}{golden.agree} of {golden.cases} golden cases agree, {fidelity}")
    for path, why in found.not_run.items():
        click.echo(printable(f"{path} was NOT run here: {why}"))
    right = "whole, and right in all that ran here" if found.not_run else "whole and right"
    click.echo(f"{printable(str(folder))}: {right}")
