"""Which stage measures what: the names gates may use, their units, and whether an interval comes with them.

Intervals: "share" is a share of images (Wilson), "paired" a drop on the same images (Bonett-Price), "rounds" a quantity measured
once a round (min-max), None a number without one, on which a gate cannot ask for confidence.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Interval = Literal["share", "paired", "rounds"]


@dataclass(frozen=True)
class Metric:
    unit: str
    interval: Interval | None = None


@dataclass(frozen=True)
class StageMetrics:
    """per_target: the stage runs once for each target, so its gates nest by target."""

    metrics: dict[str, Metric]
    per_target: bool = False


_TOP1, _DROP = Metric("fraction", "share"), Metric("fraction", "paired")
_MS, _RATIO = Metric("ms", "rounds"), Metric("ratio", "rounds")


def _parity(group: str) -> dict[str, Metric]:
    return {f"{group}.top1_agreement": _TOP1, f"{group}.sqnr_db": Metric("dB"), f"{group}.max_abs": Metric("1")}


def _latency(group: str) -> dict[str, Metric]:
    return {f"{group}.{percentile}": _MS for percentile in ("p50", "p90", "p99")}


STAGES: dict[str, StageMetrics] = {
    "preflight": StageMetrics(
        {
            **_latency("latency_ms"),
            "speedup": _RATIO,
            "speedup_fp16": _RATIO,  # where TensorRT runs fp16 beside it
            "size_mb": Metric("MB"),
            "peak_memory_mb": Metric("MB"),
        },
        per_target=True,
    ),
    "sketch": StageMetrics({}),
    "teacher": StageMetrics({"top1": _TOP1, "top5": _TOP1, "ece": Metric("fraction")}),
    "distill": StageMetrics(
        {
            "top1": _TOP1,
            "top1_drop": _DROP,
            "improved_teacher.top1": _TOP1,  # these two only where the teacher learns
            "improved_teacher.top1_gain": _DROP,
        }
    ),
    "quantize": StageMetrics({"top1": _TOP1, "top1_drop": _DROP, "sqnr_db": Metric("dB")}),
    "export": StageMetrics(
        {**_parity("parity"), **_parity("parity_fp32"), "lint.errors": Metric("count"), "lint.warnings": Metric("count")}
    ),
    "build": StageMetrics({"build_s": Metric("s"), "size_mb": Metric("MB"), "layers.float": Metric("count")}, per_target=True),
    "benchmark": StageMetrics(
        {
            "top1": _TOP1,
            "top1_fp32": _TOP1,
            "top1_drop": _DROP,
            **_latency("latency_ms"),
            **_latency("latency_ms_fp32"),
            **_latency("latency_ms_fp16"),
            "speedup": _RATIO,
            "speedup_fp16": _RATIO,
            "power_w": Metric("W"),
            "energy_mj": Metric("mJ"),
            "throughput": Metric("1/s", "rounds"),
            **_parity("parity"),
        },
        per_target=True,
    ),
    "bundle": StageMetrics({"golden_agreement": Metric("fraction"), "size_mb": Metric("MB")}),
}


def gates_json_schema(schema: dict[str, Any]) -> None:
    """Write the table above as the JSON Schema of ``gates`` into ``schema``."""
    number = {"type": "number"}
    bound = {
        "type": "object",
        "properties": {"min": number, "max": number, "confidence": number, "waive": {"type": "string"}},
        "additionalProperties": False,
        "anyOf": [{"required": ["min"]}, {"required": ["max"]}],
    }
    stages: dict[str, Any] = {}
    for name, stage in STAGES.items():
        tree: dict[str, Any] = _closed({})
        for metric in stage.metrics:
            *groups, last = metric.split(".")
            here = tree
            for group in groups:
                here = here["properties"].setdefault(group, _closed({}))
            here["properties"][last] = bound
        stages[name] = {"type": "object", "additionalProperties": tree} if stage.per_target else tree
    schema.update(_closed(stages))


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}
