"""Centred kernel alignment (CKA): how far two sets of features say the same of the same pictures, in [0, 1].

Sources: Kornblith et al., "Similarity of Neural Network Representations Revisited", ICML 2019, section 3 (linear CKA); Song et
al., "Feature Selection via Dependence Maximization", JMLR 2012, theorem 1 (the unbiased HSIC). The plain estimator of HSIC is
nearly 1 for *independent* features once they have far more numbers than the batch has pictures: 0.98 at batch 64 with 4,096.
Shape suffixes in this file: B batch, D E features, H W a map.
"""

from __future__ import annotations

import torch
from torch import Tensor

from edgekd.core import InputError

LEAST_BATCH = 4  # the unbiased HSIC divides by B − 3


@torch.no_grad()
def cka(one: Tensor, other: Tensor, *, unbiased: bool = True) -> Tensor:
    """Linear CKA of two [B, …] feature sets of the same pictures, in the same order; the features of a picture are flattened.

    Returns a scalar float32 in [0, 1] without a graph: 1 if they differ by a rotation, a factor and a constant row, 0 if one
    of them is constant, or if an HSIC of one with itself is not positive.
    Raises InputError: other pictures, or less than four (unbiased; else two).
    """
    if len(one) != len(other) or len(one) < (LEAST_BATCH if unbiased else 2):
        seen = f"batches of {len(one)} and {len(other)}"
        raise InputError("CKA needs the same pictures twice, and at least four", where="cka", seen=seen, fix="raise batch_size")
    gram_BB, other_BB = _gram(one, unbiased), _gram(other, unbiased)
    hsic = _unbiased_hsic if unbiased else _plain_hsic
    own = hsic(gram_BB, gram_BB), hsic(other_BB, other_BB)
    defined = (own[0] > 0) & (own[1] > 0)
    norm = torch.where(defined, own[0], 1.0).sqrt() * torch.where(defined, own[1], 1.0).sqrt()
    alignment: Tensor = torch.where(defined, (hsic(gram_BB, other_BB) / norm).clamp(0.0, 1.0), 0.0)
    return alignment


def pooled(maps_BDHW: Tensor) -> Tensor:
    """The mean of each channel over the pixels, [B, D] float32."""
    return maps_BDHW.mean((2, 3), dtype=torch.float32)


def _gram(features: Tensor, unbiased: bool) -> Tensor:
    """Inner products [B, B] of centred features, scaled to a norm of 1 so that float32 holds whatever they measure.

    Neither estimator is changed by centring. The first row goes first: what is constant is then exactly 0.
    """
    features_BD = features.float().flatten(1)
    features_BD = features_BD - features_BD[:1]
    features_BD = features_BD - features_BD.mean(0)
    features_BD = features_BD / features_BD.abs().max().clamp(min=torch.finfo(torch.float32).tiny)
    gram_BB = features_BD @ features_BD.T
    if unbiased:
        gram_BB.fill_diagonal_(0.0)
    scaled_BB: Tensor = gram_BB / torch.linalg.matrix_norm(gram_BB).clamp(min=torch.finfo(torch.float32).tiny)
    return scaled_BB


def _plain_hsic(one_BB: Tensor, other_BB: Tensor) -> Tensor:
    return (one_BB * other_BB).sum()


def _unbiased_hsic(one_BB: Tensor, other_BB: Tensor) -> Tensor:
    """Of matrices whose diagonal is 0, but for the factor 1 / (B (B − 3)), which cancels in CKA."""
    b = len(one_BB)
    rows_B, other_rows_B = one_BB.sum(1), other_BB.sum(1)
    of_all = rows_B.sum() * other_rows_B.sum() / ((b - 1) * (b - 2))
    return (one_BB * other_BB).sum() + of_all - 2.0 / (b - 2) * (rows_B @ other_rows_B)
