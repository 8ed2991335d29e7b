"""The JSON document of a run (schema 1): everything a report shows, complete on success and on failure."""

from __future__ import annotations

import os
import platform
import re
import shlex
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from edgekd import __version__
from edgekd.core import DeviceError, Verdict
from edgekd.pipeline.keys import library_versions
from edgekd.pipeline.verdict import run_verdict, target_verdicts
from edgekd.pipeline.walk import Row, Walk
from edgekd.recipe import Recipe
from edgekd.targets import Reach, hosts_in


def run_document(walk: Walk, recipe: Recipe, run_dir: Path, *, resume: list[str], started: float) -> dict[str, Any]:
    """resume: the words of the command that goes on with this run. started: seconds since 1970."""
    verdict, exit_code = run_verdict(walk, recipe)
    made = any(row.step.stage.name == "bundle" and row.status in ("done", "cached") for row in walk.rows)
    described = walk.described
    return {
        "schema": 1,
        "verdict": verdict.value if verdict else None,
        "exit_code": exit_code,
        **({"error": walk.error.as_json()} if walk.error else {}),
        "run": str(run_dir),
        "recipe": recipe.as_json(),
        "resume": shlex.join(resume),
        "unmeasured": [target.name for target in target_verdicts(walk, recipe) if target.verdict.value == "NOT_MEASURED"],
        "targets": [target.as_json() for target in target_verdicts(walk, recipe)],
        **({"fit": walk.fit.as_json()} if walk.fit else {}),
        "stages": [_row(row) for row in walk.rows],
        **({"bundle": str(run_dir / "bundle")} if made and verdict is not Verdict.FAIL else {}),
        "report": str(run_dir / "report.html"),
        "until": walk.control.until,
        "smoke": walk.control.smoke,
        "keep_going": walk.control.keep_going,
        "environment": environment(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started)),
        "seconds": round(time.time() - started, 3),
        "test_opened": walk.test_opened,
        "data": {"source": recipe.data.source, **described.as_json()} if described else None,
    }


def without_hosts(document: Mapping[str, Any], reach: Reach) -> dict[str, Any]:
    """The document as it is kept and shared: where it names a device's host, it says HOST."""
    hosts = reach.hosts.values()
    names = {text for host in hosts for text in (str(host), host.address, host.name)}
    if not names:
        return dict(document)
    kept = {**document, "resume": _without(_any_of(names), document["resume"])}
    if error := document.get("error"):
        said = hosts_in(error["seen"] or "") if error["code"] == DeviceError.code else ()
        whole = re.compile(rf"(?<![\w.-]){_any_of({*names, *said})}(?![\w-])")
        kept["error"] = {key: whole.sub("HOST", text) if key in ("seen", "fix") and text else text for key, text in error.items()}
    return kept


def _any_of(names: Collection[str]) -> str:
    return f"(?:{'|'.join(map(re.escape, sorted(names, key=len, reverse=True)))})"


def _without(any_name: str, command: str) -> str:
    """The command line with HOST for the hosts that its --host and its --set of targets name; other words may be alike."""
    words = shlex.split(command)
    named = re.compile(rf"""(\bhost["']?\s*[:=]\s*["']?){any_name}(?![\w.-])""")
    for at, flag in enumerate(words[:-1]):
        if flag == "--host":
            words[at + 1] = re.sub(rf"={any_name}$", "=HOST", words[at + 1])
        elif flag == "--set" and words[at + 1].startswith("targets"):
            words[at + 1] = named.sub(r"\1HOST", words[at + 1])
    return shlex.join(words)


def environment() -> dict[str, Any]:
    """The machine this runs on, for the document."""
    cpus = len(os.sched_getaffinity(0))
    return {"system": platform.platform(), "cpus": cpus, "edgekd": __version__, **library_versions()}


def _row(row: Row) -> Mapping[str, Any]:
    folder = row.step.name
    return {
        "name": row.step.stage.name,
        **({"target": row.step.target} if row.step.target else {}),
        "status": row.status,
        "key": row.key,
        **({"source": row.source} if row.source else {}),
        "seconds": round(row.seconds, 3) if row.seconds is not None else None,
        **({"age_s": round(row.age_s, 3)} if row.age_s is not None else {}),
        **({"why": row.why} if row.why else {}),
        "artifacts": [{**one.as_json(), "path": f"{folder}/{one.path}"} for one in row.outcome.artifacts],
        "measurements": [one.as_json() for one in row.outcome.measurements],
        "gates": [one.as_json() for one in row.judgements],
        "notes": dict(row.outcome.notes),
    }
