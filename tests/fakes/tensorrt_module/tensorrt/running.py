"""Runtime, engine and context. What a context is told are addresses; they are read and written when the work is run."""

import ctypes
import functools
import json
import os
import struct
from pathlib import Path

from .building import HEADER, ILogger, check_logger
from .names import enum, version

_WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_TYPES = {"tensor(float)": ("FLOAT", "float32"), "tensor(float16)": ("HALF", "float16"), "tensor(int64)": ("INT64", "int64")}


def _complain(words):
    """Into the file that the fake CUDA runtime writes too."""
    if os.environ.get("FAKE_CUDA_LOG"):
        with Path(os.environ["FAKE_CUDA_LOG"]).open("a") as file:
            file.write(words + "\n")


class Runtime:
    def __init__(self, logger):
        check_logger(logger)
        if os.environ.get("FAKE_TENSORRT_NO_GPU"):
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger, self._engines = logger, [0]

    def deserialize_cuda_engine(self, serialized_engine):
        assert isinstance(serialized_engine, bytes)
        say = self._logger.log
        if serialized_engine[:4] != b"ftrt" or len(serialized_engine) < HEADER + 8:
            say(ILogger.ERROR, "Error Code 1: Serialization (magicTagRead == kMAGIC_TAG failed.Magic tag does not match)")
            return None
        built_by, size = struct.unpack("<II", serialized_engine[HEADER : HEADER + 8])
        numbers = version()
        if built_by != numbers[0] * 10000 + numbers[1] * 100 + numbers[2]:
            text = f"Version tag does not match. Note: Current Version: 232, Serialized Engine Version: {built_by}"
            say(ILogger.ERROR, f"Error Code 1: Serialization (stdVersionRead == kSERIALIZATION_VERSION failed.{text})")
            return None
        if os.environ.get("FAKE_TENSORRT_OTHER_MODULE"):
            say(ILogger.WARNING, "Using an engine plan file across different models of devices is not recommended")
        about = json.loads(serialized_engine[HEADER + 8 : HEADER + 8 + size].decode())
        return ICudaEngine(serialized_engine[HEADER + 8 + size :], about, self._logger, self._engines)

    def __del__(self):
        if getattr(self, "_engines", [0])[0]:
            _complain("released out of order: the runtime before its engine")


class ICudaEngine:
    def __init__(self, model, about, logger, counted):
        import onnxruntime

        self._session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        self._about, self._model, self._logger, self._counted, self._contexts = about, model, logger, counted, [0]
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._tensors = {one.name: (one, mode) for mode, kind in (("INPUT", inputs), ("OUTPUT", outputs)) for one in kind}
        counted[0] += 1

    @property
    def num_io_tensors(self):
        return len(self._tensors)

    def get_tensor_name(self, index):
        return list(self._tensors)[index]

    def get_tensor_mode(self, name):
        return enum("TensorIOMode")[self._tensors[name][1]]

    def get_tensor_dtype(self, name):
        return enum("DataType")[_TYPES[self._tensors[name][0].type][0]]

    def get_tensor_shape(self, name):
        return tuple(size if isinstance(size, int) else -1 for size in self._tensors[name][0].shape)

    def get_tensor_profile_shape(self, name, profile_index):
        assert profile_index == 0 and self._tensors[name][1] == "INPUT"
        rest = self.get_tensor_shape(name)[1:]
        return [(size, *rest) for size in self._about["profile"]]

    def create_execution_context(self, strategy=None):
        if os.environ.get("FAKE_TENSORRT_NO_CONTEXT"):
            self._logger.log(ILogger.ERROR, "Error Code 2: OutOfMemory (Requested size was 104857600 bytes.)")
            return None
        return IExecutionContext(self)

    def create_engine_inspector(self):
        return EngineInspector(self)

    def __del__(self):
        if getattr(self, "_contexts", [0])[0]:
            _complain("released out of order: the engine before its context")
        if hasattr(self, "_counted"):
            self._counted[0] -= 1


