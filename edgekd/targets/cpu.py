"""Runtimes that open an ONNX file on a CPU as it is: onnxruntime, and those of ``cpu_runtime``. Nothing is built; what they make
of the file when they open it is what an app runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.core import DeviceError
from edgekd.core.files import sha256_of
from edgekd.device import build_zipapp
from edgekd.targets.answers import joined
from edgekd.targets.client import LOCK_WAIT_S, Built, Connection, in_chunks
from edgekd.targets.cpu_runtime import cpu_runtime
from edgekd.targets.plan import MeasuringPlan
from edgekd.targets.target import Target
from edgekd.targets.transport import Transport

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CHUNK_BYTES = 64 << 20
_BUILD_S, _INFER_S, _START_S = 600.0, 120.0, 30.0  # _START_S: a process with all models open
_SECONDS_AN_IMAGE = 1.0  # slower than this is hung: ResNet-152 at 224 px takes about 0.3 s on one old core


class CpuConnection(Connection):
    def __init__(self, target: Target, transport: Transport) -> None:
        self._runtime = cpu_runtime(target.runtime)
        self._backend = {} if target.runtime == "onnxruntime" else {"backend": target.runtime}
        super().__init__(target, transport)

    def probe(self) -> dict[str, Any]:
        """As ``Connection.probe``; of a backend that does not come with edgekd, its digest is part of the identity."""
        probed = super().probe()
        if self._runtime.comes_with_edgekd:
            return probed
        return {**probed, "identity": {**probed["identity"], "backend": sha256_of(self._runtime.backend)}}

    def _agent(self) -> bytes:
        if self._runtime.comes_with_edgekd:
            return super()._agent()
        return build_zipapp({self._runtime.backend.name: self._runtime.backend.read_bytes()})

    def _asked_of_probe(self) -> Mapping[str, Any]:
        return {"packages": list(self._runtime.packages)} if self._runtime.packages else {}

    def build(self, models: Mapping[str, Path]) -> dict[str, Built]:
        """Open each model as it will run. One query, of zeros, is executed to see the layers; build_s is the time to open it."""
        reply = self._call("build", {**self._backend, "models": self._put_all(models), "threads": self.target.threads}, _BUILD_S)
        return {
            name: Built(models[name], one["load_s"], one["size_mb"], one["peak_memory_mb"], one["layers"])
            for name, one in reply["models"].items()
        }

    def measure(
        self, models: Mapping[str, Path], example: NDArray[np.float32], plan: MeasuringPlan, *, lock_wait_s: float = LOCK_WAIT_S
    ) -> dict[str, Any]:
        """As ``Connection.measure``; conditions: {"before", "between": [...], "after", "threads", "cpus", "waited_share"}."""
        request = {
            **self._backend, "models": self._put_all(models), "example": self._put_array("example.npy", example),
            "threads": self.target.threads, "plan": plan.as_json(), "lock_wait_s": lock_wait_s,
        }  # fmt: skip
        least = plan.rounds * (_START_S + 2 * plan.queries * len(models) * _SECONDS_AN_IMAGE)  # as many are discarded as counted
        deadline_s = lock_wait_s + 4 * plan.budget_s + least
        measured = self._call("measure", request, deadline_s)
        return {**measured, "facts": self.kit.as_facts()} if self.kit else measured

    def infer(
        self, model: Path, inputs: NDArray[np.float32], *, optimised: bool = True, batch: int = 1, deadline_s: float | None = None
    ) -> NDArray[np.float32]:
        import numpy as np

        if not len(inputs):
            raise DeviceError("nothing to infer", where=self.target.name, seen="0 images")
        chunks = in_chunks(inputs, CHUNK_BYTES)
        described = [self._put_array(f"inputs-{number}.npy", chunk) for number, chunk in enumerate(chunks)]
        request = {
            **self._backend, "model": self._put("model.onnx", model), "inputs": described, "threads": self.target.threads,
            "optimised": optimised, "batch": batch,
        }  # fmt: skip
        reply = self._call("infer", request, deadline_s or _INFER_S + _SECONDS_AN_IMAGE * len(inputs))
        parts = [np.load(self._got(one), allow_pickle=False) for one in reply["outputs"]]
        return joined(parts, [len(chunk) for chunk in chunks], self._where("infer"))
