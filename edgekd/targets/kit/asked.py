"""What the ordinary connections would ask of a device: their own requests, caught on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgekd.core.files import link_or_copy, sha256_of
from edgekd.targets.transport import Answer


class _Caught(Exception):
    def __init__(self, verb: str, request: dict[str, Any]) -> None:
        super().__init__(verb)
        self.verb, self.request = verb, request


class AskedTransport:
    """Answers a probe with what it was given; anything else ends with what was asked. Every file put is kept by its sha256."""

    workdir = ""

    def __init__(self, probed: Mapping[str, Any], folder: Path) -> None:
        self._probed, self.folder = probed, folder

    def put(self, source: Path, name: str) -> None:
        kept = self.folder / sha256_of(source)
        if not kept.exists():
            link_or_copy(source, kept)

    def get(self, name: str) -> Path:
        raise NotImplementedError("nothing was made: there is no device")

    def call(self, arguments: list[str], request: bytes, timeout_s: float) -> Answer:
        _, verb, _, token = arguments[:4]
        if verb != "probe":
            raise _Caught(verb, json.loads(request))
        return answer_of(json.dumps(self._probed), token)

    def close(self) -> None: ...


def answer_of(body: str, token: str, stderr: bytes = b"", status: int = 0) -> Answer:
    """An agent's answer with this reply."""
    return Answer(status, f"\nEDGEKD-{token}-BEGIN\n{body}\nEDGEKD-{token}-END\n".encode(), stderr)


def asked_by(method: Callable[[], object]) -> tuple[str, dict[str, Any]]:
    """(verb, request) of the first call of an agent that a connection's method makes."""
    try:
        method()
    except _Caught as caught:
        return caught.verb, {key: value for key, value in caught.request.items() if key != "workdir"}
    raise AssertionError("nothing was asked")
