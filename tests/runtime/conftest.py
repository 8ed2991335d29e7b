"""Tiny real models and a bundle of them."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgekd.device import normalize, onnxrt

TINY = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "fakes" / "tiny_models.py")))


@pytest.fixture(scope="session")
def tiny():
    return TINY


@pytest.fixture
def bundle(tmp_path):
    return TINY.bundle(
        tmp_path / "bündle 1", lambda path, pixels: onnxrt.run(onnxrt.open_session(path), normalize(pixels, TINY.SPEC))
    )
