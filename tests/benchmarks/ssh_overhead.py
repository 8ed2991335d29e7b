"""What a call of the agent over ssh takes beyond the same call here: ten probes over a real sshd on loopback.

    python tests/benchmarks/ssh_overhead.py

Prints medians with the least and the greatest, in milliseconds.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "fakes"))

import sshd

from edgekd.targets import Host, Target, profile
from edgekd.targets.cpu import CpuConnection
from edgekd.targets.transport.local import LocalTransport
from edgekd.targets.transport.ssh import SshTransport

CALLS = 10


def seconds(transport, device: str) -> list[float]:
    target = Target("there", profile(device), "onnxruntime", "fp32", "always", 1, sys.executable)
    connection, times = CpuConnection(target, transport), []
    for _ in range(CALLS + 1):
        start = time.perf_counter()
        connection.probe()
        times.append(time.perf_counter() - start)
    return times[1:]  # the first finds nothing in any cache


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        device = sshd.Sshd(Path(folder, "device"))
        device.start()
        try:
            start = time.perf_counter()
            remote = SshTransport("there", Host.parse(sshd.NAME), sys.executable, device.config)
            print(f"open: {1e3 * (time.perf_counter() - start):.0f} ms")
            there, local = seconds(remote, "linux"), LocalTransport()
            here = seconds(local, "local-cpu")
            remote.close()
            local.close()
        finally:
            device.stop()
    shown = [f"{1e3 * statistics.median(one):.0f} [{1e3 * min(one):.0f}, {1e3 * max(one):.0f}] ms" for one in (there, here)]
    more = 1e3 * (statistics.median(there) - statistics.median(here))
    print(f"probe: by ssh {shown[0]}, here {shown[1]}, more by {more:.0f} ms")


if __name__ == "__main__":
    main()
