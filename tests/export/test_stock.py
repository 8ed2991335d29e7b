"""The yardstick is what onnxruntime's own tool makes of the file, and its failure is told, not raised as a crash."""

import numpy as np
import onnx
import pytest
from tiny_models import SIZE, float_model

from edgekd.core import EdgekdError
from edgekd.export import run_onnx, stock_int8

IMAGES = np.random.default_rng(0).standard_normal((70, 3, SIZE, SIZE), np.float32)


@pytest.mark.parametrize("batch", ["N", 1])
def test_it_is_int8_and_close_to_float_and_leaves_nothing_else_behind(tmp_path, batch):
    fp32 = float_model(tmp_path / "fp32.onnx", batch)
    path = stock_int8(fp32, IMAGES, tmp_path / "stock.onnx")
    weights = {one.name: one.data_type for one in onnx.load(str(path)).graph.initializer if one.dims}
    assert onnx.TensorProto.INT8 in weights.values()
    reference, found = (run_onnx(one, IMAGES, optimised=True) for one in (fp32, path))
    assert 0 < np.abs(found - reference).max() < 0.1 * np.abs(reference).max()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["fp32.onnx", "stock.onnx"]


def test_a_file_it_cannot_read_is_told(tmp_path):
    fp32 = float_model(tmp_path / "fp32.onnx")
    with pytest.raises(EdgekdError, match="quantize_static failed"):
        stock_int8(fp32, IMAGES[:, :2], tmp_path / "stock.onnx")
