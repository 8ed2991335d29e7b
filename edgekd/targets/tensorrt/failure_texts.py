"""What trtexec and TensorRT print when something fails, and what each text means. No processes, no judging.

Texts: public reports and the print statements of the open-source trtexec, of 8.2 to 11.1.
"""

from __future__ import annotations

from typing import NamedTuple

from edgekd.core import DeviceError, DeviceMemoryError, EdgekdError, EnvironmentProblem, InputError

REBUILD = "delete the engine and build it again on this device: an engine runs only where, and with what, it was built"
MEMORY = "stop the desktop and what else uses memory (CPU and GPU share it), or leave the builder a smaller workspace"
_EXPORT = "export the model again with edgekd, which writes what this TensorRT takes"
_RIGHT_FILE = f"{_EXPORT}: the file for TensorRT, not the one for onnxruntime"
_OTHER_OPERATOR = "use a model without it, or a newer JetPack"
_GROUPS = "put the user into the groups video and render (sudo usermod -aG video,render USER, then log in again)"
_CONTAINER = "in a container: --runtime nvidia"


class Rule(NamedTuple):
    """pattern: searched line by line. what: with the pattern's named groups filled in."""

    pattern: str
    what: str
    fix: str
    kind: type[EdgekdError] = DeviceError


_OPTIONS = (
    Rule(r"Unknown option: ?(?P<it>.+)", "trtexec does not know an option it was given: {it}",
         "is the version of TensorRT this device tells the one its trtexec has? See edgekd doctor"),
    Rule(r"\bsto[ifl]+$", "trtexec cannot read a number it was given", "see the command in its log"),
    Rule(r"Static model does not take explicit shapes", "shapes were given for a model whose shapes are fixed",
         "leave the shapes out", InputError),
    Rule(r"Cannot create DLA engine", "the device has no DLA to build for", "leave DLA out: edgekd builds for the GPU"),
)  # fmt: skip
_ENGINES = (
    Rule(r"Version tag does not match.*Current Version: (?P<here>\d+), Serialized Engine Version: (?P<there>\d+)",
         "the engine was built by another TensorRT (its format is {there}, this one reads {here})", REBUILD),
    Rule(r"expecting library version (?P<here>[\d.]+\d) got (?P<there>[\d.]+\d)",
         "the engine was built by TensorRT {there}; this is {here}", REBUILD),
    Rule(r"Version tag does not match|not compatible with this version of TensorRT",
         "the engine was built by another TensorRT", REBUILD),
    Rule(r"incompatible device, expecting compute (?P<one>[\d.]+) got compute (?P<other>[\d.]+)",
         "the engine was built for another GPU (compute capability {one} or {other}; one of them is this device's)", REBUILD),
    Rule(r"generated on an incompatible device", "the engine was built for another GPU", REBUILD),
    Rule(r"(?i)magic ?tag", "this is no engine, or a file cut short", f"is the disk full? {REBUILD}"),
    Rule(r"Error opening engine file", "trtexec cannot open the engine", REBUILD),
    Rule(r"Saving engine to file failed|No space left on device", "the engine could not be written",
         "make room on the device's disk (df -h)"),
)  # fmt: skip
_INSTALLATION = (
    Rule(r"(?i)cudaErrorInsufficientDriver|driver version is insufficient|Cuda initialization failure",
         "CUDA does not start on the device", f"do driver and CUDA come from one JetPack? {_CONTAINER}", EnvironmentProblem),
    Rule(r"(?i)no CUDA-capable device|cudaErrorNoDevice|NvRmMemInit\w* failed"
         r"|/dev/nv(?:host|map|gpu|idia).*denied|denied.*/dev/nv(?:host|map|gpu|idia)",
         "the GPU of the device cannot be opened", f"{_GROUPS}; {_CONTAINER}", EnvironmentProblem),
    Rule(r"error while loading shared libraries: (?P<it>[^:]+)", "trtexec lacks a library on the device: {it}",
         "install TensorRT of this JetPack whole (sudo apt install tensorrt)", EnvironmentProblem),
)  # fmt: skip
# Warnings by which TensorRT passes over ways to run a layer; where none is left, memory is what it lacked.
NO_ROOM = Rule(r"insuff?icient memory on requested size|memory is insufficient to use tactic",
               "the device is out of memory: TensorRT had no room to try the ways it has to run a layer", MEMORY,
               DeviceMemoryError)  # fmt: skip
NO_KERNEL = "Could not find any implementation for node"
_MEMORY_AND_KERNELS = (
    Rule(r"Requested amount of GPU memory \((?P<it>\d+) bytes\) could not be allocated",
         "the device is out of memory: {it} bytes were asked for", MEMORY, DeviceMemoryError),
    Rule(r"(?i)out ?of ?memory|could not be allocated|std::bad_alloc|allocator error|Cannot allocate memory"
         r"|NvMapMemAlloc\w*: \d+ error 12\b", "the device is out of memory", MEMORY, DeviceMemoryError),
    Rule(NO_KERNEL + r" (?P<it>.+?)\.?\)?$", "TensorRT has no way to run node {it}",
         "leave this layer in float, or give the builder more workspace; some int8 patterns have no kernel in some versions"),
)  # fmt: skip
_MODELS = (
    Rule(r"(?:No importer registered for op|could not find plugin): ?(?P<it>\w+)",
         "this TensorRT does not know the operator {it}", _OTHER_OPERATOR, InputError),
    Rule(r"Plugin not found", "this TensorRT does not know an operator of the model", _OTHER_OPERATOR, InputError),
    Rule(r"Unsupported ONNX data type", "the model has a data type this TensorRT does not know", _EXPORT, InputError),
    Rule(r"shiftIsAllZeros|only supports symmetric quantization",
         "the model is quantized asymmetrically: a zero point is not 0", _RIGHT_FILE, InputError),
    Rule(r"only activation types allowed as input to this layer",
         "the model's biases are quantized; TensorRT wants them in float", _RIGHT_FILE, InputError),
    Rule(r"int8 is not configured in the builder", "the model has Q/DQ nodes, and int8 was not asked for",
         "precision: int8 or int8+fp16 for this file, or the float file for this precision", InputError),
)  # fmt: skip
_FILES = (
    Rule(r"(?i)(?:cannot|could not) open file|failed to parse ONNX model from file", "trtexec cannot read the model's file",
         "was it deleted on the device meanwhile? Run the same command again"),
    Rule(r"Unexpected file size for input file|Note: Expected: \d+ bytes but only read",
         "the input file has another size than the engine's input", "does the engine belong to this model? Build it again"),
    Rule(r"Invalid tensor names found in --loadInputs|Cannot find input tensor with name",
         "the engine has other inputs than asked", "does the engine belong to this model? Build it again"),
)  # fmt: skip
CONSEQUENCES = (
    Rule(r"Failed to parse onnx file|Parsing model failed", "this TensorRT cannot read the model", _EXPORT, InputError),
    Rule(r"(?i)engine deserialization failed|Got invalid engine|Failed to create engine from model",
         "no engine could be made or loaded", REBUILD),
)  # fmt: skip

# In order: where two are found, the first is nearer to the cause.
CAUSES = (*_OPTIONS, *_ENGINES, *_INSTALLATION, *_MEMORY_AND_KERNELS, *_MODELS, *_FILES)
