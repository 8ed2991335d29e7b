"""Images per second of the training loop against a straightforward one, and of the methods against each other.

    python tests/benchmarks/distill_speed.py [--pairs a,b] [--methods sld] [--batch 64] [--steps 4] [--blocks 4] [--threads 2]
    python tests/benchmarks/distill_speed.py --pairs a --methods label,kd,sld,ffkd --feedback-every 4

Pairs on 32x32 pictures of 100 classes: a is resnet32x4 to resnet8x4, b is ResNet50 to MobileNetV2. The straightforward loop is
written from the papers' formulas as one would first write it: each picture augmented by Pillow in two DataLoader workers, the
teacher asked for each view as it is, a forward pass for each view, a loop over temperatures, plain SGD, the loss read each step.
Both train in this process in turns (blocks A B B A ...), each block after one step that does not count; the ratio is that of the
medians of the blocks, with the least and greatest of neighbouring blocks. ``ffkd`` is timed in its feedback phase.
bfloat16 is timed too where the device has it. Needs Pillow and torchvision.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable, Iterator
from itertools import chain, repeat

import numpy as np
import torch
import torch.nn.functional as F
from loss_speed import plain_loss
from PIL import Image, ImageDraw, ImageEnhance, ImageOps
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from edgekd import data, distill, models
from edgekd.data.dataset import Split

PAIRS = {"a": ("cifar_resnet32x4", "cifar_resnet8x4"), "b": ("cifar_resnet50", "cifar_mobilenet_v2")}
CLASSES, SIZE = 100, 32
MEAN, STD = (0.5071, 0.4867, 0.4408), (0.2675, 0.2565, 0.2761)
PREPROCESSING = {"image_size": [SIZE, SIZE], "mean": MEAN, "std": STD}
FIT = {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4}


def sheared(image: Image.Image, *coefficients: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, coefficients)


OPERATIONS: tuple[tuple[float, float, Callable[[Image.Image, float], Image.Image]], ...] = (
    (0, 1, lambda image, _: ImageOps.autocontrast(image)),
    (0.05, 0.95, lambda image, m: ImageEnhance.Brightness(image).enhance(m)),
    (0.05, 0.95, lambda image, m: ImageEnhance.Color(image).enhance(m)),
    (0.05, 0.95, lambda image, m: ImageEnhance.Contrast(image).enhance(m)),
    (0, 1, lambda image, _: ImageOps.equalize(image)),
    (0, 1, lambda image, _: image),
    (4, 8, lambda image, m: ImageOps.posterize(image, int(m))),
    (-30, 30, lambda image, m: image.rotate(m)),
    (0.05, 0.95, lambda image, m: ImageEnhance.Sharpness(image).enhance(m)),
    (-0.3, 0.3, lambda image, m: sheared(image, 1, m, 0, 0, 1, 0)),
    (-0.3, 0.3, lambda image, m: sheared(image, 1, 0, 0, m, 1, 0)),
    (0, 256, lambda image, m: ImageOps.solarize(image, int(m))),
    (-0.3, 0.3, lambda image, m: sheared(image, 1, 0, m * image.size[0], 0, 1, 0)),
    (-0.3, 0.3, lambda image, m: sheared(image, 1, 0, 0, 0, 1, m * image.size[1])),
)


def two_operations_and_cutout(image: Image.Image) -> Image.Image:
    for low, high, operation in random.choices(OPERATIONS, k=2):
        image = operation(image, random.uniform(low, high))
    side, x, y = random.uniform(0, SIZE / 2), random.uniform(0, SIZE), random.uniform(0, SIZE)
    left, top = max(0, int(x - side / 2)), max(0, int(y - side / 2))
    image = image.copy()
    ImageDraw.Draw(image).rectangle((left, top, left + side, top + side), (125, 123, 114))
    return image


class Pictures(Dataset):
    """One picture at a time, as Pillow makes its views."""

    def __init__(self, split: Split, views: tuple[str, ...]) -> None:
        shifted = [transforms.RandomCrop(SIZE, padding=SIZE // 8), transforms.RandomHorizontalFlip()]
        as_tensor = [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
        both = {
            "weak": transforms.Compose([*shifted, *as_tensor]),
            "strong": transforms.Compose([*shifted, two_operations_and_cutout, *as_tensor]),
        }
        self.split, self.views = split, [both[view] for view in views]

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, row: int) -> tuple[list[torch.Tensor], int]:
        image = Image.fromarray(self.split.images[row])
        return [view(image) for view in self.views], int(self.split.labels[row])


def plain_objective(
    method: str, students: list[torch.Tensor], teachers: list[torch.Tensor], labels: torch.Tensor
) -> torch.Tensor:
    if method == "sld":
        return plain_loss(students, teachers, labels, pseudo_teacher=False)
    loss = F.cross_entropy(students[0], labels)
    if method == "kd":
        log_p, q = F.log_softmax(students[0] / 4, 1), F.softmax(teachers[0] / 4, 1)
        loss = 0.1 * loss + 0.9 * 16 * F.kl_div(log_p, q, reduction="none").sum(1).mean()
    return loss


class Straightforward:
    """``block(steps)``: seconds of so many steps, after one more."""

    def __init__(self, pair: str, method: str, split: Split, batch: int, device: torch.device) -> None:
        self.method, self.device = method, device
        self.teacher, self.student = (network.to(device) for network in networks(pair))
        self.views = ("weak", "strong") if method == "sld" else ("weak",)
        loader = DataLoader(
            Pictures(split, self.views), batch, shuffle=True, num_workers=2, persistent_workers=True, drop_last=True,
            pin_memory=device.type == "cuda",
        )  # fmt: skip
        self.batches: Iterator = chain.from_iterable(repeat(loader))
        self.optimiser = torch.optim.SGD(
            self.student.parameters(), FIT["learning_rate"], FIT["momentum"], weight_decay=FIT["weight_decay"], foreach=False
        )

    def step(self) -> None:
        views, labels = next(self.batches)
        views, labels = [view.to(self.device) for view in views], labels.to(self.device)
        students = [self.student(view) for view in views]
        teachers = []
        if self.method != "label":
            with torch.no_grad():
                teachers = [self.teacher(view) for view in views]
        loss = plain_objective(self.method, students, teachers, labels)
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        loss.item()

    def block(self, steps: int) -> float:
        self.teacher.eval()
        self.student.train()
        self.step()
        began = now(self.device)
        for _ in range(steps):
            self.step()
        return now(self.device) - began


class Ours:
    """The same of ``distill.fit``."""

    def __init__(
        self, pair: str, method: str, split: Split, batch: int, device: torch.device, precision: str, feedback_every: int
    ) -> None:
        feedback = {"feedback_every": feedback_every, "feedback_start": 0.0, "feedback_stop": 1.0}
        self.make = lambda: distill.create(method, **(feedback if method == "ffkd" else {}))
        self.split, self.batch, self.device, self.precision = split, batch, device, precision
        teacher, self.student = (network.to(device) for network in networks(pair))
        self.teacher = teacher if self.make().teacher_learns else models.fold_for_inference(teacher)

    def block(self, steps: int) -> float:
        method, stamps = self.make(), []

        def stream(number: int, share: float = 1.0) -> data.Batches:
            return data.Batches(
                self.split[: self.batch * (steps + 2)], batch_size=max(4, round(share * self.batch)), views=method.views,
                preprocessing=PREPROCESSING, hflip=True, seed=number, device=self.device,
            )  # fmt: skip

        distill.fit(
            self.student, method, stream(0), teacher=self.teacher if method.needs_teacher else None, more_batches=stream,
            held_out_images=1000, evaluate=lambda _: 0.5, epochs=1, precision=self.precision,
            after_step=lambda _: stamps.append(now(self.device)), **FIT,
        )  # fmt: skip
        return stamps[steps] - stamps[0]


def networks(pair: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    teacher, student = (models.create(name, classes=CLASSES, image_size=SIZE, width=1.0) for name in PAIRS[pair])
    return teacher, student


def now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--pairs", default="a,b")
    arguments.add_argument("--methods", default="sld")
    arguments.add_argument("--feedback-every", type=int, default=4)
    for name, value in (("batch", 64), ("steps", 4), ("blocks", 4), ("threads", 2)):
        arguments.add_argument(f"--{name}", type=int, default=value)
    arguments.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments.add_argument("--no-reference", action="store_true", help="the methods against each other only")
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    has_bf16 = torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.ops.mkldnn._is_mkldnn_bf16_supported()
    precisions = ("fp32", "bf16") if has_bf16 else ("fp32",)
    print(
        f"torch {torch.__version__} on {device}, {given.threads} threads, batch {given.batch}, precisions {', '.join(precisions)}"
    )
    draw = np.random.default_rng(0)
    count = given.batch * (given.steps + 2)
    images = draw.integers(0, 256, (count, SIZE, SIZE, 3), np.uint8)
    split = Split(images, draw.integers(0, CLASSES, count), tuple(map(str, range(count))))

    for pair in given.pairs.split(","):
        runs: dict[str, Straightforward | Ours] = {}
        for method in given.methods.split(","):
            if method in ("label", "kd", "sld") and not given.no_reference:
                runs[f"{method} straightforward"] = Straightforward(pair, method, split, given.batch, device)
            for precision in precisions:
                runs[f"{method} {precision}"] = Ours(pair, method, split, given.batch, device, precision, given.feedback_every)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for turn in range(given.blocks):
            for name, run in list(runs.items())[:: 1 if turn % 2 == 0 else -1]:
                seconds[name].append(run.block(given.steps))
        print(f"{' to '.join(PAIRS[pair])}, {given.blocks} blocks of {given.steps} steps")
        for name, times in seconds.items():
            line = f"  {name:22} {given.batch * given.steps / statistics.median(times):8.1f} images/s"
            method, how = name.split()
            for other in (f"{method} straightforward", f"kd {how}"):
                if other in seconds and other != name:
                    ratios = [theirs / own for theirs, own in zip(seconds[other], times, strict=True)]
                    ratio = statistics.median(seconds[other]) / statistics.median(times)
                    line += f"   {ratio:.2f}x [{min(ratios):.2f}, {max(ratios):.2f}] {other}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
