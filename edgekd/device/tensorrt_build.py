"""Building an engine by TensorRT's Python API, told with the words trtexec is told with. Anything it does not know is refused."""

import re

from .problem import Problem
from .tensorrt_log import version

_MIB = 1 << 20
_STRONGLY_TYPED = "--stronglyTyped"
_PRECISIONS = {"--fp16": "FP16", "--int8": "INT8"}  # trtexec's word: the BuilderFlag, which 11 has no more
_IMPLIED = ("--buildOnly", "--skipInference", "--profilingVerbosity=detailed")  # what happens here anyway
_NUMBERED = (r"--(workspace)=(\d+)", r"--memPoolSize=(workspace):(\d+)M?", r"--(builderOptimizationLevel)=([0-5])")


def read_words(trt, words):
    """{"strongly_typed", "flags": [BuilderFlag names], "tf32", "workspace": bytes or None, "level": or None} of trtexec's words.

    Raises Problem "device" for a word that this TensorRT or this code does not know: ignoring it would build something else.
    """
    numbers = {}
    for word in words:
        for pattern in _NUMBERED:
            match = re.match(pattern + "$", word)
            if match:
                numbers[match.group(1)] = int(match.group(2))
                break
        else:
            if word not in _IMPLIED and word not in _PRECISIONS and word not in (_STRONGLY_TYPED, "--noTF32"):
                raise Problem("device", "TensorRT's Python API is not told this option here", seen=word, fix="use trtexec")
    strongly_typed = _STRONGLY_TYPED in words or not hasattr(trt.BuilderFlag, "INT8")  # from 11 on there is no other way
    wanted = [word for word in words if word in _PRECISIONS]
    if wanted and strongly_typed:
        fix = "leave it out: in a strongly typed network the file fixes the precision"
        raise Problem("device", "a strongly typed network takes no precision option", seen=" ".join(wanted), fix=fix)
    workspace = numbers.get("workspace")
    return {
        "strongly_typed": strongly_typed,
        "flags": [_PRECISIONS[word] for word in wanted],
        "tf32": "--noTF32" not in words,
        "workspace": None if workspace is None else workspace * _MIB,
        "level": numbers.get("builderOptimizationLevel"),
    }


def plan_of(trt, logger, onnx_path, words, timing_cache=b""):
    """Build the engine of an ONNX file; what happens is said to the logger.

    Returns (the engine's bytes, the timing cache's bytes); None for the first where TensorRT refused: the log says why.
    Raises Problem "device": no GPU, or words that mean nothing here.
    """
    asked = read_words(trt, words)
    builder = created(trt.Builder, logger)
    trt.init_libnvinfer_plugins(logger, "")  # as trtexec does: some operators are imported as plugins
    network = builder.create_network(_network_flags(trt, asked["strongly_typed"]))
    parser = trt.OnnxParser(network, logger)
    with open(onnx_path, "rb") as file:
        understood = parser.parse(file.read())
    if not understood:
        for number in range(parser.num_errors):
            logger.add("E", _error_text(parser.get_error(number)))
        logger.add("E", "Failed to parse onnx file")
        return None, b""
    config = builder.create_builder_config()
    cache = _configure(trt, config, asked, timing_cache)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        logger.add("E", "Engine could not be created from network")
        return None, b""
    # bytes(): the buffer's own element format is float32 whatever it holds, which memoryview and numpy would believe.
    return bytes(plan), bytes(cache.serialize())


def created(kind, logger):
    """trt.Builder(logger) or trt.Runtime(logger). Raises Problem "device" where there is none, that is: no usable GPU."""
    since = len(logger.lines)
    try:
        return kind(logger)
    except TypeError as error:  # pybind11: "factory function returned nullptr"
        fix = "run nvidia-smi, or tegrastats on a Jetson; join the groups video and render"
        raise Problem("device", "TensorRT cannot use the GPU", seen=logger.last_errors(since) or str(error), fix=fix)


def _configure(trt, config, asked, timing_cache):
    """Set what was asked for; returns the timing cache, an empty one where ``timing_cache`` is of another device or version."""
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # else the inspector names layers and nothing more
    if asked["workspace"] is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, asked["workspace"])
    for name in asked["flags"]:
        config.set_flag(getattr(trt.BuilderFlag, name))
    if not asked["tf32"]:
        config.clear_flag(trt.BuilderFlag.TF32)
    if asked["level"] is not None:
        if not hasattr(config, "builder_optimization_level"):
            raise Problem("device", "this TensorRT has no optimization levels", seen=str(trt.__version__), fix="8.6 is the first")
        config.builder_optimization_level = asked["level"]
    cache = config.create_timing_cache(timing_cache)
    if cache is None or not config.set_timing_cache(cache, False):
        cache = config.create_timing_cache(b"")
        config.set_timing_cache(cache, False)
    return config.get_timing_cache()


def _network_flags(trt, strongly_typed):
    """8.x needs EXPLICIT_BATCH, 10 ignores it, 11 has it no more and is strongly typed whatever is said."""
    major = version(trt)[0]
    if major < 10:
        if strongly_typed:
            raise Problem(
                "device", "this TensorRT knows no strongly typed networks", seen=str(trt.__version__), fix="10 is the first"
            )
        return 1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)
    return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if strongly_typed and major == 10 else 0


def _error_text(error):
    """One parser error with its node; from 10 on the node's name and operator are known, before its number only."""
    named = ""
    if hasattr(error, "node_name"):
        named = " with name: %s and operator: %s" % (error.node_name(), error.node_operator())
    place = "%s, %s:%d" % (error.func(), error.file(), error.line())
    return "In node %d%s: %s: %s (%s)" % (error.node(), named, error.code(), error.desc(), place)
