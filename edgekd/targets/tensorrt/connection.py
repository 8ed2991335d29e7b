"""TensorRT on a target: engines are built there, come back, and are timed and asked as the very files that were built."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.core import DeviceError, InputError
from edgekd.core.files import sha256_of
from edgekd.device import plan_header
from edgekd.targets import nvidia_smi
from edgekd.targets.answers import joined
from edgekd.targets.client import LOCK_WAIT_S, Built, Connection, in_chunks
from edgekd.targets.plan import MeasuringPlan
from edgekd.targets.tensorrt.beside import power_of
from edgekd.targets.tensorrt.failures import failure_of, judged
from edgekd.targets.tensorrt.flags import (
    build_flags,
    flavour_to_build,
    infer_flags,
    layer_flags,
    timing_flags,
    workspace_mib,
)
from edgekd.targets.tensorrt.installed import Installed, installed
from edgekd.targets.tensorrt.layers import read_layers, read_profile, with_times
from edgekd.targets.tensorrt.log import TrtexecLog
from edgekd.targets.tensorrt.outputs import finite, read_output
from edgekd.targets.tensorrt.sidecar import Sidecar
from edgekd.targets.tensorrt.times import read_times
from edgekd.targets.told import told_at

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PRECISIONS = ("fp32", "fp16", "int8", "int8+fp16")
INPUT = "input"  # the name edgekd's exports give it
WARM_UP_S = 2.0  # before each timed block: 0.2 s, trtexec's own, is too short for clocks that rise with load
COOL_DOWN_S = 120.0  # the most that is waited for a board to stop cooling before it is timed
CHUNK_BYTES = 64 << 20
MOST_BY_PROCESSES = 1000  # images, where each takes a process of a second or more: enough for a paired comparison
IMAGES_A_CALL = 100  # by processes: two minutes or so are lost with a connection
_BUILD_S = 3600.0  # the slowest module, trying every tactic
_START_S = 60.0  # to start a process and load an engine
_SECONDS_AN_IMAGE = 1.0
_INPUT = re.compile(r"[Ii]nput binding for \S+ with dimensions (\d{1,9}(?:x\d{1,9}){0,7})\b")
_MIB = 1.048576  # in MB


class TensorrtConnection(Connection):
    """The models of ``build`` and ``measure`` are named by their precision, "fp32", "fp16", "int8" or "int8+fp16": by that name
    trtexec is told what to build, and of the file of ``flavour(precision)``."""

    @cached_property
    def installed(self) -> Installed:
        """Asked once a connection. Raises EnvironmentProblem: no TensorRT there, or one that is not known."""
        return installed(self.probe(), self._where("probe"))

    def flavour(self, precision: str) -> str:
        """The ONNX flavour that this device's TensorRT builds an engine of this precision from."""
        return flavour_to_build(self.installed.release, precision)

    def sidecar(self, precision: str, model: Path) -> Sidecar:
        """Everything the engine of this ONNX file depends on, here and today."""
        here, device = self.installed, self.installed.device
        words = build_flags(here.release, precision, workspace_mib(self.target.profile.memory_gib))
        version, chip = ".".join(map(str, here.version)), device.compute_capability
        return Sidecar(version, chip, device.module, sha256_of(model), tuple(words), device.power_mode)

    def build(self, models: Mapping[str, Path]) -> dict[str, Built]:
        """An engine of each ONNX file, built on the device, or there already from exactly the same; a copy of it is ``file``.

        Raises InputError where TensorRT cannot take the model, DeviceError where it fails otherwise.
        """
        return {name: self._build(name, path) for name, path in models.items()}

    def measure(
        self, models: Mapping[str, Path], example: NDArray[np.float32], plan: MeasuringPlan, *, lock_wait_s: float = LOCK_WAIT_S
    ) -> dict[str, Any]:
        """As ``Connection.measure``, of engines; milliseconds are the GPU's, computing, without copies.

        Further: "clocks" {"asked", "locked_by_us", "restored"}; "tegrastats" and "nvidia_smi" [[monotonic s, line], ...] or
        None; "spans" {model: [[start, end] of each block]} on the same clock; and "power" {model: see ``jetson.power``}, {} where
        nothing tells it; "facts", for the conditions of the numbers. By trtexec a block is a process of its own, and has at
        least ``plan.queries`` queries and ``plan.round_s`` seconds.
        """
        words = timing_flags(self.installed.release, plan.queries, WARM_UP_S, plan.round_s)
        engines = {name: {**self._put_engine(path), "words": words} for name, path in models.items()}
        request = {
            "backend": self.installed.backend, "models": engines, "example": self._put_array("example.npy", example),
            "plan": replace(plan, block=plan.queries).as_json(), "threads": self.target.threads, "lock_wait_s": lock_wait_s,
            "clocks": self.target.clocks,
            "cool_down": {"most_s": COOL_DOWN_S}, "tegrastats": bool(self.target.profile.power_rails),
            **({"nvidia_smi": nvidia_smi.FIELDS} if self.target.profile.soc is None else {}),
        }  # fmt: skip
        one = _START_S + WARM_UP_S + plan.queries * _SECONDS_AN_IMAGE
        deadline_s = lock_wait_s + COOL_DOWN_S + 4 * plan.budget_s + plan.rounds * len(models) * one
        measured = self._call("measure", request, deadline_s)
        blocks = measured.pop("blocks", None)  # of processes; the Python API times the queries itself
        told = [self.installed.newer] if self.installed.newer else []
        if blocks is not None:
            read = {name: [self._block(name, one, plan) for one in blocks[name]] for name in models}
            measured["rounds"] = {name: [times for times, _ in one] for name, one in read.items()}
            measured["busy_s"] = {name: [busy_s(times, log) for times, log in one] for name, one in read.items()}
            measured["launched"] = {name: launched(log for _, log in one) for name, one in read.items()}
            told += [line for name, one in read.items() for line in concerns(name, one)]
        for tool in ("tegrastats", "nvidia_smi"):
            if described := measured.get(tool):
                lines = self._got(described).read_text(encoding="utf-8", errors="replace").splitlines()
                measured[tool] = [tuple(json.loads(line)) for line in lines]
        if smi := measured.get("nvidia_smi"):
            measured["conditions"]["gpu"] = nvidia_smi.summary(smi, measured["spans"])
        power = power_of(measured, self.target.profile.power_rails, None if blocks is None else WARM_UP_S)
        version = ".".join(map(str, self.installed.version))
        facts = {
            "tensorrt": version,
            "via": self.installed.by,
            "timed": "computing on the GPU",
            **({"told": told} if told else {}),
        }
        facts.update(self.kit.as_facts() if self.kit else {})
        return {**measured, "power": power, "facts": facts}

    def most_images(self) -> int | None:
        if self.kit:
            return self.kit.images
        return None if self.installed.backend == "tensorrt" else MOST_BY_PROCESSES

    def images_a_call(self) -> int | None:
        return None if self.kit or self.installed.backend == "tensorrt" else IMAGES_A_CALL

    def infer(
        self, model: Path, inputs: NDArray[np.float32], *, optimised: bool = True, batch: int = 1, deadline_s: float | None = None
    ) -> NDArray[np.float32]:
        """As ``Connection.infer``, of an engine; it is always optimised. By trtexec each image takes a process of its own."""
        import numpy as np

        if not len(inputs):
            raise DeviceError("nothing to infer", where=self.target.name, seen="0 images")
        by_python = self.installed.backend == "tensorrt"
        chunks = in_chunks(inputs, CHUNK_BYTES)
        request = {
            "backend": self.installed.backend, "engine": self._put_engine(model), "input": INPUT, "batch": batch,
            "inputs": [self._put_array(f"inputs-{number}.npy", chunk) for number, chunk in enumerate(chunks)],
            "words": infer_flags(self.installed.release),
        }  # fmt: skip
        an_image = _SECONDS_AN_IMAGE if by_python else _START_S
        reply = self._call("infer", request, deadline_s or _START_S + an_image * len(inputs))
        if by_python:
            parts = [np.load(self._got(one), allow_pickle=False) for one in reply["outputs"]]
            images = [len(chunk) for chunk in chunks]
        else:
            parts, images = [*self._answers(reply, inputs[0].size)], [1] * len(inputs)
        return finite(joined(parts, images, self._where("infer")), self._where("infer"))

    def _build(self, name: str, path: Path) -> Built:
        where, here = f"{self._where('build')} {name}", self.installed
        if name not in PRECISIONS:
            raise InputError("a model to build is named by its precision", where=where, fix="one of " + ", ".join(PRECISIONS))
        sidecar = self.sidecar(name, path)
        asked = {
            "onnx": self._put("model.onnx", path), "words": list(sidecar.words),
            "layer_words": layer_flags(here.release, warm_up_s=WARM_UP_S / 2),
            "sidecar": sidecar.as_json(), "timing_key": [sidecar.tensorrt, sidecar.compute_capability, sidecar.module],
        }  # fmt: skip
        reply = self._call("build", {"backend": here.backend, "models": {name: asked}}, _BUILD_S)["models"][name]
        log_text = self._text(reply["log"])
        engine = self._got(reply["engine"]) if reply["engine"] else None
        with told_at(where):
            log = self._judged(log_text, reply["status"], where, engine=plan_header.head(engine) if engine else b"")
        if engine is None:
            raise failure_of(log_text, reply["status"], where)
        with told_at(where):
            plan_header.check(str(engine), here.version)
        layers = read_layers(self._text(reply["layers"]), where)
        if reply["profile"]:
            layers = with_times(layers, read_profile(self._text(reply["profile"]), where))
        peaks = [peak for peak in (log.peak_cpu_mib, log.peak_gpu_mib) if peak is not None]
        memory_mb = round(sum(peaks) * _MIB, 1) if peaks else None
        size_mb, removed = engine.stat().st_size / 1e6, in_words(reply.get("removed"))
        return Built(engine, reply["build_s"], size_mb, memory_mb, layers, log_text, reply["reused"], removed)

    def _put_engine(self, path: Path) -> dict[str, str]:
        return self._put(f"engine-{sha256_of(path)[:16]}.plan", path)

    def _block(self, name: str, block: Mapping[str, Any], plan: MeasuringPlan) -> tuple[list[float], TrtexecLog]:
        where = f"{self._where('measure')} {name}"
        log = self._judged(self._text(block["log"]), block["status"], where)
        return read_times(self._text(block["times"]), WARM_UP_S, where, queries=plan.queries), log

    def _judged(self, log_text: str, status: int | None, where: str, *, engine: bytes | None = None) -> TrtexecLog:
        """As ``judged``; raises DeviceError too where another TensorRT did the work than the probe found."""
        log = judged(log_text, status, where, engine=engine)
        here = self.installed.version[:3]
        if log.version and log.version[: len(here)] != here:
            told, found = (".".join(map(str, version)) for version in (log.version, self.installed.version))
            fix = "was the device updated meanwhile? Run the same command again"
            raise DeviceError(f"TensorRT {told} did this, and the probe found {found}", where=where, seen=told, fix=fix)
        return log

    def _answers(self, reply: Mapping[str, Any], values: int) -> Iterator[NDArray[np.float32]]:
        where = self._where("infer")
        log_text = self._text(reply["log"])
        self._judged(log_text, reply["status"], where)
        check_input(log_text, values, where)
        for line in self._text(reply["outputs"][0]).splitlines():
            told = json.loads(line)
            yield read_output(told["json"], {name: base64.b64decode(raw) for name, raw in told["raw"].items()}, where)

    def _text(self, described: Mapping[str, str] | None) -> str:
        """A file's text; "" where the device has none, for the reader to complain about."""
        return self._got(described).read_text(encoding="utf-8", errors="replace") if described else ""


