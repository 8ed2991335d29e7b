"""One way to train for teacher, distill and quantize: the recipe's images, the one loop, checkpoints, the best epoch kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from edgekd import data, distill
from edgekd.core import InputError
from edgekd.distill import parallel
from edgekd.recipe import Training, part_of_batch
from edgekd.stages.accuracy import right
from edgekd.stages.checkpoint import Checkpoint
from edgekd.stages.compute import compute_used
from edgekd.stages.context import Context
from edgekd.stages.held_out import held_out_logits
from edgekd.stages.images import open_images
from edgekd.stages.precision import settled, trial_step
from edgekd.stages.stop import STOP


@dataclass(frozen=True)
class Trained:
    """which: of several networks, the best one. curves: for curves.json. notes: on what it was computed, and, where it was so, at
    which steps it was taken up again."""

    which: int
    curves: dict[str, Any]
    notes: dict[str, Any]


def train(
    context: Context,
    networks: Sequence[nn.Module],
    method: distill.Method,
    section: Training,
    name: str,
    device: torch.device,
    *,
    teacher: nn.Module | None = None,
    evaluate: Callable[[nn.Module], float] | None = None,
    before_step: Callable[[int], None] | None = None,
    in_float32: bool = False,
) -> Trained:
    """Train ``networks``, as many as ``method`` wants, on the recipe's train images; in the best one its best epoch is left.

    name: of the recipe's section, for messages and for the checkpoint: a training stopped before goes on where it was kept.
    evaluate: what the best epoch is chosen by, in [0, 1], from a network in eval mode; without it, held-out top-1. before_step:
    gets the number of steps done. in_float32: whatever the recipe's precision is.
    Raises Interrupted: the process is to end; the training is kept.
    """
    recipe, images = context.recipe, open_images(context)

    def stream(number: int, share: float = 1.0) -> data.Batches:
        """The train images in an order and in views that depend on the number, in batches of this share."""
        size, processes = part_of_batch(section.batch_size, share), parallel.processes()
        if share < 1 and size % processes:
            what = f"a feedback batch cannot be parted equally among {processes} processes"
            where, seen = f"{name}.feedback_batch_share", f"{share:g} of {section.batch_size} images: {size}"
            raise InputError(what, where=where, seen=seen, fix="feedback_batch_share: 1, or another number of processes")
        return data.Batches(
            images.train, batch_size=size, views=method.views,
            preprocessing=images.preprocessing, hflip=images.hflip, seed=recipe.seed + 20_000_003 * number, device=device,
            share=(parallel.rank(), processes),
        )  # fmt: skip

    batches = stream(0)
    done, total, compute = 0, section.epochs * len(batches), compute_used(device)

    def say(note: str) -> None:
        context.say({"done": done, "total": total, "note": note})

    def tell(event: Mapping[str, Any]) -> None:
        nonlocal done
        done, top1 = event["done"], event["held_out_top1"]
        say(f"loss {event['loss']:.3f}" + (f", held-out top1 {top1:.3f}" if top1 is not None else "") + resumed)

    def held_out_top1(candidate: nn.Module) -> float:
        return float(np.mean(right(held_out_logits(context, candidate), images.held_out.labels)))

    checkpoint = Checkpoint(context.checkpoint, name, say) if context.checkpoint is not None else None
    state = checkpoint.load() if checkpoint is not None else None
    resumed = ""
    if state is not None:
        done, resumed = state["step"], f", resumed at step {state['step']} of {total}"
        say(resumed.removeprefix(", "))
    elif checkpoint is not None and checkpoint.refused:
        say(checkpoint.refused)
    if parallel.processes() > 1:
        compute["processes"] = parallel.processes()
    if in_float32:
        compute |= {"precision": "fp32"}
    else:
        kept = checkpoint.resumed[-1]["compute"] if checkpoint is not None and state is not None else None
        compute |= settled(recipe, device, kept, lambda: trial_step(networks[0], teacher, batches))
    if checkpoint is not None:
        checkpoint.compute = compute
    with STOP.waits():
        result = distill.fit(
            [network.to(device) for network in networks], method, batches,
            teacher=teacher.to(device) if teacher is not None else None, more_batches=stream,
            evaluate=evaluate or held_out_top1, held_out_images=len(images.held_out), epochs=section.epochs,
            learning_rate=section.learning_rate, momentum=section.momentum, weight_decay=section.weight_decay,
            warmup=section.warmup, milestones=section.milestones, gradient_norm=section.gradient_norm,
            precision=compute["precision"], seed=recipe.seed, section=name, on_progress=tell, resume=state,
            before_step=before_step, after_step=checkpoint.after_step if checkpoint is not None else None,
        )  # fmt: skip
    distill.put_back(networks[result.which], result.best_state)
    spent = _spent(result.curves["epochs"], total * batches.batch_size, method)
    notes: dict[str, Any] = {"compute": compute, "training": spent}
    if checkpoint is not None and checkpoint.resumed:
        notes |= {"resumed": checkpoint.resumed, "steps": total}
    if checkpoint is not None and checkpoint.refused:
        notes["checkpoint"] = checkpoint.refused
    return Trained(result.which, result.curves, notes)


def _spent(epochs: Sequence[Mapping[str, Any]], drawn: int, method: distill.Method) -> dict[str, Any]:
    """What the training took. drawn: images, each as many views. The steps of a teacher that learns are in the seconds only."""
    passes = drawn * len(method.views)
    images = {"student": passes * method.students, **({"teacher": passes} if method.needs_teacher else {})}
    sums = {name: round(sum(epoch[name] for epoch in epochs), 3) for name in ("seconds", "cpu_seconds")}
    return {"epochs": len(epochs), **sums, "images": images}
