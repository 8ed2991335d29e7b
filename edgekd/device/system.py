"""A device's own files and programs, below EDGEKD_DEVICE_ROOT when that is set (a container that sees its host, tests).

Programs are asked in batch: nothing on stdin, plain English, a deadline, never a password. What is not there is not asked.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time

from . import children

_MOST_BYTES = 1 << 20
_POLL_S = 0.01
_FOLDERS = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")


def below_root(path):
    return os.environ.get("EDGEKD_DEVICE_ROOT", "").rstrip("/") + path


def read(path):
    """A small system file as text; "" when it cannot be read."""
    try:
        with open(below_root(path), "rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def program(name):
    """The path of a program: in a system folder or, where no other root is set, on the PATH. None: not there."""
    for folder in _FOLDERS:
        path = below_root("%s/%s" % (folder, name))
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None if below_root("") else shutil.which(name)


def gpu_index():
    """Of the GPU that is used, as nvidia-smi counts."""
    return os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]


def as_root(words):
    """The words that run a program as root: its own, or behind ``sudo -n``, which fails where it would ask for a password."""
    sudo = None if os.geteuid() == 0 else program("sudo")
    return [sudo, "-n"] + words if sudo else words


def ask(words, seconds):
    """(exit status, what it said on stdout and stderr) of a program; the status is None when it did not end in time."""
    return ask_all({"": words}, seconds).get("", (127, "it cannot be started"))


def ask_all(questions, seconds):
    """The same of several programs at once, {name: words}; what cannot be started has no answer. Call it on the main thread."""
    until, asked = time.monotonic() + seconds, {}
    environment = dict(os.environ, LC_ALL="C", PATH=os.pathsep.join((os.environ.get("PATH", ""),) + _FOLDERS).strip(os.pathsep))
    with contextlib.ExitStack() as stack:
        for name in sorted(questions):
            answer = stack.enter_context(tempfile.TemporaryFile())
            with contextlib.suppress(OSError):
                child = children.start(questions[name], stdout=answer, stderr=subprocess.STDOUT, env=environment, cwd="/")
                stack.callback(children.end, child)
                asked[name] = (child, answer)
        while any(child.poll() is None for child, _ in asked.values()) and time.monotonic() < until:
            time.sleep(_POLL_S)
        return {name: (child.poll(), _said(answer)) for name, (child, answer) in asked.items()}


def _said(answer):
    answer.seek(0)
    return answer.read(_MOST_BYTES).decode("utf-8", "replace")
