"""Models that only answer: frozen, with batch normalization folded away, and their logits over a whole split."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterable
from itertools import chain
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from edgekd.core import InputError


def logits(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> NDArray[np.float32]:
    """float32 [N,classes] over (images, labels) batches, in eval mode and without gradients; each module's mode is put back.

    Batches are moved to the model's device. Raises InputError: there are no images.
    """
    device = next(chain(model.parameters(), model.buffers())).device
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.inference_mode():
            found = [model(images.to(device, non_blocking=True)).float() for images, _ in batches]
            if not found:
                raise InputError("there are no images to evaluate on")
            made: NDArray[np.float32] = torch.cat(found).cpu().numpy()
            return made
    finally:
        for module, training in modes:
            module.training = training


def count_parameters(model: nn.Module) -> int:
    """Numbers in all parameters, trained or frozen; running statistics are not parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_macs(model: nn.Module, image_size: tuple[int, int]) -> int:
    """Multiply-accumulates of convolutions and linear layers for one image of so many pixels (h, w); run once, in eval mode."""
    found: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        each = layer.weight[0].numel() if isinstance(layer, (nn.Conv2d, nn.Linear)) else 0  # of one number of the output
        found.append(output.numel() * each)

    layers = [layer for layer in model.modules() if isinstance(layer, (nn.Conv2d, nn.Linear))]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    try:
        logits(model, [(torch.zeros(1, 3, *image_size), torch.zeros(1))])
    finally:
        for hook in hooks:
            hook.remove()
    return sum(found)


def freeze(model: nn.Module) -> nn.Module:
    """In eval mode, no parameter wants a gradient; the model itself is changed and returned."""
    return model.eval().requires_grad_(False)


def fold_for_inference(model: nn.Module) -> nn.Module:
    """A frozen copy with each batch normalization folded into the convolution before it: the same logits up to rounding.

    Parameter names stay, convolutions gain a bias, folded normalizations become Identity. What torch.fx cannot trace, and a
    normalization that does not directly follow a convolution used once, stay as they are. Weights lie channels last: measured
    with one AVX2 thread, ResNet18 answers 64 images of 32 pixels 1.7 times as fast, MobileNetV2 1.6 times (plain float32: 1).
    """
    if not any(True for _ in model.parameters()):
        return model  # an ONNX file, which onnxruntime folds
    model = freeze(copy.deepcopy(model))
    for conv_name, norm_name in _pairs(model):
        conv, norm = cast(nn.Conv2d, model.get_submodule(conv_name)), cast(nn.BatchNorm2d, model.get_submodule(norm_name))
        _put(model, conv_name, fuse_conv_bn_eval(conv, norm))
        _put(model, norm_name, nn.Identity())
    model.edgekd_folded = True  # type: ignore[assignment]
    return freeze(model.to(memory_format=torch.channels_last))


def _pairs(model: nn.Module) -> list[tuple[str, str]]:
    try:
        graph = fx.Tracer().trace(model)
    except (fx.proxy.TraceError, TypeError, RuntimeError):
        return []
    modules = dict(model.named_modules())
    calls = Counter(node.target for node in graph.nodes if node.op == "call_module")
    pairs = []
    for node in graph.nodes:
        if node.op != "call_module" or type(modules[node.target]) is not nn.BatchNorm2d:
            continue
        before = node.args[0]
        if before.op != "call_module" or type(modules[before.target]) is not nn.Conv2d:
            continue
        alone = len(before.users) == 1 and calls[before.target] == calls[node.target] == 1
        if alone and modules[node.target].track_running_stats:
            pairs.append((before.target, node.target))
    return pairs


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(model.get_submodule(parent), own, module)
