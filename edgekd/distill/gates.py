"""What of a student's advice reaches its teacher: the weighting constraint and the gates of FFKD's feedback.

The weights and the gates over blocks follow the public code that FFKD's authors left in a successor (docs/ffkd.md); the gate
against conflicts is the successor's idea, here without its two extra backward passes.
Shape suffixes in this file: B batch, C classes, N blocks (pairs of modules), D channels, H W a map, K students, 1 a kept axis.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekd.distill import parallel

Weighting = Literal["gap", "understanding", "none"]
# Equal numbers may lie this far above their mean. And advice on where a channel looks sums to 0 over its pixels: before a global
# average pooling it neither agrees with what comes from above nor opposes it, and its cosine to that is a rounding error.
ROUNDING = 1e-6


def advice_weight(understanding: Tensor, weighting: Weighting) -> Tensor:
    """How much the teacher listens, in [0, 1], to a student that understands this much of it (CKA of their logits)."""
    if weighting == "gap":
        return 1.0 - understanding
    return understanding if weighting == "understanding" else torch.ones_like(understanding)


def block_gate(understood: Tensor) -> Tensor:
    """1 for the blocks understood no better than the mean, 0 for the others; [..., N] in [0, 1] to the same shape.

    A single block has no others to be compared with: it is open as far as it is not understood.
    """
    if understood.shape[-1] == 1:
        return 1.0 - understood
    return (understood <= understood.mean(-1, keepdim=True) + ROUNDING).to(understood.dtype)


def agrees_with_labels(teacher_BC: Tensor, student_BC: Tensor, labels_B: Tensor, *, temperature: float) -> Tensor:
    """1 if a step of the teacher's logits towards the student's lowers its cross-entropy too, else 0: a scalar.

    The sign of the product of the two losses' gradients by the logits. The successor compares gradients by all weights.
    """
    of_labels_BC = F.softmax(teacher_BC, 1) - F.one_hot(labels_B, teacher_BC.shape[1])
    of_student_BC = F.softmax(teacher_BC / temperature, 1) - F.softmax(student_BC / temperature, 1)
    return ((of_labels_BC * of_student_BC).sum() >= 0).to(teacher_BC.dtype)


def advise(maps_BDHW: Tensor, advice: Sequence[Tensor], *, gated: bool, heard: Callable[[Tensor], None]) -> None:
    """Add gradients of ``maps_BDHW``'s shape to the one it gets in the next backward pass, which costs no pass of its own.

    gated: those that oppose what comes from above, the labels and the advice kept there, are left out. heard: gets 1 or 0 for
    each, during the pass.
    """

    def take(from_above: Tensor) -> Tensor:
        total = from_above
        for gradient in advice:
            products = [(from_above * gradient).sum(), from_above.square().sum(), gradient.square().sum()]
            together, own, other = parallel.summed(torch.stack(products).float())
            kept = (together >= -ROUNDING * (own * other).sqrt()) | (not gated)
            total = total + (kept * gradient).to(total.dtype)
            heard(kept.float())
        return total

    maps_BDHW.register_hook(take)  # type: ignore[no-untyped-call]
