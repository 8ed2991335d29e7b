"""A small real bundle: three ONNX files that onnxruntime runs, 4 x 4 images, four classes."""

import numpy as np
import pytest

from edgekd.bundle import Card, make
from edgekd.core import Measurement

SPEC = {"image_size": [4, 4], "resize": {"exact": [4, 4]}, "interpolation": "bilinear", "mean": [0.5] * 3, "std": [0.25] * 3}
LABELS = ["cat", "größe", "猫 | <b>", "no*thing*"]


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    onnx = pytest.importorskip("onnx", reason="making a model needs onnx: pip install -e '.[train]'")
    folder = tmp_path_factory.mktemp("models")
    made = []
    for at, flavour in enumerate(("fp32", "ort", "ort-w7")):
        weights = np.random.default_rng(at).normal(size=(48, 4)).astype(np.float32)
        helper = onnx.helper
        graph = helper.make_graph(
            [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("MatMul", ["flat", "w"], ["logits"])],
            "student",
            [helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, ["N", 3, 4, 4])],
            [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", 4])],
            [onnx.numpy_helper.from_array(weights, "w")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        helper.set_model_props(model, {"edgekd.flavour": flavour})
        path = folder / f"student.{flavour.replace('_', '-')}.onnx"
        path.write_bytes(model.SerializeToString())
        made.append((flavour, path, weights))
    return made


@pytest.fixture(scope="session")
def parts(models):
    """What make() takes beside the folder."""
    images = np.random.default_rng(7).integers(0, 256, (12, 4, 4, 3), dtype=np.uint8)
    pixels = ((images / 255.0 - 0.5) / 0.25).astype(np.float32).transpose(0, 3, 1, 2).reshape(12, 48)
    card = Card(
        student="mobilenet_v2", teacher="resnet18", method="sld", data="digits", counts={"train": 1257, "test": 360},
        data_license=None, measured=[("cpu", Measurement("top1", 0.9722, "fraction", 360, 0.95, 0.985))],
        not_measured=[("jetson", "no host is given: --host jetson=[user@]HOST")],
    )  # fmt: skip
    return {
        "name": "example",
        "models": [(flavour, path) for flavour, path, _ in models],
        "preprocessing": SPEC,
        "labels": LABELS,
        "golden_images": images,
        "golden_logits": {flavour: pixels @ weights for flavour, _, weights in models},
        "card": card,
    }


@pytest.fixture
def bundle(tmp_path, parts):
    make(tmp_path / "bundle", **parts)
    return tmp_path / "bundle"
