"""Sketch: the student before any training, quantized and exported: it knows nothing, but is as fast and large as it will be."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd import data, export, models, quant, targets
from edgekd.core import Outcome
from edgekd.recipe import Recipe
from edgekd.stages.compute import set_up
from edgekd.stages.context import Context
from edgekd.stages.images import normalization_of
from edgekd.stages.networks import new_network

IMAGES = 16  # that give activations their ranges; nothing is learnt from them


def run(context: Context) -> Outcome:
    """Makes student.<flavour>.onnx for the targets that can be measured, and example.npy, one input float32 [1,3,H,W]."""
    recipe = context.recipe
    set_up(recipe)  # a GPU that is asked for and not there is told at once
    torch.set_num_threads(1)  # for so few images more threads wait for one another longer than they compute
    images = data.open_dataset(
        recipe.data, root=recipe.folder, cache=context.cache, normalization=normalization_of(recipe),
        most={"train": IMAGES, "held_out": 0, "test": 0},
    )  # fmt: skip
    inputs = data.model_inputs(images.calibration(IMAGES), images.preprocessing)
    network = settled(new_network(_untrained(recipe), "student", len(images.classes), to_be_trained=True), inputs)
    flavours = targets.flavours_of(recipe.targets)
    context.say({"done": 0, "total": 1, "note": "exporting the untrained student"})
    quantized = quant.quantize(network, [torch.from_numpy(inputs)], flavours=())  # how well it is rounded is not asked
    marked = export.float_export(quantized.for_export(), quantized.image_size)
    oldest = targets.oldest_tensorrt(recipe.targets)
    paths = export.write(marked, quantized.state_dict(), quantized.sites, context.folder, flavours, oldest)
    example = context.folder / "example.npy"
    np.save(example, inputs[:1])
    artifacts = [context.keep(flavour, path) for flavour, path in paths.items()]
    size = {"parameters": models.count_parameters(network), "macs": models.count_macs(network, quantized.image_size)}
    notes = {**size, **({"gated": True} if export.gated(marked) else {})}
    return Outcome((*artifacts, context.keep("example", example)), (), notes)


def settled(network: nn.Module, inputs: NDArray[np.float32]) -> nn.Module:
    """The network with batch norms that know their statistics, as after training: float32 inputs [N,3,H,W].

    As initialised they pass everything on, and values shrink or grow from layer to layer until they are denormal, infinite or
    all cut off, which computes at another speed.
    """
    norms = [module for module in network.eval().modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.train()
        norm.momentum = None  # of the one batch that comes, not a running mean
    with torch.no_grad():
        network(torch.from_numpy(inputs))
    return network.eval()


def _untrained(recipe: Recipe) -> Recipe:
    """Weights from a file or torchvision change nothing about speed and size; they are not even opened."""
    return recipe.model_copy(update={"student": recipe.student.model_copy(update={"weights": "none"})})
