"""CUDA's runtime library by ctypes: memory, streams, events, graphs. Needs no package and no compiler.

Every function has its argument types set, because ctypes passes a bare int as 32 bits and would cut a pointer; every return code
is checked. Handles and addresses are ints. What is made here is released by the ``with`` that made it.
"""

import contextlib
import ctypes
import glob
import os
import sys
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_size_t, c_uint, c_ulonglong, c_void_p

from .problem import Problem, one_line

NAMES = ("libcudart.so", "libcudart.so.10.2", "libcudart.so.11.0", "libcudart.so.12", "libcudart.so.13")
FOLDERS = ("/usr/local/cuda/lib64", "/usr/lib/aarch64-linux-gnu", "/usr/lib/x86_64-linux-gnu")
_TO_DEVICE, _TO_HOST = 1, 2
_SPIN = 1  # cudaDeviceScheduleSpin: waiting is running, as for trtexec --useSpinWait; else a Jetson sleeps and wakes late
_OWN_STREAM = 1  # cudaStreamNonBlocking: the default stream, which others may use, does not order it
_CAPABILITY = (75, 76)  # cudaDevAttrComputeCapabilityMajor and -Minor
_THIS_THREAD = 1  # cudaStreamCaptureModeThreadLocal
_OUT_OF_MEMORY = 2
_NO_DRIVER = (35, 100, 101, 304, 999)  # insufficient driver, no device, invalid device, operating system, unknown
_FIXES = {_OUT_OF_MEMORY: "close other programs and the desktop, or choose a smaller batch or model"}
_FIXES.update(
    (code, "install the driver; in a container pass the GPU through; on a Jetson join the groups video and render")
    for code in _NO_DRIVER
)
_HANDLE = POINTER(c_void_p)
_ARGUMENTS = {
    "cudaRuntimeGetVersion": (POINTER(c_int),),
    "cudaGetDeviceCount": (POINTER(c_int),),
    "cudaGetDevice": (POINTER(c_int),),
    "cudaDeviceGetAttribute": (POINTER(c_int), c_int, c_int),
    "cudaSetDeviceFlags": (c_uint,),
    "cudaMalloc": (_HANDLE, c_size_t),
    "cudaFree": (c_void_p,),
    "cudaHostAlloc": (_HANDLE, c_size_t, c_uint),
    "cudaFreeHost": (c_void_p,),
    "cudaMemcpyAsync": (c_void_p, c_void_p, c_size_t, c_int, c_void_p),
    "cudaStreamCreateWithFlags": (_HANDLE, c_uint),
    "cudaStreamDestroy": (c_void_p,),
    "cudaStreamSynchronize": (c_void_p,),
    "cudaEventCreateWithFlags": (_HANDLE, c_uint),
    "cudaEventDestroy": (c_void_p,),
    "cudaEventRecord": (c_void_p, c_void_p),
    "cudaEventSynchronize": (c_void_p,),
    "cudaEventElapsedTime": (POINTER(c_float), c_void_p, c_void_p),
    "cudaStreamBeginCapture": (c_void_p, c_int),
    "cudaStreamEndCapture": (c_void_p, _HANDLE),
    "cudaGraphDestroy": (c_void_p,),
    "cudaGraphExecDestroy": (c_void_p,),
    "cudaGraphLaunch": (c_void_p, c_void_p),
}
_INSTANTIATE_BEFORE_12 = (_HANDLE, c_void_p, c_void_p, c_char_p, c_size_t)  # graph, node in error, log, its size
_INSTANTIATE_SINCE_12 = (_HANDLE, c_void_p, c_ulonglong)  # graph, flags


def load():
    """CUDA's runtime, a GPU found, waiting set to spin. Call it before TensorRT or anything else uses the GPU.

    Raises Problem: "environment" (no such library), "device" (no driver, no GPU, no permission).
    """
    library, path = _library()
    return Runtime(library, path)


def candidates():
    """Where the library may lie, in the order tried: bare names for the loader's own search, then paths.

    With EDGEKD_DEVICE_ROOT only files below it. Older versions first: a new runtime does not work with an old driver.
    """
    root = os.environ.get("EDGEKD_DEVICE_ROOT", "").rstrip("/")
    paths = [root + folder + "/" + name for folder in FOLDERS for name in NAMES]
    if root:
        return paths
    wheels = [path for folder in sys.path for path in sorted(glob.glob(folder + "/nvidia/*/lib/libcudart.so.*"))]
    return list(NAMES) + paths + wheels


