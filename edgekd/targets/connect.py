"""Reach a target's device: by the transport that leads there, with the runtime the recipe asks for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgekd.core import DeviceError
from edgekd.targets.client import Connection
from edgekd.targets.onnxruntime import OnnxruntimeConnection
from edgekd.targets.target import Target
from edgekd.targets.transport.local import LocalTransport


@contextmanager
def connect(target: Target) -> Iterator[Connection]:
    """Reach the target's device: a private work folder there, the agent put into it; both are gone afterwards.

    Raises DeviceError for a target this version cannot measure (ask ``Target.why_not_measured`` first).
    """
    reason = target.why_not_measured()
    if reason:
        raise DeviceError("the target cannot be reached", where=target.name, seen=reason)
    transport = LocalTransport()
    try:
        yield OnnxruntimeConnection(target, transport)
    finally:
        transport.close()
