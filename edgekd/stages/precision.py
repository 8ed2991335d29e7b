"""float32 or bfloat16 for a training's forward passes, where the recipe leaves it open."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import nn

from edgekd.data import Batches
from edgekd.distill import parallel
from edgekd.distill.method import in_full
from edgekd.distill.teacher import FrozenTeacher, in_bf16
from edgekd.distill.tiny_maps import quick_tiny_maps
from edgekd.distill.views import answers
from edgekd.recipe import Recipe

Precision = Literal["fp32", "bf16"]
StepSeconds = Callable[[Precision], float]  # takes one step and says how long it took

CLEARLY_FASTER = 1.2  # ours: below, the digits that bf16 costs buy too little
ROUNDS = 3


def settled(
    recipe: Recipe, device: torch.device, kept: Mapping[str, Any] | None, trial: Callable[[], StepSeconds]
) -> dict[str, Any]:
    """``{"precision"}``, and ``"bf16_speedup"`` where that was measured.

    ``auto`` is bf16 on a GPU that has it, and on a CPU that has it if this training's own steps are clearly faster by it; a
    training taken up again on such a CPU goes on as it began. kept: the compute notes it was kept with. trial: makes what is
    measured, if it has to be.
    """
    wanted = recipe.compute.precision
    if wanted != "auto":
        return {"precision": wanted}
    if device.type == "cuda":
        return {"precision": "bf16" if torch.cuda.is_bf16_supported() else "fp32"}
    if not cpu_has_bf16():
        return {"precision": "fp32"}
    if kept is not None and kept["device"] == str(device):
        return {name: kept[name] for name in ("precision", "bf16_speedup") if name in kept}
    ratio = float(parallel.averaged(torch.tensor(speedup(trial()))))  # the same in all processes
    return {"precision": "bf16" if ratio >= CLEARLY_FASTER else "fp32", "bf16_speedup": round(ratio, 2)}


def cpu_has_bf16() -> bool:
    """Whether oneDNN computes in bf16 here. It does on some CPUs that are slow at it, hence the measuring."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def speedup(step_s: StepSeconds) -> float:
    """Seconds of a step in fp32 over those in bf16: the least of a few each, in turns, so that a busy machine troubles both."""
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    times: dict[Precision, list[float]] = {one: [] for one in precisions}
    for one in precisions:
        step_s(one)  # a first step chooses kernels and finds memory
    for _ in range(ROUNDS):
        for one in precisions:
            times[one].append(step_s(one))
    return min(times["fp32"]) / min(times["bf16"])


def trial_step(student: nn.Module, teacher: nn.Module | None, batches: Batches) -> StepSeconds:
    """Both networks forward and the student backward on the next batch of a CPU's; all stay as they are."""
    place = batches.state_dict()
    views, _ = next(iter(batches))
    batches.load_state_dict(place)
    learner = copy.deepcopy(student).train().to(memory_format=torch.channels_last)
    asked: dict[Precision, FrozenTeacher] = {}
    if teacher is not None:
        frozen = copy.deepcopy(teacher).to(memory_format=torch.channels_last)
        asked = {"fp32": FrozenTeacher(frozen), "bf16": FrozenTeacher(in_bf16(frozen))}
    images = {view: pictures.contiguous(memory_format=torch.channels_last) for view, pictures in views.items()}

    def step_s(precision: Precision) -> float:
        began = time.perf_counter()
        with quick_tiny_maps(learner, *(one.network for one in asked.values())):
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                if asked:
                    asked[precision].logits(images)
                logits = answers(learner, images)
            torch.stack([in_full(one).square().mean() for one in logits.values()]).sum().backward()  # type: ignore[no-untyped-call]
        learner.zero_grad()
        return time.perf_counter() - began

    return step_s
