"""What design and papers name but this version cannot do: refused in plain words, not as a spelling mistake."""

from __future__ import annotations

# (path of the key, the value there) -> why not
VALUES: dict[tuple[str, str], str] = {
    ("compute.device", "gpu"): "the device of a GPU is called cuda here",
}

_GPU_ALONE = "edgekd builds for the GPU alone"
# key of a target -> why not
TARGET_KEYS: dict[str, str] = {
    "dla": f"{_GPU_ALONE}: DLA cores do not take explicitly quantized networks",
    "dla_core": f"{_GPU_ALONE}: DLA cores do not take explicitly quantized networks",
    "sparsity": f"{_GPU_ALONE}, and dense: 2:4 sparsity gains only where training made the weights sparse",
}

# precision of a target -> why not
PRECISIONS: dict[str, str] = {
    **dict.fromkeys(("fp8", "fp4", "nvfp4", "int4"), "edgekd quantizes to int8; narrower and 8-bit float types are not built"),
    "bf16": "edgekd builds fp16, which every Jetson has, and no bf16",
    "dla": TARGET_KEYS["dla"],
}