def concerns(name: str, blocks: Iterable[tuple[list[float], TrtexecLog]]) -> list[str]:
    """What trtexec itself says against its times (no CUDA graph, bound by launching, unstable), each once."""
    first: dict[str, str] = {}
    for _, log in blocks:
        first = {**log.concerns, **first}
    return [f"{name}: {line}" for line in first.values()]


def check_input(log_text: str, values: int, where: str) -> None:
    """Raise DeviceError where the engine says that it takes another number of values: 8.2 takes a short file without a word."""
    found = _INPUT.search(log_text)
    if found and math.prod(map(int, found[1].split("x"))) != values:
        fix = "does the engine belong to this model? Build it again"
        raise DeviceError("the engine takes other images", where=where, seen=f"{found[1]}, not {values} values", fix=fix)


def busy_s(times: list[float], log: TrtexecLog) -> float:
    """Seconds that a block's queries took one after the other, with the gaps between them where trtexec tells."""
    computing = sum(times) / 1e3
    walltime = log.walltime_s
    return walltime if walltime is not None and computing < walltime < math.inf else computing


def launched(logs: Iterable[TrtexecLog]) -> str:
    """How a model's queries were launched: trtexec goes on without the CUDA graph it was asked for, and says so."""
    return "enqueue" if any("no-cuda-graph" in log.concerns for log in logs) else "graph"


def in_words(removed: Mapping[str, int] | None) -> str:
    """What the device removed to make room, {"engines", "bytes"}; "" for nothing."""
    if not removed or not removed["bytes"]:
        return ""
    return f"the device removed {removed['engines']} older engines, {removed['bytes'] / 1e6:,.0f} MB, least recently used first"