class Runtime:
    """The library, its functions typed and checked. version: 12060 for 12.6. path: what was loaded."""

    def __init__(self, library, path):
        self.path, self._library = path, library
        for name in ("cudaGetErrorName", "cudaGetErrorString"):
            self._function(name, (c_int,)).restype = c_char_p
        self._function("cudaGetLastError", ()).restype = c_int
        for name, arguments in _ARGUMENTS.items():
            self._checked(name, arguments)
        self.version = self._number("cudaRuntimeGetVersion")
        self._checked("cudaGraphInstantiate", _INSTANTIATE_SINCE_12 if self.version >= 12000 else _INSTANTIATE_BEFORE_12)
        if self._number("cudaGetDeviceCount") < 1:
            raise Problem("device", "there is no GPU", where=path, fix=_FIXES[100])
        library.cudaSetDeviceFlags(_SPIN)
        self._milliseconds = c_float()

    def compute_capability(self):
        """Of the GPU in use: "8.7"."""
        device = self._number("cudaGetDevice")
        return ".".join(str(self._number("cudaDeviceGetAttribute", which, device)) for which in _CAPABILITY)

    def device_memory(self, size):
        """With: ``size`` bytes of the GPU's memory; their address."""
        return self._owned("cudaFree", "cudaMalloc", size)

    @contextlib.contextmanager
    def pinned(self, shape, dtype):
        """With: a numpy array in host memory that copies do not wait for. Do not keep it, or views of it, any longer."""
        import numpy

        count = int(numpy.prod(shape, dtype=numpy.int64))
        size = count * numpy.dtype(dtype).itemsize
        with self._owned("cudaFreeHost", "cudaHostAlloc", size, 0) as address:
            yield numpy.frombuffer((ctypes.c_char * size).from_address(address), dtype, count).reshape(shape)

    def stream(self):
        """With: a queue of work; its handle."""
        return self._owned("cudaStreamDestroy", "cudaStreamCreateWithFlags", _OWN_STREAM)

    def event(self):
        """With: a mark in a stream that knows when it was passed; its handle."""
        return self._owned("cudaEventDestroy", "cudaEventCreateWithFlags", 0)

    def copy_to_device(self, address, array, stream):
        self._library.cudaMemcpyAsync(address, array.ctypes.data, array.nbytes, _TO_DEVICE, stream)

    def copy_to_host(self, array, address, stream):
        self._library.cudaMemcpyAsync(array.ctypes.data, address, array.nbytes, _TO_HOST, stream)

    def synchronise(self, stream):
        """Wait until a stream has nothing left to do. A failure of earlier work may be told here."""
        self._library.cudaStreamSynchronize(stream)

    def record(self, event, stream):
        self._library.cudaEventRecord(event, stream)

    def wait(self, event):
        self._library.cudaEventSynchronize(event)

    def milliseconds(self, start, end):
        """Between two events that were passed; the clock is the GPU's, its step about half a microsecond."""
        self._library.cudaEventElapsedTime(byref(self._milliseconds), start, end)
        return self._milliseconds.value

    @contextlib.contextmanager
    def captured(self, stream, enqueue):
        """With: a graph of what ``enqueue()``, which must already have run once, puts on the stream, ready for ``launch``.

        None where that cannot be captured: enqueue() returned False, or CUDA says so.
        """
        graph = self._capture(stream, enqueue)
        executable = c_void_p()
        try:
            rest = (0,) if self.version >= 12000 else (None, None, 0)
            if graph:
                self._library.cudaGraphInstantiate(byref(executable), graph, *rest)
        except Problem:
            self._library.cudaGetLastError()  # forget it: it is not an error of what follows
        finally:
            if graph:
                self._library.cudaGraphDestroy(graph)
        try:
            yield executable.value
        finally:
            if executable:
                self._library.cudaGraphExecDestroy(executable)

    def launch(self, executable, stream):
        self._library.cudaGraphLaunch(executable, stream)

    def _capture(self, stream, enqueue):
        graph, enqueued = c_void_p(), False
        self._library.cudaStreamBeginCapture(stream, _THIS_THREAD)
        try:
            enqueued = enqueue()
        finally:
            try:
                self._library.cudaStreamEndCapture(stream, byref(graph))
            except Problem:
                enqueued = False
                self._library.cudaGetLastError()
        if graph and not enqueued:
            self._library.cudaGraphDestroy(graph)
        return graph if graph and enqueued else None

    @contextlib.contextmanager
    def _owned(self, release, make, *arguments):
        """Make something whose handle comes by its first argument; release it at the end, silently after a failure."""
        handle = c_void_p()
        getattr(self._library, make)(byref(handle), *arguments)
        try:
            yield handle.value
        except BaseException:
            with contextlib.suppress(Problem):  # the first failure is the one to tell
                getattr(self._library, release)(handle)
            raise
        getattr(self._library, release)(handle)

    def _number(self, name, *arguments):
        value = c_int()
        getattr(self._library, name)(byref(value), *arguments)
        return value.value

    def _checked(self, name, arguments):
        function = self._function(name, arguments)
        function.restype, function.errcheck = c_int, self._check

    def _function(self, name, arguments):
        try:
            function = getattr(self._library, name)
        except AttributeError:
            fix = "CUDA 10.2 and newer have it; install that one"
            raise Problem("environment", "CUDA's runtime library lacks %s" % name, where=self.path, fix=fix)
        function.argtypes = arguments
        return function

    def _check(self, code, function, arguments):
        if code:
            name, words = (getattr(self._library, one)(code) or b"?" for one in ("cudaGetErrorName", "cudaGetErrorString"))
            seen = "%s: %s (%d)" % (name.decode("utf-8", "replace"), words.decode("utf-8", "replace"), code)
            sizes = ["%d bytes" % one for one in arguments[1:2] if function.__name__ in ("cudaMalloc", "cudaHostAlloc")]
            kind, what = "device", "CUDA refuses %s" % function.__name__
            if code == _OUT_OF_MEMORY:
                kind, what = "device-memory", "the GPU is out of memory"
            raise Problem(kind, what, " ".join([function.__name__] + sizes), seen, _FIXES.get(code))
        return code


def _library():
    tried, refused = candidates(), []
    for path in tried:
        if path.startswith("/") and not os.path.exists(path):
            continue
        try:
            return ctypes.CDLL(path), path
        except OSError as error:
            refused.append(one_line(error, 120))
    fix = "install CUDA's runtime (on a Jetson: apt install nvidia-jetpack), or name its folder in LD_LIBRARY_PATH"
    said = "; ".join(one for one in refused if "No such file" not in one and "cannot open shared object" not in one)
    raise Problem("environment", "CUDA's runtime library was not found", seen=said or "tried %s" % ", ".join(NAMES), fix=fix)
