"""CPU time of a training step: ffkd with its feedback on in every measured step, over kd with a folded teacher.

    OMP_NUM_THREADS=1 python tests/benchmarks/ffkd_cost.py cifar_resnet32x4 cifar_resnet8x4 32 5

teacher, student, batch, repetitions; in turn, and of each the fastest, since other work on the machine only slows.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from edgekd import models
from edgekd.distill import Method, create, fit
from edgekd.recipe import part_of_batch

STEPS, CLASSES, SIZE = 4, 100, 32
ALWAYS = {"feedback_start": 0.0, "feedback_stop": 1.0, "feedback_rollback": False}
ROWS: dict[str, Callable[[], Method]] = {
    "kd": lambda: create("kd"),
    "ffkd, forward phase alone": lambda: create("ffkd", feedback_every=0),
    "ffkd, feedback_every 1": lambda: create("ffkd", **ALWAYS),
    "ffkd, feedback_every 4": lambda: create("ffkd", feedback_every=4, **ALWAYS),
    "ffkd, feedback_every 1, tail": lambda: create("ffkd", feedback_tunes="tail", **ALWAYS),
    "ffkd-adapt, feedback_every 1": lambda: create("ffkd-adapt", **ALWAYS),
}


class Same:
    """The same batch again and again."""

    def __init__(self, batch: int) -> None:
        draw = torch.Generator().manual_seed(0)
        self.images = torch.randn(batch, 3, SIZE, SIZE, generator=draw)
        self.labels, self.step = torch.randint(0, CLASSES, (batch,), generator=draw), 0

    def __len__(self) -> int:
        return STEPS

    def __iter__(self) -> Iterator[tuple[dict[str, Tensor], Tensor]]:
        while self.step < STEPS:
            self.step += 1
            yield {"weak": self.images}, self.labels
        self.step = 0

    def state_dict(self) -> dict[str, int]:
        return {"step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.step = state["step"]


def main(teacher_name: str, student_name: str, batch: int, repetitions: int) -> None:
    torch.manual_seed(0)
    teacher, student = (models.create(name, classes=CLASSES, image_size=SIZE) for name in (teacher_name, student_name))
    seconds: dict[str, list[float]] = {name: [] for name in ROWS}
    for _ in range(repetitions):
        for name, make in ROWS.items():
            method = make()
            teaching = copy.deepcopy(teacher) if method.teacher_learns else models.fold_for_inference(teacher)
            result = fit(
                copy.deepcopy(student), method, Same(batch), teacher=teaching, evaluate=lambda network: 0.5, epochs=2,
                learning_rate=0.01, more_batches=lambda number, share: Same(part_of_batch(batch, share)),
            )  # fmt: skip
            seconds[name].append(min(epoch["cpu_seconds"] for epoch in result.curves["epochs"]) / STEPS)
    for name, found in seconds.items():
        print(f"{name:30s} {1e3 * min(found):8.1f} ms  ×{min(found) / min(seconds['kd']):.2f}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
