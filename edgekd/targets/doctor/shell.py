"""What a device's shell can tell without edgekd's agent: so that one without Python still says what it is."""

from __future__ import annotations

import re
import secrets
import shlex
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekd.core import DeviceError
from edgekd.core.files import disk_problems
from edgekd.targets.transport import remote
from edgekd.targets.transport.openssh import OpenSsh
from edgekd.targets.transport.trouble import trouble

_ASK_S, _MOST_BYTES = 150.0, 1 << 20
_EACH_S = 20
_LIMIT = f't() {{ if command -v timeout >/dev/null 2>&1; then timeout {_EACH_S} "$@"; else "$@"; fi; }}; r=$EDGEKD_DEVICE_ROOT; '


@dataclass(frozen=True)
class Told:
    """status: of what was asked; 126 and 127: it is not there. text: what it said on stdout and stderr."""

    status: int
    text: str

    @property
    def last(self) -> str:
        """The last line, where programs say what went wrong."""
        lines = [line.strip() for line in self.text.splitlines() if line.strip()]
        return lines[-1] if lines else ""


def ask_shell(ssh: OpenSsh, python: str) -> dict[str, Told]:
    """{what: Told} of everything in ``_questions``. Raises DeviceError: ssh does not get there, or the shell does not answer."""
    token = secrets.token_hex(8)
    script = _LIMIT + "; ".join(
        f"printf '\\n{token} {name}\\n'; ( {question} ) </dev/null 2>&1; printf '\\n{token} = %d\\n' $?"
        for name, question in _questions(python).items()
    )
    with disk_problems(Path(tempfile.gettempdir())), tempfile.TemporaryFile() as stdout:
        done = ssh.run(remote.bracketed(script, token), None, stdout, _ASK_S, _MOST_BYTES)
        stdout.seek(0)
        said = stdout.read(_MOST_BYTES).decode("utf-8", "replace")
    found = re.findall(rf"^{token} (\w+)\n(.*?)\n{token} = (\d+)$", said, re.MULTILINE | re.DOTALL)
    if not found:
        if done.status is None:
            fix = f"look at what else runs there; try: {ssh.by_hand} true"
            raise DeviceError("the device does not answer", seen=f"{ssh.by_hand}: nothing after {_ASK_S:.0f} s", fix=fix)
        raise trouble(done.stderr, ssh.by_hand, "ssh")
    return {name: Told(int(status), text.strip("\n")) for name, text, status in found}


def _questions(python: str) -> Mapping[str, str]:
    """Each ends by itself: after _EACH_S seconds where the device has ``timeout``, as every Linux but the smallest does."""
    run = f"t {remote.program(python)} -E -c "

    def version(module: str) -> str:
        return run + shlex.quote(f"import {module}; print({module}.__version__)")

    return {
        "python": run + shlex.quote('import sys; print("%d.%d.%d" % sys.version_info[:3])'),
        "numpy": version("numpy"),
        "onnxruntime": version("onnxruntime"),
        "user": "id -un",
        "groups": "id -Gn",
        "gpu_groups": "getent group video render | cut -d: -f1",
        "arch": 'cat "$r/proc/sys/kernel/arch" 2>/dev/null || uname -m',
        "nv_tegra_release": 'cat "$r/etc/nv_tegra_release"',
        "device_tree_model": "tr '\\0' '\\n' < \"$r/proc/device-tree/model\"",
        "device_tree_compatible": "tr '\\0' '\\n' < \"$r/proc/device-tree/compatible\"",
        "memory": 'cat "$r/proc/meminfo"',
        "disk": 'df -Pk "$HOME" | tail -n 1',
        "tegrastats": '[ -x "$r/usr/bin/tegrastats" ] || exit 127; timeout 5 "$r/usr/bin/tegrastats" --interval 200 | head -n 1',
    }
