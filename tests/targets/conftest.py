"""Tiny real models, and the local machine as a target."""

from types import SimpleNamespace

import numpy as np
import pytest
import tiny_models as TINY

from edgekd import targets


def spec(**changes):
    local = {"device": "local-cpu", "runtime": "onnxruntime", "precision": "int8", "required": "always", "threads": 1,
             "tensorrt": None, "host": None, "python": "python3", "clocks": "as-is"}  # fmt: skip
    return SimpleNamespace(**{**local, **changes})


@pytest.fixture
def local_spec():
    """Makes what a recipe says of the local CPU, with changes."""
    return spec


@pytest.fixture
def local():
    return targets.resolve("cpu", spec())


@pytest.fixture
def models(tmp_path):
    (tmp_path / "ä b").mkdir()
    return {
        "fp32": TINY.float_model(tmp_path / "ä b" / "fp32.onnx"),
        "int8": TINY.int8_model(tmp_path / "ä b" / "int8.onnx", 63, **{"edgekd.weight_bits": "7"}),
    }


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(7, 3, 8, 8)).astype(np.float32)
