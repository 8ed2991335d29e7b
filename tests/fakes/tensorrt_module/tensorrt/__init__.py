"""A stand-in for TensorRT's Python module: the names of the version FAKE_TENSORRT_VERSION says, and no others.

What a version has is read from the tables of tests/fixtures/tensorrt_api: a name that is not there raises AttributeError. Order
and arguments are checked as the real one does or more strictly. An engine of this module is a plan header and the ONNX file, run
by onnxruntime between addresses of the fake CUDA runtime (FAKE_CUDART names that library), which knows whether they are its own.

FAKE_TENSORRT_UNCAPTURABLE: engines built now refuse to be captured. FAKE_CUDA_MEMORY: a larger workspace is out of memory.
"""

import os

from . import building, running
from .names import enum, only_published, version

__version__ = ".".join(map(str, version()))

BuilderFlag = enum("BuilderFlag")
DataType = enum("DataType")
LayerInformationFormat = enum("LayerInformationFormat")
MemoryPoolType = enum("MemoryPoolType")
NetworkDefinitionCreationFlag = enum("NetworkDefinitionCreationFlag")
ProfilingVerbosity = enum("ProfilingVerbosity")
TensorIOMode = enum("TensorIOMode")

ILogger = building.ILogger
Builder = only_published(building.Builder)
IBuilderConfig = only_published(building.IBuilderConfig)
IHostMemory = only_published(building.IHostMemory)
ITimingCache = only_published(building.ITimingCache)
OnnxParser = only_published(building.OnnxParser)
ParserError = only_published(building.ParserError)
EngineInspector = only_published(running.EngineInspector)
ICudaEngine = only_published(running.ICudaEngine)
IExecutionContext = only_published(running.IExecutionContext)
Runtime = only_published(running.Runtime)


def init_libnvinfer_plugins(logger, namespace):
    building.check_logger(logger)
    assert namespace == ""
    return True


if os.environ.get("FAKE_TENSORRT_BROKEN"):
    raise ImportError(f"libnvinfer.so.{version()[0]}: cannot open shared object file: No such file or directory")
