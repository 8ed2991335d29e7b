from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from edgekd.core import InputError
from edgekd.distill.cka import cka, pooled


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def by_definition(one: Tensor, other: Tensor) -> float:
    """Σ over all ordered four different pictures of k_ij (l_ij + l_qr − 2 l_iq), in float64 (Song et al. 2012, eq. 4)."""
    kernels = [features.double() @ features.double().T for features in (one, other)]
    b = len(one)

    def hsic(k: Tensor, m: Tensor) -> float:
        total = 0.0
        for i in range(b):
            for j in set(range(b)) - {i}:
                for q in set(range(b)) - {i, j}:
                    for r in set(range(b)) - {i, j, q}:
                        total += float(k[i, j] * (m[i, j] + m[q, r] - 2 * m[i, q]))
        return total

    own = hsic(kernels[0], kernels[0]), hsic(kernels[1], kernels[1])
    return hsic(*kernels) / (own[0] * own[1]) ** 0.5


def test_cka_is_the_u_statistic_of_its_definition() -> None:
    one, other = noise(7, 3), noise(7, 5, seed=1)
    other[:, 0] += 2 * one[:, 1]
    assert cka(one, other).item() == pytest.approx(by_definition(one, other), abs=1e-5)


def test_plain_cka_is_that_of_centred_kernels() -> None:
    one, other = noise(9, 4), noise(9, 6, seed=1)
    centred = [features.double() - features.double().mean(0) for features in (one, other)]
    cross, *own = ((a.T @ b).norm() ** 2 for a, b in (centred, centred[:1] * 2, centred[1:] * 2))
    assert cka(one, other, unbiased=False).item() == pytest.approx((cross / (own[0] * own[1]) ** 0.5).item(), abs=1e-5)


@given(
    st.integers(6, 20),
    st.integers(1, 6),
    st.floats(0.001, 1000) | st.floats(-1000, -0.001),
    st.floats(-100, 100),
    st.integers(0, 99),
)
def test_a_rotation_a_factor_and_a_constant_row_change_nothing(
    rows: int, width: int, factor: float, shift: float, seed: int
) -> None:
    features = noise(rows, width, seed=seed)
    rotation, _ = torch.linalg.qr(noise(width, width, seed=seed + 1))
    changed = factor * features @ rotation + shift * noise(1, width, seed=seed + 2) * abs(factor)
    for unbiased in (True, False):
        assert cka(features, changed, unbiased=unbiased).item() == pytest.approx(1.0, abs=1e-3)


@given(st.integers(4, 12), st.integers(1, 5), st.integers(1, 5), st.integers(0, 99), st.booleans())
def test_cka_is_symmetric_in_0_to_1_and_has_no_graph(rows: int, width: int, other_width: int, seed: int, unbiased: bool) -> None:
    one, other = noise(rows, width, seed=seed).requires_grad_(), noise(rows, other_width, seed=seed + 1)
    value = cka(one, other, unbiased=unbiased)
    assert 0.0 <= value.item() <= 1.0
    assert value.item() == pytest.approx(cka(other, one, unbiased=unbiased).item(), abs=1e-5)
    assert (value.dtype, value.requires_grad) == (torch.float32, False)


def test_independent_features_are_told_apart_only_by_the_unbiased_estimator() -> None:
    one, other = noise(64, 4096), noise(64, 4096, seed=1)
    assert cka(one, other).item() < 0.02
    assert cka(one, other, unbiased=False).item() > 0.97


@pytest.mark.parametrize("row", [[0.0, 0.0], [0.1, -3.7e7], [1e-30, 1e30]])
def test_features_that_say_nothing_are_not_understood(row: list[float]) -> None:
    constant = torch.tensor([row] * 50)
    for unbiased in (True, False):
        assert cka(constant, noise(50, 4), unbiased=unbiased).item() == 0.0
        assert cka(constant, constant, unbiased=unbiased).item() == 0.0


@pytest.mark.parametrize("scale", [1e-18, 1e18])
def test_the_scale_of_features_does_not_overflow(scale: float) -> None:
    features = noise(16, 8)
    assert cka(features, scale * features).item() == pytest.approx(1.0, abs=1e-5)


def test_too_few_pictures_or_others_are_refused() -> None:
    for one, other in ((noise(3, 2), noise(3, 2)), (noise(8, 2), noise(6, 2))):
        with pytest.raises(InputError, match="same pictures"):
            cka(one, other)


def test_pooled_features_are_each_channels_mean() -> None:
    maps = torch.arange(24.0).view(2, 3, 2, 2)
    assert pooled(maps).tolist() == [[1.5, 5.5, 9.5], [13.5, 17.5, 21.5]]
