"""Reach a target's device: by the transport that leads there, with the runtime the recipe asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from edgekd.core import DeviceError
from edgekd.targets.client import Connection
from edgekd.targets.cpu import CpuConnection
from edgekd.targets.profiles import profile
from edgekd.targets.reach import Reach
from edgekd.targets.target import Target
from edgekd.targets.transport import Transport
from edgekd.targets.transport.local import LocalTransport
from edgekd.targets.transport.recorded import RecordedTransport
from edgekd.targets.transport.ssh import SshTransport


@contextmanager
def connect(target: Target, reach: Reach | None = None) -> Iterator[Connection]:
    """Reach the target's device: a private work folder there, the agent put into it; both are gone afterwards.

    reach: where devices are that are not this machine. Raises DeviceError: no host is known (ask ``why_not_measured`` first),
    or the host cannot be reached or used.
    """
    transport = _transport(target, reach)
    try:
        yield _connection(target, transport)
    finally:
        transport.close()


@contextmanager
def this_machine() -> Iterator[Connection]:
    """onnxruntime on the machine that edgekd runs on, whatever the recipe's targets are: for what others are compared with."""
    threads = len(os.sched_getaffinity(0))
    here = Target("this machine", profile("local-cpu"), "onnxruntime", "fp32", "always", threads)
    with connect(here, Reach()) as connection:
        yield connection


def _transport(target: Target, reach: Reach | None) -> Transport:
    if target.profile.is_local:
        return LocalTransport()
    if reach is not None and target.name in reach.replies:
        return RecordedTransport(target.name, reach.replies[target.name])
    if reach is None or target.name not in reach.hosts:
        what = "no host is given for this target"
        raise DeviceError(what, where=target.name, seen=target.profile.name, fix=f"--host {target.name}=[user@]HOST")
    return SshTransport(target.name, reach.hosts[target.name], target.python, reach.ssh_config)


def _connection(target: Target, transport: Transport) -> Connection:
    if target.runtime == "tensorrt":
        from edgekd.targets.tensorrt.connection import TensorrtConnection

        return TensorrtConnection(target, transport)
    return CpuConnection(target, transport)
