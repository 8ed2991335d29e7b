"""An example run: every number in it is invented, no machine measured any of them."""

import hashlib
import json
import math
import random

import pytest

NOT_CONNECTED = "no host is given: --host jetson=[user@]HOST"


def measurement(name, value, unit, n, low=None, high=None, **more):
    return {"name": name, "value": value, "unit": unit, "n": n, "low": low, "high": high, "counts": [], "rounds": [],
            "suspect": [], "n_needed": None, "conditions": {}, **more}  # fmt: skip


def gate(metric, bound, limit, measured, verdict="PASS", why="holds", **more):
    values = {key: measured[key] if measured else None for key in ("value", "low", "high")}
    return {"metric": metric, "bound": bound, "limit": limit, **values, "verdict": verdict, "why": why, **more}


def step(name, seconds, measurements=(), gates=(), artifacts=(), status="done", **more):
    return {"name": name, "status": status, "key": hashlib.sha256(name.encode()).hexdigest() if status != "skipped" else None,
            "seconds": seconds, "artifacts": list(artifacts), "measurements": list(measurements), "gates": list(gates),
            "notes": {}, **more}  # fmt: skip


def write(run, kind, path, content):
    file = run / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return {"kind": kind, "path": path, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "bytes": file.stat().st_size}


def training(epochs, start, end):
    rows = [{"epoch": epoch, "loss": start * math.exp(-0.35 * epoch) + 0.05 * end, "losses": {}, "lr": 0.05, "seconds": 9.0,
             "held_out_top1": end - 0.6 * math.exp(-0.55 * epoch)} for epoch in range(1, epochs + 1)]  # fmt: skip
    return {"epochs": rows, "best_epoch": epochs - 1, "logged": {}}


def queries(middle, rounds=7, each=100):
    dice = random.Random(middle)
    return [
        [middle * math.exp(abs(dice.gauss(0, 0.06))) * (3 if dice.random() < 0.004 else 1) for _ in range(each)]
        for _ in range(rounds)
    ]


