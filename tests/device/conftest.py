"""Tiny real models and a bundle of them."""

import fake_gpu
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


@pytest.fixture(scope="session")
def cudart(tmp_path_factory):
    if fake_gpu.COMPILER is None:
        pytest.skip(fake_gpu.NO_COMPILER)
    return fake_gpu.compiled(tmp_path_factory.mktemp("cudart"))


@pytest.fixture
def gpu(cudart, tmp_path):
    return fake_gpu.FakeGpu(cudart, tmp_path)
