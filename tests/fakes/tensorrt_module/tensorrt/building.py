"""Builder, network, parser and their kin. A network is the ONNX file; building it is writing a plan header before it."""

import json
import os
import struct

from .names import published, version

HEADER = 28
UNKNOWN_OPS = ("Det", "NonMaxSuppression")  # what this importer has no importer for


class ILogger:
    """As pybind11's: whoever derives from it calls its __init__."""

    INTERNAL_ERROR, ERROR, WARNING, INFO, VERBOSE = range(5)

    def __init__(self):
        self._initialised = True

    def log(self, severity, msg):
        raise RuntimeError('Tried to call pure virtual function "ILogger::log"')


def check_logger(logger):
    if not isinstance(logger, ILogger) or not getattr(logger, "_initialised", False):
        raise TypeError("tensorrt.ILogger.__init__() must be called when overriding __init__")


class Builder:
    def __init__(self, logger):
        check_logger(logger)
        if os.environ.get("FAKE_TENSORRT_NO_GPU"):
            logger.log(ILogger.ERROR, "CUDA initialization failure with error: 35. Please check your CUDA installation.")
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger

    def create_network(self, flags=0):
        flag = published()["NetworkDefinitionCreationFlag"]
        values = {name: 1 << index for index, name in enumerate(sorted(flag))}
        if version()[0] < 10:
            assert flags & values["EXPLICIT_BATCH"], "a network of an implicit batch cannot be parsed into"
        assert flags < 1 << len(values), "flags that this version does not have"
        return _Network(version()[0] >= 11 or bool(flags & values.get("STRONGLY_TYPED", 0)))

    def create_builder_config(self):
        return IBuilderConfig()

    def build_serialized_network(self, network, config):
        self._logger.log(ILogger.VERBOSE, "=== a thousand lines about tactics ===")
        quantized = b"QuantizeLinear" in (network.model or b"")
        refused = None
        if network.model is None:
            refused = "4: Internal Error (Network must have at least one output)"
        elif config._workspace > int(os.environ.get("FAKE_CUDA_MEMORY", 1 << 40)):
            refused = f"2: OutOfMemory (Requested amount of GPU memory ({config._workspace} bytes) could not be allocated.)"
        elif network.dynamic and not network.profiles:
            refused = "4: Internal Error (Network has dynamic or shape inputs, but no optimization profile has been defined.)"
        elif quantized and not network.strongly_typed and "INT8" not in config._flags:
            refused = "9: Internal Error (Int8 precision has been set for a layer, but int8 is not configured in the builder)"
        if refused:
            self._logger.log(ILogger.ERROR, f"Error Code {refused}")
        else:
            assert config._cache is not None, "nothing is learned without a timing cache"
            config._cache.content = plan({}, b"learned")
            uncapturable = bool(os.environ.get("FAKE_TENSORRT_UNCAPTURABLE"))
            detailed = config.profiling_verbosity is not None and config.profiling_verbosity.name == "DETAILED"
            about = {"uncapturable": uncapturable, "detailed": detailed, "flags": sorted(config._flags)}
            return IHostMemory(plan(about, network.model))
        return None


def plan(about, content, built_by=None):
    """Header, then a document about the engine, then the ONNX file. The place of the version: as public from 10.0 on."""
    numbers = (built_by or version()) + (0,)
    said = json.dumps(about).encode()
    place = bytes(numbers[:4]) if numbers[0] >= 10 else b"\0\0\0\0"
    return b"ftrt" + struct.pack("<I", 0) + bytes(16) + place + struct.pack("<II", *_checked(numbers), len(said)) + said + content


def _checked(numbers):
    return [numbers[0] * 10000 + numbers[1] * 100 + numbers[2]]


class _Network:
    def __init__(self, strongly_typed):
        self.strongly_typed, self.model, self.dynamic, self.profiles = strongly_typed, None, False, []


class IBuilderConfig:
    def __init__(self):
        self._flags, self._workspace, self._cache = {"TF32"}, 0, None
        self.profiling_verbosity = None
        self._level = 3

    @property
    def builder_optimization_level(self):
        return self._level

    @builder_optimization_level.setter
    def builder_optimization_level(self, level):
        self._level = level

    def set_memory_pool_limit(self, pool, pool_size):
        assert pool.name == "WORKSPACE" and isinstance(pool_size, int)
        self._workspace = pool_size

    def set_flag(self, flag):
        self._flags.add(flag.name)

    def clear_flag(self, flag):
        self._flags.discard(flag.name)

    def create_timing_cache(self, serialized_timing_cache):
        assert isinstance(serialized_timing_cache, bytes)
        whole = not serialized_timing_cache or serialized_timing_cache[:4] == b"ftrt"
        return ITimingCache(serialized_timing_cache) if whole else None

    def set_timing_cache(self, cache, ignore_mismatch):
        good = not cache.content or cache.content == plan({}, b"learned")
        if not good and ignore_mismatch:
            raise RuntimeError("timings of another version or device are used")
        if good:
            self._cache = cache
        return good

    def get_timing_cache(self):
        return self._cache


class ITimingCache:
    def __init__(self, content):
        self.content = content

    def serialize(self):
        return IHostMemory(self.content)


class IHostMemory:
    """Bytes, and nothing but bytes() reads it: the real one's buffer says float32 of one byte each."""

    def __init__(self, content):
        self._content = content

    @property
    def nbytes(self):
        return len(self._content)

    def __bytes__(self):
        return self._content


class OnnxParser:
    def __init__(self, network, logger):
        check_logger(logger)
        assert isinstance(network, _Network)
        self._network, self._logger, self._errors = network, logger, []

    def parse(self, model, path=None):
        import onnxruntime

        assert isinstance(model, bytes)
        if any(bytes((0x22, len(op))) + op.encode() in model for op in UNKNOWN_OPS):  # a NodeProto's op_type
            return self._refuse_unknown(model)
        try:
            shape = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).get_inputs()[0].shape
        except Exception as error:  # noqa: BLE001  onnxruntime has kinds of its own
            self._errors.append(ParserError(-1, "", "", f"Failed to parse the model: {type(error).__name__}"))
            return False
        self._network.model = model
        self._network.dynamic = not all(isinstance(size, int) for size in shape)
        return True

    def _refuse_unknown(self, model):
        import onnx  # takes longer to import than all else here

        for index, node in enumerate(onnx.load_from_string(model).graph.node):
            if node.op_type in UNKNOWN_OPS:
                said = f"No importer registered for op: {node.op_type}"
                self._logger.log(ILogger.ERROR, said)
                self._errors.append(ParserError(index, node.name, node.op_type, said))
        return not self._errors

    @property
    def num_errors(self):
        return len(self._errors)

    def get_error(self, index):
        return self._errors[index]


class ParserError:
    def __init__(self, node, name, operator, desc):
        self._node, self._name, self._operator, self._desc = node, name, operator, desc

    def code(self):
        return "ErrorCode.UNSUPPORTED_NODE"

    def desc(self):
        return self._desc

    def file(self):
        return "ModelImporter.cpp"

    def line(self):
        return 732

    def func(self):
        return "parseGraph"

    def node(self):
        return self._node

    def node_name(self):
        return self._name

    def node_operator(self):
        return self._operator
