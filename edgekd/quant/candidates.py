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

from edgekd.quant.bias import correct_biases
from edgekd.quant.qat import use

if TYPE_CHECKING:
    from edgekd.quant.ptq import Quantized

WORTH_DB = 0.5  # of least SQNR, for which a candidate replaces a simpler one; ours: less is luck of the trial images
TRIAL_IMAGES = 64  # that candidates are compared on, and biases corrected by; ours
TRIAL_BATCH = 16  # of them at once: VGG's first tensors at 224x224 take 0.2 GB then, and several live side by side


class TrialImages:
    """An even spread over a stream of images of unknown length, in order: they come sorted by class, and the first are of one."""

    def __init__(self) -> None:
        self._kept: list[Tensor] = []  # every ``_stride``-th of the ``_seen``, less than twice as many as wanted
        self._seen, self._stride = 0, 1

    def see(self, images: Tensor) -> None:
        """images: float32 [B,3,H,W]; what is kept of them is copied."""
        for number, image in enumerate(images, self._seen):
            if number % self._stride:
                continue
            self._kept.append(image.clone())
            if len(self._kept) == 2 * TRIAL_IMAGES:
                self._kept, self._stride = self._kept[::2], 2 * self._stride
        self._seen += len(images)

    def chosen(self) -> Tensor:
        """float32 [N,3,H,W] of at most TRIAL_IMAGES."""
        count = min(len(self._kept), TRIAL_IMAGES)
        return torch.stack([self._kept[place * len(self._kept) // count] for place in range(count)])


def best(drafts: Mapping[str, Quantized], images: Tensor, flavours: Sequence[str]) -> Quantized:
    """The candidate whose least SQNR over ``flavours`` is highest, a later one only if it gains WORTH_DB on those before; each
    draft also stands with its biases corrected.

    drafts: by name, simplest first, all of one float network. images: float32 [B,3,H,W]. A correction stands only where it
    raises the SQNR of every flavour. What was tried is in ``candidates`` of the winner: [{"name", "sqnr_db": {flavour: dB},
    "chosen": bool}].
    """
    reference = _logits(next(iter(drafts.values())).floating(), images)
    tried: list[dict[str, Any]] = []
    standing: list[tuple[float, int, Quantized]] = []  # least SQNR, place among the tried
    for name, draft in drafts.items():
        network = draft.trainable().eval()
        plain = _sqnr(network, reference, images, flavours)
        standing.append((min(plain.values()), len(tried), draft))
        tried.append({"name": name, "sqnr_db": plain})
        correct_biases(network, [layer["layer"] for layer in draft.sites["layers"]], _batches(images), flavours)
        corrected = _sqnr(network, reference, images, flavours)
        if all(corrected[flavour] > plain[flavour] for flavour in flavours):
            standing.append((min(corrected.values()), len(tried), draft.with_weights(network.state_dict())))
        tried.append({"name": f"{name}, biases corrected", "sqnr_db": corrected})
    least, place, winner = standing[0]
    for later in standing[1:]:
        if later[0] - least >= WORTH_DB:
            least, place, winner = later
    winner.candidates = [_told(one, chosen=number == place) for number, one in enumerate(tried)]
    return winner


def sqnr_db(reference: Tensor, other: Tensor) -> float:
    """10 log10(sum reference^2 / sum (reference - other)^2), infinite if they are equal; minus infinity if that is no number."""
    signal, noise = float((reference**2).sum()), float(((reference - other) ** 2).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(signal / noise) if 0 < signal < math.inf and math.isfinite(noise) else -math.inf


def _sqnr(network: nn.Module, reference: Tensor, images: Tensor, flavours: Sequence[str]) -> dict[str, float]:
    found = {}
    for flavour in flavours:
        use(network, flavour)
        found[flavour] = sqnr_db(reference, _logits(network, images))
    return found


@torch.no_grad()
def _logits(network: nn.Module, images: Tensor) -> Tensor:
    return torch.cat([network(batch) for batch in _batches(images)]).double()


def _batches(images: Tensor) -> tuple[Tensor, ...]:
    """As even as they go: each counts as much as the next."""
    return torch.tensor_split(images, math.ceil(len(images) / TRIAL_BATCH))


def _told(candidate: Mapping[str, Any], chosen: bool) -> dict[str, Any]:
    """As JSON has it, which knows no infinity."""
    sqnr = {flavour: round(dB, 2) if math.isfinite(dB) else None for flavour, dB in candidate["sqnr_db"].items()}
    return {**candidate, "sqnr_db": sqnr, "chosen": chosen}
