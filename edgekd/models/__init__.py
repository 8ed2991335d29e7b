"""The networks: by name, with weights, frozen, saved. Torch only behind the names that need it; ``check_model`` needs none."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgekd.models.names import check_model, known_models

if TYPE_CHECKING:
    from edgekd.models.head import head_parameters, train_only_head
    from edgekd.models.inference import count_macs, count_parameters, fold_for_inference, freeze, logits
    from edgekd.models.onnx_network import from_onnx, image_shape
    from edgekd.models.onnx_teacher import OnnxTeacher, adopt_onnx
    from edgekd.models.registry import ModelSpec, create, spec_of
    from edgekd.models.state import load_state, save_state
    from edgekd.models.weights import load, load_saved, save

__all__ = [
    "ModelSpec",
    "OnnxTeacher",
    "adopt_onnx",
    "check_model",
    "count_macs",
    "count_parameters",
    "create",
    "fold_for_inference",
    "freeze",
    "from_onnx",
    "head_parameters",
    "image_shape",
    "known_models",
    "load",
    "load_saved",
    "load_state",
    "logits",
    "save",
    "save_state",
    "spec_of",
    "train_only_head",
]

_HOMES = {
    "head": ("head_parameters", "train_only_head"),
    "inference": ("count_macs", "count_parameters", "fold_for_inference", "freeze", "logits"),
    "onnx_network": ("from_onnx", "image_shape"),
    "onnx_teacher": ("OnnxTeacher", "adopt_onnx"),
    "registry": ("ModelSpec", "create", "spec_of"),
    "state": ("load_state", "save_state"),
    "weights": ("load", "load_saved", "save"),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"edgekd.models.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
