"""What the training stages share: the process set up for the recipe, the images opened once, a network trained and judged."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from edgekd import data, distill, models
from edgekd.core import InputError
from edgekd.recipe import Recipe, Training
from edgekd.stages.accuracy import right
from edgekd.stages.context import Context
from edgekd.stages.images import open_images


def set_up(recipe: Recipe) -> torch.device:
    """Threads, determinism and device as the recipe's ``compute`` says. Raises InputError: cuda asked for and not there."""
    threads = recipe.compute.threads
    torch.set_num_threads(len(os.sched_getaffinity(0)) if threads == "auto" else threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a costly debugging aid
    wanted = recipe.compute.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device is usable here", where="compute.device", seen="cuda", fix="compute.device: auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def compute_used(recipe: Recipe, device: torch.device) -> dict[str, Any]:
    """What ``compute`` came to on this machine, for the notes of a training."""
    return {"device": str(device), "threads": torch.get_num_threads(), "precision": precision(recipe, device)}


def precision(recipe: Recipe, device: torch.device) -> Literal["fp32", "bf16"]:
    """auto is bf16 on a GPU that has it and fp32 elsewhere: on CPUs bf16 is faster on few and slower on most."""
    wanted = recipe.compute.precision
    if wanted != "auto":
        return wanted
    return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"


def new_network(recipe: Recipe, role: Literal["teacher", "student"], classes: int, *, to_be_trained: bool) -> nn.Module:
    """The network of this role: weights drawn from a seed of its own, then those the recipe names loaded over them.

    to_be_trained: a head for another number of classes is left as drawn; else it is an InputError.
    """
    section = getattr(recipe, role)
    torch.manual_seed(recipe.seed + {"teacher": 1_000_003, "student": 2_000_003}[role])
    network = models.create(section.model, classes=classes, image_size=recipe.data.image_size, width=section.width)
    source = "imagenet" if section.weights == "imagenet" else recipe.weights_file(role)
    if source is not None:
        models.load(network, source, replace_head=to_be_trained)
    return network


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


def held_out_logits(context: Context, network: nn.Module) -> NDArray[np.float32]:
    """Logits float32 [N, classes] of the held-out images."""
    images = open_images(context)
    return models.logits(network, data.eval_batches(images.held_out, images.preprocessing))
