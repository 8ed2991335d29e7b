"""Bench: time one ONNX file on a device, outside a recipe; beside another one where that is asked, in the same rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekd import targets
from edgekd.core import InputError, Measurement, Verdict
from edgekd.pipeline.one_model import Made, OnDevice, described, opened
from edgekd.stages.latency import latencies, power_of, speedup, throughput, timing_facts

# A ratio of one process varies by 4 % (standard deviation) where a small model is timed on a shared machine; see docs/design.md.
ROUNDS, ROUND_S = 15, 1.5
PLAN = targets.MeasuringPlan(ROUNDS, round_s=ROUND_S)
SEED = 0  # of the input's values: a network is not faster for some than for others, save for denormals and branches


def bench(model: Path, against: Path | None, asked: OnDevice, say: Callable[[str], None] = lambda text: None) -> dict[str, Any]:
    """The document of ``edgekd bench``: {"verdict", "exit_code", "target", "identity", "models", "speedup", "suspect", ...}.

    verdict: None, as nothing is judged, or INCONCLUSIVE (exit code 4) where the conditions are suspect. speedup: how many times
    faster ``model`` is than ``against``. Raises what ``opened`` and a measurement do.
    """
    files = [targets.read_onnx(path) for path in (model, against) if path is not None]
    if len({one.one_query for one in files}) > 1:
        seen = " and ".join(str(list(one.one_query)) for one in files)
        what, fix = "the two models take different inputs", "time them one after the other, without --against"
        raise InputError(what, where=f"{model}, {against}", seen=seen, fix=fix)
    names = _names(files)
    with opened(asked, files) as (device, make):
        probed = device.probe()
        made = {}
        for number, name in enumerate(names):
            say(f"building {name}" if device.target.builds_engines else f"opening {name}")
            made[name] = make(number)
        say("timing single queries")
        example = np.random.default_rng(SEED).normal(size=files[0].one_query).astype(np.float32)
        runs = {name: one.built.file for name, one in made.items()}
        timed, suspect = targets.measure_calmly(device, runs, example, PLAN)
        facts = {**timing_facts(device.target, probed["identity"], timed), "batch": files[0].one_query[0]}
        about = described(device, probed)
    measured = {name: _measured(one, timed, name, suspect, facts) for name, one in made.items()}
    return {
        "schema": 1,
        "verdict": Verdict.INCONCLUSIVE.value if suspect else None,
        "exit_code": 4 if suspect else 0,
        "error": None,
        **about,
        "models": [
            {"name": name, **one.as_json(), "measurements": [each.as_json() for each in measured[name]]}
            for name, one in made.items()
        ],
        "speedup": _ratio(timed, names, suspect, facts),
        "suspect": list(suspect),
        "set_aside": timed["set_aside"],
        "labels": list(targets.labels(probed["identity"], timed)),
        "conditions": {"facts": timed.get("facts", {}), "clocks": timed.get("clocks"), "timing": timed["conditions"]},
    }


def _names(files: list[targets.OnnxFile]) -> list[str]:
    """What tells the two apart: the files' names, else their paths; a file against itself is timed twice."""
    short, long = [one.path.name for one in files], [str(one.path) for one in files]
    if len(set(short)) == len(files):
        return short
    return long if len(set(long)) == len(files) else [long[0], f"{long[0]} again"]


def _measured(
    made: Made, timed: Mapping[str, Any], name: str, suspect: tuple[str, ...], facts: Mapping[str, Any]
) -> list[Measurement]:
    rounds, conditions = timed["rounds"][name], {**facts, "model": name, "precision": made.precision}
    return [
        *latencies("latency_ms", rounds, suspect, conditions),
        throughput(rounds, suspect, conditions),
        *power_of(timed.get("power", {}).get(name), conditions),
    ]


def _ratio(
    timed: Mapping[str, Any], names: list[str], suspect: tuple[str, ...], facts: Mapping[str, Any]
) -> dict[str, Any] | None:
    if len(names) == 1:
        return None
    own, other = names
    return speedup("speedup", timed, other, own, suspect, {**facts, "model": own, "against": other}).as_json()
