"""The script of a kit: the requests of a target's steps in their order, with places for what only the device knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.core.files import sha256_of
from edgekd.targets.client import Connection
from edgekd.targets.kit.asked import asked_by
from edgekd.targets.plan import MeasuringPlan

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_IMAGE_S = {"tensorrt": 2.0, "onnxruntime": 0.02}  # for a guess of how long it takes, and no more
_BUILD_S = {"tensorrt": 120.0, "onnxruntime": 3.0}
_START_S = 3.0
_MOST_IMAGE_S = 60.0  # slower than this is hung


class Script:
    """Collects calls: {"name", "verb", "request", "expected_s"}. In requests {"$file": sha256} stands for a file of the kit,
    {"$engine": [call, model]} for what the device builds, "$sidecar" for what it rests on there."""

    def __init__(self, connection: Connection, folder: Path) -> None:
        self._connection, self._folder = connection, folder
        self._engines: dict[str, list[str]] = {}  # sha256 of a stand-in: what stands there
        self._stand_ins: dict[tuple[str, str], Path] = {}
        self.calls: list[dict[str, Any]] = []

    @property
    def _builds(self) -> bool:
        return self._connection.target.builds_engines

    def build(self, step: str, models: Mapping[str, Path]) -> None:
        groups = [{name: path} for name, path in models.items()] if self._builds else [dict(models)]
        for group in groups:
            name = f"{step}: build {', '.join(group)}"
            verb, request = asked_by(lambda group=group: self._connection.build(group))  # type: ignore[misc]
            for one in request["models"].values():
                if self._builds:
                    one.pop("timing_key")
                    one["$sidecar"] = one.pop("sidecar") is not None
            self._add(name, verb, request, _BUILD_S[self._runtime] * len(group))
            for model in group if self._builds else ():
                self._stand_ins[step, model] = self._stand_in(name, model)

    def measure(self, step: str, models: Mapping[str, Path], example: NDArray[np.float32], plan: MeasuringPlan) -> None:
        """Time these ONNX files, or the engines that ``build`` made of them in this step."""
        paths = {name: self._path(step, name, path) for name, path in models.items()}
        verb, request = asked_by(lambda: self._connection.measure(paths, example, plan))
        block_s = plan.round_s / len(models) + (_START_S + 2.0 if self._builds else 0.1)
        name = f"{step}: time {', '.join(models)}, {plan.rounds} round{'s' * (plan.rounds > 1)}"
        self._add(name, verb, request, plan.rounds * len(models) * block_s + _START_S)

    def infer(
        self, step: str, model: str, file: Path, chunks: Sequence[Sequence[str]], images: int, *, optimised: bool = True
    ) -> None:
        """Ask this ONNX file, or the engine of it, of all images. chunks: of each call the sha256 of its input arrays."""
        import numpy as np

        path, one = self._path(step, model, file), np.zeros((1, 3, 1, 1), np.float32)
        deadline_s = _MOST_IMAGE_S * (1 + images)
        verb, request = asked_by(lambda: self._connection.infer(path, one, optimised=optimised, deadline_s=deadline_s))
        expected_s = images * _IMAGE_S[self._runtime] / len(chunks)
        for number, inputs in enumerate(chunks):
            part = f" ({number + 1} of {len(chunks)})" if len(chunks) > 1 else ""
            how = "" if optimised else " as written"
            inputs_now = [{"path": "", "sha256": sha256} for sha256 in inputs]
            self._add(f"{step}: ask {model}{how}{part}", verb, {**request, "inputs": inputs_now}, expected_s)

    @property
    def _runtime(self) -> str:
        return self._connection.target.runtime

    def _path(self, step: str, model: str, file: Path) -> Path:
        return self._stand_ins[step, model] if self._builds else file

    def _stand_in(self, call: str, model: str) -> Path:
        path = self._folder / f"stand-in-{len(self._engines)}"
        path.write_text(f"{call}: {model}")
        self._engines[sha256_of(path)] = [call, model]
        return path

    def _add(self, name: str, verb: str, request: dict[str, Any], expected_s: float) -> None:
        call = {"name": name, "verb": verb, "request": self._placed(request), "expected_s": round(expected_s, 1)}
        self.calls.append(call)

    def _placed(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._placed(one) for one in value]
        if not isinstance(value, dict):
            return value
        rest = {key: self._placed(one) for key, one in value.items()}
        if isinstance(sha256 := rest.get("sha256"), str) and "path" in rest:
            place = {"$engine": self._engines[sha256]} if sha256 in self._engines else {"$file": sha256}
            return {**{key: one for key, one in rest.items() if key not in ("path", "sha256", "bytes")}, **place}
        return rest
