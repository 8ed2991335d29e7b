"""What the linter says of the exported files, counted for gates, kept for people."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edgekd.core import Artifact, Measurement
from edgekd.export import lint
from edgekd.stages.context import Context


def linted(
    context: Context, paths: Mapping[str, Path], oldest_tensorrt: str | None
) -> tuple[Artifact, tuple[Measurement, ...], dict[str, str]]:
    """lint.json (flavour -> findings); lint.errors and lint.warnings of all files together; a note "warning" of errors.

    paths: flavour -> file. Each file is asked the rules of the runtime it was made for.
    """
    found = lint.own_findings(paths, oldest_tensorrt)
    kept = context.keep_json("lint", {flavour: [one.as_json() for one in every] for flavour, every in found.items()})
    every = [one for findings in found.values() for one in findings]
    wrong = [one for one in every if one.severity == lint.ERROR]
    counts = {"lint.errors": len(wrong), "lint.warnings": len(every) - len(wrong)}
    measured = tuple(Measurement(name, float(count), "count", len(paths)) for name, count in counts.items())
    rules = ", ".join(dict.fromkeys(one.rule for one in wrong))
    files = ", ".join(paths[flavour].name for flavour, findings in found.items() if any(one in wrong for one in findings))
    return kept, measured, {"warning": f"the linter finds errors in {files}: {rules}; edgekd inspect tells more"} if wrong else {}