class EngineInspector:
    def __init__(self, engine):
        self._engine = engine

    def get_engine_information(self, format):
        assert format.name == "JSON"
        import onnx
        import trtexec_model

        about, model = self._engine._about, onnx.load_from_string(self._engine._model)
        half = "FP16" in about["flags"]
        layers = trtexec_model.layers_of(model, version(), half) if about["detailed"] else trtexec_model.layer_names(model)
        return json.dumps({"Layers": layers, "Bindings": list(self._engine._tensors), "Flags": about["flags"]})


class IExecutionContext:
    def __init__(self, engine):
        # Not the engine itself: whoever made it must keep it, as the C++ objects ask for.
        self._session, self._about, self._logger = engine._session, engine._about, engine._logger
        self._tensors, self._counted = engine._tensors, engine._contexts
        self._shapes = {name: engine.get_tensor_shape(name) for name in engine._tensors}
        self._addresses, self._kept, self._ran = {}, [], False
        self._cudart = ctypes.CDLL(os.environ["FAKE_CUDART"])
        self._cudart.fake_enqueue.argtypes = (ctypes.c_void_p, _WORK, ctypes.c_void_p, ctypes.c_int)
        self._cudart.fake_is_capturing.argtypes = (ctypes.c_void_p,)
        self._cudart.fake_is_device_memory.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
        self._counted[0] += 1

    def set_input_shape(self, name, shape):
        assert self._tensors[name][1] == "INPUT" and isinstance(shape, (tuple, list))
        least, _, most = self._about["profile"]
        if not least <= shape[0] <= most:
            self._logger.log(
                ILogger.ERROR, f"Error Code 3: API Usage Error (Supplied binding dimension {shape} is not in the profile)"
            )
            return False
        self._shapes = {one: (shape[0], *size[1:]) for one, size in self._shapes.items()}
        return True

    def get_tensor_shape(self, name):
        return self._shapes[name]

    def set_tensor_address(self, name, memory):
        assert name in self._tensors and type(memory) is int
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle):
        assert type(stream_handle) is int
        for name, shape in self._shapes.items():
            size = self._size(name)
            if -1 in shape:
                self._logger.log(ILogger.ERROR, f"Error Code 3: API Usage Error (the shape of {name} is not specified)")
                return False
            if not self._cudart.fake_is_device_memory(self._addresses.get(name), size):
                self._logger.log(ILogger.ERROR, f"Error Code 1: Cuda Runtime (an illegal memory access was encountered): {name}")
                return False
        work = _WORK(functools.partial(_compute, self._session, dict(self._sizes()), dict(self._addresses)))
        self._kept.append(work)
        initialises = self._cudart.fake_is_capturing(stream_handle) and not self._ran  # which must not be captured
        failed = self._cudart.fake_enqueue(stream_handle, work, None, int(initialises or self._about.get("uncapturable", False)))
        self._ran = True
        if failed:
            self._logger.log(ILogger.ERROR, "Error Code 1: Cuda Runtime (operation not permitted when stream is capturing)")
        return not failed

    def _sizes(self):
        """(name, (shape, dtype)) of every tensor."""
        return ((name, (shape, _TYPES[self._tensors[name][0].type][1])) for name, shape in self._shapes.items())

    def _size(self, name):
        import numpy

        shape, dtype = dict(self._sizes())[name]
        return int(numpy.prod(shape)) * numpy.dtype(dtype).itemsize

    def __del__(self):
        if hasattr(self, "_counted"):
            self._counted[0] -= 1


def _compute(session, sizes, addresses, _):
    """Run the model from and to those addresses. Holds no context: a captured graph may outlive it."""
    import numpy

    arrays = {}
    for name, (shape, dtype) in sizes.items():
        size = int(numpy.prod(shape)) * numpy.dtype(dtype).itemsize
        arrays[name] = numpy.frombuffer((ctypes.c_char * size).from_address(addresses[name]), dtype).reshape(shape)
    outputs = session.get_outputs()
    given = {one.name: arrays[one.name] for one in session.get_inputs()}
    for one, logits in zip(outputs, session.run(None, given), strict=True):
        arrays[one.name][...] = logits
