from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from edgekd.distill.tiny_maps import quick_tiny_maps

# channels, kernel, stride, padding, groups, bias, height, width: first those a 32² picture meets in MobileNetV2 and ResNet-18
CASES = [
    (6, 6, 3, 1, 1, 6, False, 2, 2),
    (6, 6, 3, 2, 1, 6, False, 2, 2),
    (6, 6, 3, 1, 1, 6, False, 1, 1),
    (4, 6, 3, 1, 1, 1, False, 2, 2),
    (4, 6, 3, 2, 1, 1, False, 2, 2),
    (4, 6, 3, 1, 1, 1, False, 1, 1),
    (4, 4, 3, 1, 1, 4, True, 1, 1),
    (4, 6, 3, 1, 1, 1, True, 2, 1),
    (4, 6, 5, 1, 2, 1, True, 3, 4),
    (4, 4, 5, 2, 2, 4, True, 4, 3),
    (4, 6, (3, 5), (1, 2), (1, 2), 1, True, 2, 7),
    (4, 6, 7, 3, 3, 1, False, 5, 2),
    (4, 6, 3, 1, 2, 1, False, 1, 1),
    (4, 6, 3, 1, 1, 2, False, 2, 2),  # grouped, not depthwise: torch's own way
    (4, 6, 3, 1, 1, 1, False, 4, 4),  # not smaller: torch's own way
]


def results(convolution: nn.Conv2d, x: Tensor) -> tuple[Tensor, ...]:
    """Output, and the gradients of a scalar that weighs each output differently."""
    x = x.clone(memory_format=torch.preserve_format).requires_grad_()
    out = convolution(x)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape)
    return (out.detach(), *torch.autograd.grad((out * weights).sum(), [x, *convolution.parameters()]))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_equal_those_of_float64(case: tuple, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    ins, outs, kernel, stride, padding, groups, bias, height, width = case
    convolution = nn.Conv2d(ins, outs, kernel, stride, padding, groups=groups, bias=bias).to(memory_format=layout)
    x = torch.randn(5, ins, height, width).to(memory_format=layout)
    exact = results(copy.deepcopy(convolution).double(), x.double())
    with quick_tiny_maps(convolution):
        ours = results(convolution, x)
    for our, right in zip(ours, exact, strict=True):
        torch.testing.assert_close(our.double(), right, rtol=1e-5, atol=1e-5)


def test_the_quick_way_is_taken_for_maps_below_the_kernel_only(monkeypatch: pytest.MonkeyPatch) -> None:
    plain: list[tuple[int, ...]] = []
    original = nn.Conv2d._conv_forward

    def recorded(self: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        plain.append(tuple(x.shape[2:]))
        return original(self, x, weight, bias)

    monkeypatch.setattr(nn.Conv2d, "_conv_forward", recorded)
    convolution = nn.Conv2d(2, 2, 3, padding=1)
    with quick_tiny_maps(convolution):
        for size in (1, 2, 3, 4):
            convolution(torch.randn(1, 2, size, size))
    assert plain == [(3, 3), (4, 4)]
    convolution(torch.randn(1, 2, 1, 1))  # and outside the context always torch's own
    assert plain[-1] == (1, 1)


def test_networks_leave_the_context_as_they_came_even_by_an_error() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4))
    before = {name: dict(vars(module)) for name, module in network.named_modules()}
    keys = list(network.state_dict())
    with pytest.raises(ZeroDivisionError), quick_tiny_maps(network):
        assert list(network.state_dict()) == keys
        raise ZeroDivisionError
    assert {name: dict(vars(module)) for name, module in network.named_modules()} == before
