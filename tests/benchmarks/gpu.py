"""The training loop on a CUDA device: that it learns, waits for nothing, goes on to the same bits, and how fast it is.

    python tests/benchmarks/gpu.py [--steps 40] [--sizes 32,224] [--batches 64,256]

Needs torch, torchvision, numpy and safetensors; runs from a checkout. With pydantic and ruamel.yaml too, a training is taken up
again from a checkpoint file, else from the state in memory. Prints one JSON object; exits with 0 if every check holds, 1 if one
does not, 4 without a CUDA device.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # as stages.compute sets it, before the first product
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import torch
from torch import nn

from edgekd import distill, models
from edgekd.data.batches import Batches
from edgekd.data.dataset import Split
from edgekd.distill.loop import STEPS_BETWEEN_READS_ON_GPU

CLASSES = 10
MEAN, STD = [0.5] * 3, [0.25] * 3


class Stopped(Exception):
    """Ends a training in the middle."""


def pictures(count: int, size: int, seed: int) -> Split:
    """Noise on a colour of the class: learnt in a few steps."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, CLASSES, count)
    colours = np.random.default_rng(0).integers(0, 128, (CLASSES, 3), np.uint8)
    images = draw.integers(0, 128, (count, size, size, 3), np.uint8) + colours[labels][:, None, None, :]
    return Split(images, labels.astype(np.int64), tuple(map(str, range(count))))


def batches_of(split: Split, method: distill.Method, batch: int, device: torch.device) -> Batches:
    preprocessing = {"image_size": split.images.shape[1:3], "mean": MEAN, "std": STD}
    return Batches(split, batch_size=batch, views=method.views, preprocessing=preprocessing, hflip=False, seed=0, device=device)


