"""A training kept in one file, so that a run killed at any moment goes on to the same bits.

The file is the sha256 of all that follows, and then a safetensors file: the tensors of ``distill.Training.state_dict``, and what
else is in it as JSON in the metadata. It is written aside and renamed. A damaged file, or one of another step, is never used.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from edgekd import distill
from edgekd.core import EnvironmentProblem, Interrupted
from edgekd.core.files import write_atomic
from edgekd.distill import parallel
from edgekd.distill.loop import STEPS_BETWEEN_READS_ON_GPU
from edgekd.stages.stop import STOP

# All ours. A checkpoint is due when the time since the last one is 80 times what that one cost, so that they take well below 2 %,
# and a twentieth of the training so far, or ten minutes: a kill loses no more than that, and no disk is worn out.
LEAST_WAIT_IN_COSTS = 80.0
WAIT_SHARE, MOST_WAIT_S = 0.05, 600.0
FIRST_GUESS_BYTES_PER_S = 100e6  # what a first checkpoint is taken to cost, before one is measured; on a busy machine it did


class Checkpoint:
    """Of the training ``name`` of a step, in the folder the step has for it.

    compute: what this process trains on, for the notes; to be set before the first one is kept.
    resumed: {"step", "seconds", "compute"} for each time the training was taken up again, the last two of the process that had
    been stopped. refused: why a file that was there is not used.
    """

    def __init__(self, folder: Path, name: str, say: Callable[[str], None]) -> None:
        self.compute: Mapping[str, Any] = {}
        self.resumed: list[dict[str, Any]] = []
        self.refused: str | None = None
        self._path, self._of = folder / f"{name}.checkpoint", f"{folder.name}/{name}"
        self._say = say
        self._began = self._last = time.monotonic()
        self._cost_s: float | None = None
        self._failed = False

    def load(self) -> dict[str, Any] | None:
        """The state to go on from, for ``distill.fit``; None if there is none, or none that can be trusted."""
        content = parallel.of_first(self._read() if parallel.rank() == 0 else None)
        if content is None:
            return None
        kept = _unpacked(content)
        if kept is None or kept["of"] != self._of:
            self.refused = f"checkpoint {'damaged' if kept is None else 'of another step'}: training starts anew"
            return None
        self.resumed = [*kept["resumed"], {"step": kept["state"]["step"], "seconds": kept["seconds"], "compute": kept["compute"]}]
        state: dict[str, Any] = kept["state"]
        return state

    def _read(self) -> bytes | None:
        for left_behind in self._path.parent.glob(f".{self._path.name}.*.tmp"):  # by a kill while one was written
            left_behind.unlink(missing_ok=True)
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            self.refused = f"checkpoint unreadable ({error.strerror}): training starts anew"
            return None

    def after_step(self, training: distill.Training) -> None:
        """Keep ``training`` if that is due, or if this process is asked to end. Raises Interrupted in the latter case.

        Of several processes all end in the same step, whichever was asked, and the first one keeps what they all have.
        """
        if parallel.processes() > 1 and training.device.type == "cuda" and training.step % STEPS_BETWEEN_READS_ON_GPU:
            return  # a host that waits for the others has nothing for its GPU to do meanwhile
        now = time.monotonic()
        if self._cost_s is None:
            self._cost_s = _bytes_of(training.student) / FIRST_GUESS_BYTES_PER_S
        (asked,) = parallel.agreed(STOP.asked or 0)
        if parallel.rank() == 0 and (asked or now - self._last >= self._wait_s(now)):
            self._keep(training)
            self._last = time.monotonic()
            self._cost_s = self._last - now
        if asked:
            raise Interrupted(asked)

    def _wait_s(self, now: float) -> float:
        cost = self._cost_s or 0.0
        return max(LEAST_WAIT_IN_COSTS * cost, min(WAIT_SHARE * (now - self._began), MOST_WAIT_S))

    def _keep(self, training: distill.Training) -> None:
        facts = {"of": self._of, "resumed": self.resumed, "compute": dict(self.compute)}
        seconds = round(time.monotonic() - self._began, 3)
        try:
            write_atomic(self._path, _packed({**facts, "seconds": seconds, "state": training.state_dict()}))
        except (OSError, MemoryError, EnvironmentProblem) as error:  # a training of hours is not thrown away for its safety rope
            if not self._failed:
                self._say(f"no checkpoint could be written ({error}); training goes on")
            self._failed = True


def _packed(document: Mapping[str, Any]) -> bytes:
    tensors: dict[str, Tensor] = {}
    plain = json.dumps(_parted(document, "", tensors))
    content = to_bytes(tensors, {"document": plain})
    return hashlib.sha256(content).digest() + content


def _unpacked(content: bytes) -> dict[str, Any] | None:
    """What ``_packed`` was given; None if a byte of it is missing or changed."""
    digest, content = content[:32], content[32:]
    if hashlib.sha256(content).digest() != digest:
        return None
    header_bytes = int.from_bytes(content[:8], "little")
    plain = json.loads(json.loads(content[8 : 8 + header_bytes])["__metadata__"]["document"])
    document: dict[str, Any] = _joined(plain, from_bytes(content))
    return document


def _parted(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """``value`` with every tensor in it moved to ``tensors`` and named in its place."""
    match value:
        case Tensor():
            tensors[path] = value.detach().cpu().contiguous()
            return {"tensor": path}
        case Mapping():
            return {"items": {name: _parted(one, f"{path}/{name}", tensors) for name, one in value.items()}}
        case list() | tuple():
            return [_parted(one, f"{path}/{index}", tensors) for index, one in enumerate(value)]
        case _:
            return value


def _joined(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    match value:
        case {"tensor": path}:
            return tensors[path]
        case {"items": items}:
            return {name: _joined(one, tensors) for name, one in items.items()}
        case list():
            return [_joined(one, tensors) for one in value]
        case _:
            return value


def _bytes_of(network: nn.Module) -> int:
    """What its checkpoint comes to: weights, as many again for the momentum and for the best epoch."""
    return 3 * sum(weight.numel() * weight.element_size() for weight in network.parameters())
