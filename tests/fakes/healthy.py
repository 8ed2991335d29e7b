"""Networks nobody trained that behave as trained ones do: norms that know their statistics, logits that tell images apart.

Logits of random weights are nearly equal for all images, so that any rounding turns their order over and agreement means nothing.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SPREAD = 8.0  # of the right class's logit over the others
RIDGE = 10.0  # times images and mean squared feature: less lets the fit follow what rounding disturbs first


def gratings(n: int, size: int | tuple[int, int], classes: int = 10, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Stripes in a direction and a colour for each class, of any width and place, with noise: float32 [n,3,H,W], int64 [n]."""
    draw = torch.Generator().manual_seed(seed)
    height, width = (size, size) if isinstance(size, int) else size
    labels = torch.arange(n) % classes
    angles = (labels + 0.5 * torch.rand(n, generator=draw)) * (math.pi / classes)
    waves, phases = 2 + 4 * torch.rand(n, generator=draw), 2 * math.pi * torch.rand(n, generator=draw)
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    along = x * angles.cos().view(-1, 1, 1) + y * angles.sin().view(-1, 1, 1)
    stripes = torch.sin(math.pi * waves.view(-1, 1, 1) * along + phases.view(-1, 1, 1))
    of_class = torch.randn(classes, 3, generator=torch.Generator().manual_seed(classes))  # the same whatever is drawn
    colours = of_class[labels] + 0.3 * torch.randn(n, 3, generator=draw)
    noise = 0.3 * torch.randn(n, 3, height, width, generator=draw)
    return stripes[:, None] * colours[:, :, None, None] + noise, labels


def healthy(net: nn.Module, images: Tensor, labels: Tensor, steps: int = 0) -> nn.Module:
    """The network itself, in eval mode: batch norms settled on the images, the last layer fitted to the labels (ridge).

    steps: of training before that, for deep networks: untrained, they carry little of the image as far as their last layer.
    """
    for name, parameter in net.named_parameters():
        if "layer_scale" in name:  # ConvNeXt's, 1e-6 at first: its blocks would do nothing
            nn.init.constant_(parameter, 0.3)
    if steps:
        _train(net.train(), images, labels, steps)
    for norm in net.eval().modules():
        if isinstance(norm, nn.modules.batchnorm._BatchNorm):
            norm.train()
            norm.momentum = None
    with torch.no_grad():
        for part in images.split(64):
            net(part)
        _fit_last_layer(net.eval(), images, labels)
    return net


def _train(net: nn.Module, images: Tensor, labels: Tensor, steps: int) -> None:
    optimiser = torch.optim.AdamW(net.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
    for step in range(steps):
        part = torch.arange(32 * step, 32 * (step + 1)) % len(images)
        optimiser.zero_grad()
        F.cross_entropy(net(images[part]), labels[part]).backward()
        optimiser.step()
        schedule.step()


def _fit_last_layer(net: nn.Module, images: Tensor, labels: Tensor) -> None:
    """The one that is called last."""
    called: list[tuple[nn.Module, Tensor]] = []
    layers = [layer for layer in net.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_pre_hook(lambda layer, inputs: called.append((layer, inputs[0]))) for layer in layers]
    for part in images.split(64):
        net(part)
    for hook in hooks:
        hook.remove()
    last = called[-1][0]
    seen = [x.flatten(2).mean(2) if x.dim() == 4 else x for layer, x in called if layer is last]
    features = torch.cat(seen).double()
    middle = features.mean(0)
    features = features - middle
    wanted = SPREAD * F.one_hot(labels, last.weight.shape[0]).double()
    kernel = features @ features.T
    kernel += RIDGE * len(images) * features.square().mean() * torch.eye(len(images), dtype=torch.float64)
    weight = torch.linalg.solve(kernel, wanted - wanted.mean(0)).T @ features
    last.weight.copy_(weight.reshape(last.weight.shape))
    if last.bias is not None:
        last.bias.copy_(wanted.mean(0) - weight @ middle)
