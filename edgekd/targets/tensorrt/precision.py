"""In which precisions an engine can be built from one ONNX file: what the file is decides first, then the version."""

from __future__ import annotations

from edgekd.core import InputError
from edgekd.targets.onnx_file import OnnxFile
from edgekd.targets.tensorrt.flags import flavour_to_build
from edgekd.targets.tensorrt.versions import Version

_HALF_BY_OPTION = {"fp32": "fp16", "int8": "int8+fp16"}


def own_precision(model: OnnxFile) -> str:
    """What the file itself says: Q/DQ is int8, float16 weights are fp16."""
    return {(False, False): "fp32", (False, True): "fp16", (True, False): "int8", (True, True): "int8+fp16"}[
        model.quantized, model.half
    ]


def require_possible(model: OnnxFile, precision: str, version: Version | None = None) -> None:
    """Raises InputError: no engine of this precision can be built from the file. version: of the TensorRT; None: any."""
    own = own_precision(model)
    with_half = _HALF_BY_OPTION.get(own)
    # Where both float types are built from the same file an option of the builder chooses; later the file does.
    chosen = version is None or flavour_to_build(version, "fp16") == flavour_to_build(version, "fp32")
    if precision == own or (precision == with_half and chosen):
        return
    seen, where = f"{precision} of a file that is {own}", str(model.path)
    if precision == with_half and version is not None:
        what = f"TensorRT {version[0]}.{version[1]} takes the float type from the file"
        raise InputError(what, where=where, seen=seen, fix=f"--precision {own}, or export the network in float16")
    if "int8" in precision and not model.quantized:
        fix = f"--precision {own}, or a file with QuantizeLinear and DequantizeLinear, as edgekd's student.trt.onnx"
        raise InputError("the file holds no int8 scales", where=where, seen=seen, fix=fix)
    fix = f"--precision {own}" + (f" or {with_half}" if with_half and chosen else "") + ", or another file"
    raise InputError("no engine of this precision can be built from the file", where=where, seen=seen, fix=fix)


def is_possible(model: OnnxFile, precision: str) -> bool:
    """Whether some TensorRT can build an engine of this precision from the file."""
    return precision in (own_precision(model), _HALF_BY_OPTION.get(own_precision(model)))
