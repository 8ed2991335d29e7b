"""The protocol client: a connection to a target's agent, whose every failure is an error a person can act on.

Requests and replies are JSON between random markers; models and tensors travel as files with their sha256.
"""

from __future__ import annotations

import io
import json
import secrets
import signal
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekd.core import DeviceError, DeviceMemoryError, EdgekdError, EnvironmentProblem, IntegrityError
from edgekd.core.files import disk_problems, sha256_of
from edgekd.device import build_zipapp
from edgekd.device.problem import device_code
from edgekd.targets.fits import require_fits
from edgekd.targets.jetson.identity import describe
from edgekd.targets.plan import MeasuringPlan
from edgekd.targets.target import Target
from edgekd.targets.transport import Answer, Transport
from edgekd.targets.transport.recorded import RecordedTransport

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LOCK_WAIT_S = 600.0
_GRACE_S = 10.0  # beyond the agent's own deadline: it says what happened, the host only that nothing was heard
_PROBE_S = 30.0
_OF_A_MODEL = ("build", "measure", "infer")
_SAME = ("machine", "arch", "module", "soc", "compute_capability", "tensorrt", "power_mode")  # while a connection lasts


@dataclass(frozen=True)
class Built:
    """A model as it will run on the target. file: what runs, on this machine; an engine, or the ONNX file itself.

    layers: what was executed, or is to be: {"op", "name", "provider", "dtype"}. peak_memory_mb: None where the device does not
    tell. log: what the builder said, "" where nothing is built. reused: the device had it already. removed: what the device
    removed of its older engines to make room for this one, in words.
    """

    file: Path
    build_s: float
    size_mb: float
    peak_memory_mb: float | None
    layers: Sequence[Mapping[str, Any]]
    log: str = ""
    reused: bool = False
    removed: str = ""


