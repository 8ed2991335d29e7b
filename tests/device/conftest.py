"""Tiny real models and a bundle of them."""

import pytest
import tiny_models as TINY

from edgekd.device import normalize, onnxrt


@pytest.fixture(scope="session")
def tiny():
    return TINY


@pytest.fixture
def bundle(tmp_path):
    return TINY.bundle(
        tmp_path / "bündle 1", lambda path, pixels: onnxrt.run(onnxrt.open_session(path), normalize(pixels, TINY.SPEC))
    )