def build(run):
    """Write the files of the example below ``run`` and return its document; report.json is written too."""
    held_out = {"images": "held-out", "interval": "Wilson 95 %"}
    teacher_top1 = measurement("top1", 0.983333, "fraction", 180, 0.952, 0.994, conditions=held_out)
    top1 = measurement("top1", 0.972222, "fraction", 180, 0.937, 0.988, conditions=held_out)
    drop = measurement("top1_drop", 0.011111, "fraction", 180, -0.009, 0.031, conditions=held_out)
    quantized = measurement("top1", 0.966667, "fraction", 180, 0.929, 0.985, conditions=held_out)
    agreement = measurement("parity.top1_agreement", 1.0, "fraction", 180, 0.979, 1.0)
    fp32 = measurement("top1_fp32", 0.975, "fraction", 360, 0.953, 0.987, conditions={"images": "test"})
    int8 = measurement("top1", 0.972222, "fraction", 360, 0.950, 0.985, conditions={"images": "test"})
    int8_drop = measurement("top1_drop", 0.002778, "fraction", 360, -0.010, 0.016, conditions={"images": "test"})
    p90 = measurement("latency_ms.p90", 1.62, "ms", 700, 1.58, 1.71, rounds=[1.58, 1.60, 1.61, 1.62, 1.63, 1.66, 1.71])
    speedup = measurement("speedup", 1.58, "ratio", 700, 1.51, 1.63)
    golden = measurement("golden_agreement", 1.0, "fraction", 200)
    bundle_files = [write(run, f"models/student.{name}.onnx", f"bundle/models/student.{name}.onnx", bytes(size))
                    for name, size in (("fp32", 893_000), ("ort", 251_000), ("ort-w7", 251_000))]  # fmt: skip
    latencies = {"models": {"int8": queries(1.5), "fp16": queries(1.9), "fp32": queries(2.4)}}
    conditions = {"cpu": "Example CPU 3.0 GHz", "instruction_sets": ["avx2", "fma"], "governor": None, "threads": 1,
                  "load_before": 0.4, "versions": {"onnxruntime": "1.31.1"}}  # fmt: skip
    steps = [
        step("teacher", 131.4, [teacher_top1, measurement("ece", 0.021, "fraction", 180)],
             [gate("top1", "min", 0.95, teacher_top1)],
             [write(run, "teacher", "teacher/teacher.safetensors", b"invented"),
              write(run, "curves", "teacher/curves.json", training(8, 2.6, 0.985))],
             status="cached", age_s=10_800.0, notes={"parameters": 11_173_962}),
        step("distill", 242.0, [top1, drop], [gate("top1", "min", 0.95, top1), gate("top1_drop", "max", 0.02, drop)],
             [write(run, "curves", "distill/curves.json", training(12, 9.5, 0.974))]),
        step("quantize", 6.2, [quantized, measurement("top1_drop", 0.005556, "fraction", 180, -0.01, 0.022)]),
        step("export", 11.9, [agreement, measurement("parity.sqnr_db", 41.27, "dB", 180)],
             [gate("parity.top1_agreement", "min", 0.99, agreement)]),
        step("build", 0.62, [measurement("layers.float", 0.0, "count", 1), measurement("size_mb", 0.251, "MB", 1)], target="cpu"),
        step("build", 0.0, status="skipped", target="jetson", why=NOT_CONNECTED),
        step("benchmark", 38.1,
             [fp32, int8, int8_drop, measurement("latency_ms.p50", 1.55, "ms", 700, 1.52, 1.58), p90,
              measurement("latency_ms.p99", 1.83, "ms", 700, 1.79, 2.2),
              measurement("latency_ms_fp16.p50", 1.94, "ms", 700, 1.90, 1.99),
              measurement("latency_ms_fp32.p50", 2.48, "ms", 700, 2.44, 2.51),
              measurement("latency_ms_fp32.p90", 2.61, "ms", 700, 2.55, 2.70), speedup],
             [gate("top1_drop", "max", 0.015, int8_drop), gate("latency_ms.p90", "max", 2, p90),
              gate("speedup", "min", 1.1, speedup)],
             [write(run, "latencies", "cpu/benchmark/latencies.json", latencies),
              write(run, "conditions", "cpu/benchmark/conditions.json", conditions)], target="cpu"),
        step("benchmark", 0.0, gates=[gate("latency_ms.p90", "max", 10, None, "NOT_MEASURED", "not measured")],
             status="skipped", target="jetson", why=NOT_CONNECTED),
        step("bundle", 1.4, [golden, measurement("size_mb", 1.395, "MB", 1)], artifacts=bundle_files),
    ]  # fmt: skip
    document = {
        "schema": 1, "verdict": "PASS", "exit_code": 0, "run": "runs/example",
        "recipe": {"edgekd": 1, "name": "example (invented numbers)"},
        "resume": "edgekd pipeline recipes/example.yaml", "unmeasured": ["jetson"],
        "targets": [{"name": "cpu", "required": "always", "verdict": "PASS", "why": "3 gates"},
                    {"name": "jetson", "required": "when-connected", "verdict": "NOT_MEASURED", "why": NOT_CONNECTED}],
        "stages": steps, "bundle": "runs/example/bundle", "report": "runs/example/report.html",
        "environment": {"edgekd": "0.1.0", "python": "3.11.7", "torch": "2.15.0", "cpu": "Example CPU 3.0 GHz"},
        "started": "2026-01-02T03:04:05+0000", "seconds": 301.2, "test_opened": 1,
        "data": {"source": "digits", "classes": [str(digit) for digit in range(10)],
                 "counts": {"train": 1257, "held_out": 180, "test": 360}, "digest": "0" * 64},
    }  # fmt: skip
    (run / "report.json").write_text(json.dumps(document))
    return document


@pytest.fixture
def run(tmp_path):
    """The folder of the example run, ``report.json`` and the files behind it included."""
    folder = tmp_path / "example"
    folder.mkdir()
    build(folder)
    return folder


@pytest.fixture
def document(run):
    return json.loads((run / "report.json").read_text())
