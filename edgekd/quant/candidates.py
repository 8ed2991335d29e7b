"""Candidates of post-training quantization, and which one is the best: plain, bias corrected, equalised, or both.

None is best for every network: equalisation repairs channels of very unequal width and costs a balanced network up to 3 dB
where it takes ReLU6 away; one bias serves all flavours, so correcting it can help one and harm another.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from edgekd.quant.bias import corrected, mean_errors

if TYPE_CHECKING:
    from edgekd.quant.ptq import Quantized

TRIAL_IMAGES = 128  # that candidates are compared on, and biases corrected by; ours
Noise = dict[str, float]  # by flavour, SQNR of the logits in dB


def best(drafts: Mapping[str, Quantized], images: Tensor, flavours: Sequence[str]) -> Quantized:
    """The candidate whose least SQNR over ``flavours`` is highest; each draft also stands with its biases corrected.

    drafts: by name, all of one float network. images: float32 [B,3,H,W]. A correction stands only where it raises the SQNR of
    every flavour. What was tried is in ``candidates`` of the winner: [{"name", "sqnr_db": {flavour: dB}, "chosen": bool}].
    """
    reference = _logits(next(iter(drafts.values())).floating(), images)
    tried: list[tuple[str, Quantized, Noise]] = []
    out_of_question: list[tuple[str, Quantized, Noise]] = []
    for name, draft in drafts.items():
        plain = _noise(draft, reference, images, flavours)
        better = _bias_corrected(draft, images, flavours)
        after = _noise(better, reference, images, flavours)
        rises = all(after[flavour] > plain[flavour] for flavour in flavours)
        tried.append((name, draft, plain))
        (tried if rises else out_of_question).append((f"{name}, bias corrected", better, after))
    _, winner, _ = chosen = max(tried, key=lambda one: min(one[2].values()))
    winner.candidates = [
        {"name": one[0], "sqnr_db": _told(one[2]), "chosen": one is chosen} for one in (*tried, *out_of_question)
    ]
    return winner


def _bias_corrected(draft: Quantized, images: Tensor, flavours: Sequence[str]) -> Quantized:
    errors = [mean_errors(draft.unrounded(), draft.simulate(one), draft.layers_with_bias, images) for one in flavours]
    return draft.with_weights(corrected(draft.state_dict(), errors))


def _noise(draft: Quantized, reference: Tensor, images: Tensor, flavours: Sequence[str]) -> Noise:
    return {flavour: sqnr_db(reference, _logits(draft.simulate(flavour), images)) for flavour in flavours}


@torch.inference_mode()
def _logits(network: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([network(part) for part in torch.split(images, 64)]).double()


def sqnr_db(reference: Tensor, other: Tensor) -> float:
    """10 log10(sum reference^2 / sum (reference - other)^2); minus infinity if that is no number."""
    signal, noise = float((reference**2).sum()), float(((reference - other) ** 2).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if 0 < signal < math.inf and math.isfinite(noise) else -math.inf


def _told(noise: Noise) -> dict[str, Any]:
    """As JSON has it: no infinities."""
    return {flavour: round(value, 2) if math.isfinite(value) else None for flavour, value in noise.items()}
