"""With ``--json`` a command prints one JSON document on success and on failure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click

from edgekd.core import EdgekdError


def print_json(document: Mapping[str, Any]) -> None:
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


@contextmanager
def json_errors(as_json: bool) -> Iterator[None]:
    """Turn an EdgekdError into its JSON document and exit status when ``as_json``; else let it through to the error screen."""
    try:
        yield
    except EdgekdError as error:
        if not as_json:
            raise
        print_json({"schema": 1, "exit_code": error.exit_code, "error": error.as_json()})
        raise SystemExit(error.exit_code) from error
