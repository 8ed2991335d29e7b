"""Quantize: where a network is rounded to 8 bits, over which ranges, and what that does to its logits."""

from edgekd.quant.fakequant import Grid, fake_quantize, weight_scale
from edgekd.quant.inner import inner_sites
from edgekd.quant.ptq import Quantized, quantize, restore
from edgekd.quant.qat import use

__all__ = ["Grid", "Quantized", "fake_quantize", "inner_sites", "quantize", "restore", "use", "weight_scale"]