def network(name: str, size: int, device: torch.device, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return models.create(name, classes=CLASSES, image_size=size, width=1.0 if device.type == "cuda" else 0.25).to(device)


def top1_on(split: Split, device: torch.device) -> Callable[[nn.Module], float]:
    views = (torch.from_numpy(split.images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.25
    labels = torch.from_numpy(split.labels).to(device)
    return lambda student: float((student(views.to(device)).argmax(1) == labels).float().mean())


def learns(device: torch.device) -> dict[str, Any]:
    """A MobileNetV2 by label, in bf16."""
    method, train = distill.Label(), pictures(1024, 32, seed=0)
    result = distill.fit(
        network("mobilenet_v2", 32, device), method, batches_of(train, method, 64, device), precision="bf16", epochs=15,
        learning_rate=0.05, evaluate=top1_on(pictures(256, 32, seed=1), device),
    )  # fmt: skip
    losses = [epoch["loss"] for epoch in result.curves["epochs"]]
    return {"ok": losses[-1] < 0.8 * losses[0], "losses": losses, "held_out_top1": result.best_top1}


def waits_for_nothing(device: torch.device, method: distill.Method, precision: str) -> dict[str, Any]:
    """No step between two looks at the device's numbers may synchronise; the first few set things up."""
    train, watched = pictures(64 * 50, 32, seed=0), 0

    def after_step(training: distill.Training) -> None:
        nonlocal watched
        following, last = training.step + 1, len(training.batches)
        quiet = 5 < following < last and following % STEPS_BETWEEN_READS_ON_GPU != 0
        watched += quiet
        torch.cuda.set_sync_debug_mode("error" if quiet else "default")

    try:
        distill.fit(
            network("mobilenet_v2", 32, device), method, batches_of(train, method, 64, device), precision=precision, epochs=1,
            learning_rate=0.01, teacher=network("resnet18", 32, device, seed=1), evaluate=lambda _: 0.5, after_step=after_step,
        )  # fmt: skip
    except RuntimeError as error:
        where = [line for line in traceback.format_exc().splitlines() if "edgekd" in line]
        return {"ok": False, "why": str(error), "where": where}
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"ok": watched > 30, "steps_watched": watched}


def goes_on(device: torch.device, method: Callable[[], distill.Method], precision: str, size: int) -> dict[str, Any]:
    """Two whole trainings, and one stopped in the middle of its second epoch and taken up in a new network: the same bits."""
    train = pictures(32 * 8, size, seed=0)

    def fit(**options: Any) -> dict[str, torch.Tensor]:
        made = method()
        student = network("mobilenet_v2", size, device)
        distill.fit(
            student, made, batches_of(train, made, 32, device), precision=precision, epochs=3, learning_rate=0.02,
            teacher=network("resnet18", size, device, seed=1), evaluate=top1_on(pictures(64, size, seed=1), device), **options,
        )  # fmt: skip
        return {name: tensor.cpu() for name, tensor in student.state_dict().items()}

    whole, again = fit(), fit()
    state, through = stopped_at(11, fit)
    torch.rand(3, device=device)
    resumed = fit(resume=state)
    repeated, same = differing(whole, again), differing(whole, resumed)
    return {"ok": not repeated and not same, "repeated_differs_in": repeated, "resumed_differs_in": same, "through": through}


def stopped_at(step: int, fit: Callable[..., Any]) -> tuple[dict[str, Any], str]:
    """The state after ``step`` steps, by way of a checkpoint file where that can be imported."""
    kept: list[dict[str, Any]] = []

    def after_step(training: distill.Training) -> None:
        if training.step == step:
            kept.append(training.state_dict())
            if checkpoint is not None:
                checkpoint._keep(training)
            raise Stopped

    with tempfile.TemporaryDirectory() as place:
        try:
            from edgekd.stages.checkpoint import Checkpoint
        except ModuleNotFoundError as missing:
            checkpoint, through = None, f"memory: {missing.name} is not installed"
        else:
            checkpoint, through = Checkpoint(Path(place, "key.checkpoint"), "distill", print), "file"
        with contextlib.suppress(Stopped):
            fit(after_step=after_step)
        loaded = Checkpoint(Path(place, "key.checkpoint"), "distill", print).load() if checkpoint is not None else kept[0]
    if loaded is None:
        raise SystemExit("the checkpoint written was not taken")
    return loaded, through


def differing(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> int:
    """How many tensors are not equal bit for bit."""
    return sum(not torch.equal(one[name], other[name]) for name in one)


def speed(device: torch.device, precision: str, size: int, batch: int, steps: int, *, fixed: bool) -> float:
    """Steps a second of SLD, ResNet18 teacher and MobileNetV2 student, after ten. fixed: one batch on the device, each time."""
    method, warm = distill.SLD(), 10
    drawn = batches_of(pictures(max(batch, 512), size, seed=0), method, batch, device)
    endless = Endless(drawn, warm + steps, fixed=fixed)
    times: list[float] = []

    def after_step(training: distill.Training) -> None:
        if training.step in (warm, warm + steps - 1):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            times.append(time.perf_counter())

    teacher = models.fold_for_inference(network("resnet18", size, device, seed=1))
    distill.fit(
        network("mobilenet_v2", size, device), method, endless, precision=precision, epochs=1, learning_rate=0.001,
        teacher=teacher, evaluate=lambda _: 0.5, after_step=after_step,
    )  # fmt: skip
    return (steps - 1) / (times[1] - times[0])


class Endless:
    """One long epoch of another's batches."""

    def __init__(self, batches: Batches, steps: int, *, fixed: bool) -> None:
        self.batches, self.steps, self.fixed = batches, steps, fixed

    def __len__(self) -> int:
        return self.steps

    def __iter__(self):
        left, first = self.steps, next(iter(self.batches))
        while left:
            for one in [first] * left if self.fixed else self.batches:
                if left:
                    yield one
                    left -= 1


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--device", default="cuda", help="cpu tries the script itself")
    arguments.add_argument("--steps", type=int, default=40)
    for name, value in (("sizes", "32,224"), ("batches", "64,256")):
        arguments.add_argument(f"--{name}", type=lambda words: [int(word) for word in words.split(",")], default=value)
    given = arguments.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        print("no CUDA device")
        sys.exit(4)
    device = torch.device(given.device)
    cuda = device.type == "cuda"
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        checks = {"learns": learns(device)}
        for method in (distill.Label, distill.KD, distill.SLD):
            if cuda:
                for precision in ("fp32", "bf16"):
                    checks[f"waits_for_nothing {method.__name__} {precision}"] = waits_for_nothing(device, method(), precision)
        for precision in ("fp32", "bf16") if cuda else ("fp32",):
            for size in (32, 96) if cuda else (32,):
                checks[f"goes_on {precision} {size}"] = goes_on(device, distill.SLD, precision, size)
        for name, one in checks.items():
            print(name, one, file=sys.stderr, flush=True)
        rates = {}
        for size in given.sizes:
            for batch in given.batches:
                for precision in ("fp32", "bf16"):
                    for fixed in (False, True):
                        name = f"{size} {batch} {precision} {'fixed batch' if fixed else 'batches drawn'}"
                        rates[name] = speed(device, precision, size, batch, given.steps, fixed=fixed)
                        print(name, f"{rates[name]:.2f} steps/s", file=sys.stderr, flush=True)
    told = sorted({str(one.message).partition("\n")[0][:160] for one in warned})
    ratios = {name: rates[name] / rates[name.replace("bf16", "fp32")] for name in rates if "bf16" in name}
    machine = torch.cuda.get_device_name(device) if cuda else "cpu"
    found = {"checks": checks, "steps_per_s": rates, "bf16_over_fp32": ratios, "warnings": told}
    print(json.dumps({"device": machine, "torch": torch.__version__, **found}, indent=1))
    sys.exit(0 if all(one["ok"] for one in checks.values()) else 1)


if __name__ == "__main__":
    main()
