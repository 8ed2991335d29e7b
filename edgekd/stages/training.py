"""One way to train for teacher, distill and quantize: the recipe's images, the one loop, the best epoch kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from edgekd import data, distill
from edgekd.recipe import Training
from edgekd.stages.accuracy import right
from edgekd.stages.compute import precision
from edgekd.stages.context import Context
from edgekd.stages.images import open_images
from edgekd.stages.networks import held_out_logits


def train(
    context: Context,
    network: nn.Module,
    method: distill.Method,
    section: Training,
    name: str,
    teacher: nn.Module | None,
    device: torch.device,
) -> distill.FitResult:
    """Train ``network`` by ``method`` on the recipe's train images; the best epoch by held-out accuracy is left in it."""
    recipe, images = context.recipe, open_images(context)
    batches = data.Batches(
        images.train, batch_size=section.batch_size, views=method.views, preprocessing=images.preprocessing,
        hflip=images.hflip, seed=recipe.seed, device=device,
    )  # fmt: skip

    def held_out_top1(candidate: nn.Module) -> float:
        return float(np.mean(right(held_out_logits(context, candidate), images.held_out.labels)))

    def tell(event: Mapping[str, Any]) -> None:
        top1 = event["held_out_top1"]
        note = f"loss {event['loss']:.3f}" + (f", held-out top1 {top1:.3f}" if top1 is not None else "")
        context.say({"done": event["done"], "total": event["total"], "note": note})

    result = distill.fit(
        network.to(device), method, batches, teacher=teacher.to(device) if teacher is not None else None,
        evaluate=held_out_top1, epochs=section.epochs, learning_rate=section.learning_rate, momentum=section.momentum,
        weight_decay=section.weight_decay, warmup=section.warmup, precision=precision(recipe, device), seed=recipe.seed,
        section=name, on_progress=tell,
    )  # fmt: skip
    distill.put_back(network, result.best_state)
    return result
