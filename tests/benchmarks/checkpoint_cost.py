"""What checkpoints cost: the same training with and without them, by turns in one process.

    python tests/benchmarks/checkpoint_cost.py [--model resnet18] [--size 32] [--steps 150] [--turns 3]

Random pictures: their content changes no speed. Prints the ratio of the times with and without for each turn, how many
checkpoints were written and their size; and that both trainings ended with the same bits. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

from edgekd import distill, models
from edgekd.stages.checkpoint import Checkpoint


class Pictures:
    """One random batch, again and again."""

    def __init__(self, steps: int, batch: int, size: int) -> None:
        draw = torch.Generator().manual_seed(0)
        self.steps, self.labels = steps, torch.randint(0, 10, (batch,), generator=draw)
        self.pictures = torch.randn(batch, 3, size, size, generator=draw)

    def __len__(self) -> int:
        return self.steps

    def __iter__(self):
        for _ in range(self.steps):
            yield {"weak": self.pictures}, self.labels

    def state_dict(self) -> dict:
        return {}


def train(given: argparse.Namespace, after_step) -> tuple[float, dict]:
    torch.manual_seed(0)
    network = models.create(given.model, classes=10, image_size=given.size, width=given.width)
    pictures = Pictures(given.steps, given.batch, given.size)
    started = time.perf_counter()
    distill.fit(network, distill.Label(), pictures, evaluate=lambda _: 0.5, epochs=1, learning_rate=0.01, after_step=after_step)
    return time.perf_counter() - started, network.state_dict()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", default="resnet18")
    arguments.add_argument("--width", type=float, default=1.0)
    for name, value in (("size", 32), ("batch", 64), ("steps", 150), ("turns", 3)):
        arguments.add_argument(f"--{name}", type=int, default=value)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    train(argparse.Namespace(**{**vars(given), "steps": 3}), None)  # warm
    ratios = []
    with tempfile.TemporaryDirectory() as place:
        for turn in range(given.turns):
            kept = Checkpoint(Path(place, f"{turn}.checkpoint"), "teacher", print)
            keep, costs = kept._keep, []

            def timed(training, keep=keep, costs=costs) -> None:
                started = time.perf_counter()
                keep(training)
                costs.append(time.perf_counter() - started)

            kept._keep = timed  # type: ignore[method-assign]
            runs = {"without": lambda: train(given, None), "with": lambda kept=kept: train(given, kept.after_step)}
            order = ("without", "with") if turn % 2 == 0 else ("with", "without")
            done = {name: runs[name]() for name in order}
            (with_s, one), (without_s, other) = done["with"], done["without"]
            if not all(torch.equal(one[name], other[name]) for name in one):
                raise SystemExit("a checkpoint changed the training")
            files = list(Path(place, f"{turn}.checkpoint").glob("*"))
            size = f"{files[0].stat().st_size / 1e6:.1f} MB" if files else "no file"
            ratios.append(with_s / without_s)
            print(f"without {without_s:.2f} s, with {with_s:.2f} s: ratio {ratios[-1]:.4f}; {len(costs)} checkpoints of {size}, "
                  f"{sum(costs):.3f} s = {100 * sum(costs) / with_s:.2f} % of it")  # fmt: skip
    print(f"median ratio {median(ratios):.4f}; same bits with and without")


if __name__ == "__main__":
    main()
