"""TensorRT's Python module and its log: every message kept, written as trtexec writes it, so that a host reads both alike."""

import re
import time

from .problem import Problem, one_line

OLDEST = (8, 5)  # the first with I/O by tensor names
_LETTERS = {"INTERNAL_ERROR": "F", "ERROR": "E", "WARNING": "W", "INFO": "I"}  # and VERBOSE, which would fill the disk
_made = []  # one logger a process, as TensorRT asks; never let go, since libraries keep a pointer to it


def module():
    """TensorRT's Python module. Raises Problem "environment": none, or older than 8.5 (trtexec serves those)."""
    try:
        import tensorrt

        numbers = version(tensorrt)
    except (ImportError, OSError, AttributeError) as error:  # a folder of that name beside the app has no version
        fix = "apt install python3-libnvinfer; a virtual environment needs --system-site-packages to see it"
        raise Problem("environment", "TensorRT's Python module cannot be imported", seen=one_line(error), fix=fix)
    if numbers[:2] < OLDEST:
        fix = "build and measure by trtexec there"
        raise Problem("environment", "TensorRT's Python module is older than 8.5", seen=str(tensorrt.__version__), fix=fix)
    return tensorrt


def version(trt):
    """(major, minor, patch) of the module."""
    numbers = [int(one) for one in re.findall(r"[0-9]{1,9}", str(trt.__version__))] + [0, 0, 0]
    return tuple(numbers[:3])


def version_number(numbers):
    """As trtexec prints it: 8502 of 8.5.2, 101303 of 10.13.3."""
    major, minor, patch = numbers
    return major * (1000 if major < 10 else 10000) + minor * 100 + patch


def logger(trt):
    """The process's one logger; ``lines`` is what was said so far, VERBOSE left out. Calls from other threads are fine."""
    if not _made:
        _made.append(_logger_class(trt)())
    return _made[0]


def _logger_class(trt):
    names = {getattr(trt.ILogger, name): letter for name, letter in _LETTERS.items()}

    class Logger(trt.ILogger):
        def __init__(self):
            trt.ILogger.__init__(self)  # by name: pybind11 refuses an object whose own base was not initialised
            self.lines = []

        def log(self, severity, msg):
            """Called by TensorRT; must not raise."""
            if severity in names:
                self.lines.append("%s [%s] [TRT] %s" % (_now(), names[severity], msg))

        def add(self, letter, msg):
            """A line of our own: "I" or "E"."""
            self.lines.append("%s [%s] %s" % (_now(), letter, msg))

        def last_errors(self, since=0, most=3):
            """The last errors in one line, for a person; "" when there are none."""
            said = [line.split("] ", 1)[1] for line in self.lines[since:] if re.match(r"\[[^\]]*\] \[[EF]\]", line)]
            return "; ".join(one_line(line, 200) for line in said[-most:])

    return Logger


def _now():
    return time.strftime("[%m/%d/%Y-%H:%M:%S]")