class Connection(ABC):
    """An agent in reach, and what a runtime does there. Every method may raise DeviceError (unreachable, hung, died, garbage,
    refused), DeviceMemoryError where the device lacked memory for a model, EnvironmentProblem (no such runtime there),
    IntegrityError (files changed on the way), LockedError (another measurement runs)."""

    _found: Mapping[str, Any] | None = None  # by the last probe, of _SAME

    def __init__(self, target: Target, transport: Transport) -> None:
        self.target, self._transport = target, transport
        self.kit = transport.kit if isinstance(transport, RecordedTransport) else None  # facts of the one that answered before
        self._put_bytes("edgekd.pyz", self._agent())

    def probe(self) -> dict[str, Any]:
        """{"identity": who the device is, stable between runs; "conditions": how it is doing now; "said": its own raw words}.

        See device/probe.py and jetson/identity.py. Raises DeviceError, besides: it is another kind of device than the profile's,
        or not the one, or not in the power mode, that this connection's last probe found.
        """
        probed = self._call("probe", self._asked_of_probe(), _PROBE_S)
        if not isinstance(probed.get("identity"), dict):
            raise DeviceError(
                "the agent did not tell who the device is", where=self._where("probe"), seen=json.dumps(probed)[:300]
            )
        identity = {**probed["identity"], **describe(probed.get("said", {})).as_identity()}
        try:
            require_fits(self.target.profile, identity)
        except DeviceError as error:
            error.where = self._where("probe")
            raise
        self._require_the_same(identity)
        return {**probed, "identity": identity}

    def _agent(self) -> bytes:
        """The program that does the work there."""
        return build_zipapp()

    def _asked_of_probe(self) -> Mapping[str, Any]:
        return {}

    def _require_the_same(self, identity: Mapping[str, Any]) -> None:
        """A name may lead elsewhere suddenly: numbers of two devices, or two power modes, are no one device's."""
        found = {key: identity.get(key) for key in _SAME}
        before, self._found = self._found or found, found
        if changed := [f"{key}: {before[key]}, then {found[key]}" for key in _SAME if before[key] != found[key]]:
            fix = "does the host's name lead to several devices, or was the power mode changed? Run the same command again"
            what = "the device is not what it was a moment ago"
            raise DeviceError(what, where=self._where("probe"), seen="; ".join(changed), fix=fix)

    @abstractmethod
    def build(self, models: Mapping[str, Path]) -> dict[str, Built]:
        """Make of each model, {name: ONNX file}, what runs on the target."""

    @abstractmethod
    def measure(
        self, models: Mapping[str, Path], example: NDArray[np.float32], plan: MeasuringPlan, *, lock_wait_s: float = LOCK_WAIT_S
    ) -> dict[str, Any]:
        """Time single queries of what ``build`` made, in interleaved blocks, holding the machine's measuring lock.

        Returns {"rounds": {model: [[ms, ...], ...]}, "turns": [of blocks, a round], "seconds", "conditions"}; see ``suspicions``
        for what the conditions are for.
        """

    @abstractmethod
    def infer(
        self, model: Path, inputs: NDArray[np.float32], *, optimised: bool = True, batch: int = 1, deadline_s: float | None = None
    ) -> NDArray[np.float32]:
        """Logits float32 [N, classes] of inputs float32 [N, 3, H, W], in the same order.

        optimised False runs every node as written, the reference for parity, where the runtime can. batch: images a query.
        """

    def most_images(self) -> int | None:
        """How many images ``infer`` can be asked in good time; None: any number."""
        return self.kit.images if self.kit else None

    def images_a_call(self) -> int | None:
        """How many images to ask at a time, where each takes so long that losing more would hurt; None: as many as there are."""
        return None

    def _call(self, verb: str, request: Mapping[str, Any], deadline_s: float) -> dict[str, Any]:
        token = secrets.token_hex(8)
        content = json.dumps({**request, "workdir": self._transport.workdir, "deadline_s": deadline_s}).encode()
        answer = self._transport.call(["agent", verb, "--token", token], content, deadline_s + _GRACE_S)
        try:
            reply = reply_of(answer, token, self._where(verb), deadline_s)
        except DeviceMemoryError as killed:
            if verb in _OF_A_MODEL:
                raise
            raise DeviceError(killed.what, where=killed.where, seen=killed.seen, fix=killed.fix) from None
        if "error" not in reply:
            return reply
        error = EdgekdError.from_json(reply["error"])
        error.where = " ".join(part for part in (self._where(verb), error.where) if part)
        if isinstance(error, EnvironmentProblem) and not self.target.profile.is_local:
            error.what += " (on the device, not here)"
        raise error

    def _where(self, verb: str) -> str:
        return f"{self.target.name}: {verb}"

    def _put_all(self, models: Mapping[str, Path]) -> dict[str, dict[str, str]]:
        return {name: self._put(f"model-{number}.onnx", path) for number, (name, path) in enumerate(models.items())}

    def _put(self, name: str, source: Path) -> dict[str, str]:
        self._transport.put(source, name)
        return {"path": name, "sha256": sha256_of(source)}

    def _put_array(self, name: str, array: NDArray[np.float32]) -> dict[str, str]:
        return self._put_bytes(name, array_bytes(array))

    def _put_bytes(self, name: str, content: bytes) -> dict[str, str]:
        with disk_problems(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
            path = Path(folder, name)
            path.write_bytes(content)
            return self._put(name, path)

    def _got(self, described: Mapping[str, str]) -> Path:
        path = self._transport.get(described["path"])
        if not path.is_file() or sha256_of(path) != described["sha256"]:
            raise IntegrityError("a result arrived with other bytes", where=self._where("infer"), seen=described["path"])
        return path


def array_bytes(array: NDArray[np.float32]) -> bytes:
    """The .npy file of an array as a device gets it."""
    import numpy as np

    content = io.BytesIO()
    np.save(content, np.ascontiguousarray(array, dtype=np.float32), allow_pickle=False)
    return content.getvalue()


def in_chunks(inputs: NDArray[np.float32], most_bytes: int) -> list[NDArray[np.float32]]:
    """Inputs [N, ...] in parts of at most ``most_bytes``, or of one row, in order."""
    size = max(1, most_bytes // max(1, inputs[:1].nbytes))
    return [inputs[start : start + size] for start in range(0, len(inputs), size)]


def reply_of(answer: Answer, token: str, where: str, deadline_s: float) -> dict[str, Any]:
    """The agent's reply, found between its markers. Raises DeviceError, showing what came instead."""
    begin, end = f"EDGEKD-{token}-BEGIN\n".encode(), f"\nEDGEKD-{token}-END".encode()
    _, begun, rest = answer.stdout.partition(begin)
    body, ended, _ = rest.partition(end)
    if not (begun and ended):
        raise _no_reply(answer, where, deadline_s)
    try:
        reply = json.loads(body)
    except ValueError as error:
        raise DeviceError("the agent's reply is not JSON", where=where, seen=_tail(body)) from error
    if not isinstance(reply, dict):
        raise DeviceError("the agent's reply is not an object", where=where, seen=_tail(body))
    return reply


def _no_reply(answer: Answer, where: str, deadline_s: float) -> DeviceError:
    said = _tail(answer.stderr) or _tail(answer.stdout) or "nothing"
    if answer.status is None:
        fix = "look at what else runs on the device"
        return DeviceError(f"the agent hung: nothing was heard {_GRACE_S:g} s past its deadline of {deadline_s:g} s", where=where,
                           seen=said, fix=fix)  # fmt: skip
    short = device_code(said) == DeviceMemoryError.code
    if answer.status < 0:
        name = signal.Signals(-answer.status).name if -answer.status in set(signal.Signals) else f"signal {-answer.status}"
        if name == "SIGKILL" or short:
            fix = "out of memory? See the kernel's log (dmesg)"
            return DeviceMemoryError(f"the agent was killed by {name}", where=where, seen=said, fix=fix)
        fix = "try another onnxruntime version"
        return DeviceError(f"the agent was killed by {name}", where=where, seen=said, fix=fix)
    kind = DeviceMemoryError if short else DeviceError
    return kind(f"the agent gave no reply and ended with status {answer.status}", where=where, seen=said)


def _tail(content: bytes, most: int = 300) -> str:
    return " ".join(content[-most:].decode("utf-8", "replace").split())
