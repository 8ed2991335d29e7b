"""A toy training in one process, or as one of several that train together: the same code, to be compared."""

import os
import sys
from pathlib import Path

import torch
import torch._dynamo  # what torch's optimisers import at their first step
import torch.distributed as dist
from torch import nn

from edgekd import distill
from edgekd.distill import parallel, views
from edgekd.recipe import part_of_batch

STEPS, SIZE = 5, 16  # of an epoch; of all processes
FEEDBACK = {"feedback_start": 0.0, "feedback_stop": 1.0, "feedback_batch_norm": "train", "feedback_anchor_weight": 0.1,
            "feedback_learning_rate": 1.0}  # fmt: skip
CASES = {
    "label": ("label", {}),
    "dist": ("dist", {}),
    "sld": ("sld", {}),
    "sld in two passes": ("sld", {}),
    "ffkd": ("ffkd", {"students": 2, **FEEDBACK}),
    "ffkd-public": ("ffkd-public", {}),
}


class Pictures:
    """Batches of two views, of which this process makes its share."""

    def __init__(self, seed=0, size=SIZE):
        draw = torch.Generator().manual_seed(seed)
        self.weak = torch.randn(2 * STEPS, size, 3, 8, 8, generator=draw)
        self.labels = torch.randint(0, 3, (2 * STEPS, size), generator=draw)
        self.weak[:, :, :, 0, 0] += self.labels[:, :, None]
        self.strong = self.weak + 0.3 * torch.randn(self.weak.shape, generator=draw)
        own = size // parallel.processes()
        self.rows, self.step = slice(parallel.rank() * own, parallel.rank() * own + own), 0

    def __len__(self):
        return STEPS

    def __iter__(self):
        epoch = self.step // STEPS
        while self.step // STEPS == epoch:
            number = self.step % (2 * STEPS)
            self.step += 1
            pictures = {"weak": self.weak[number, self.rows], "strong": self.strong[number, self.rows]}
            yield pictures, self.labels[number, self.rows]

    def state_dict(self):
        return {"step": self.step}

    def load_state_dict(self, state):
        self.step = state["step"]


def network(width, seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.Tanh(),
        nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width), nn.Tanh(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 3),
    )  # fmt: skip


def train(case, epochs=2, **options):
    """Loss after each step, curves, and the weights of all networks at the end."""
    method, own = CASES[case]
    method, losses = distill.create(method, **own), []
    students, teacher = [network(4, seed) for seed in range(method.students)], network(8, 9)
    views.MOST_PIXELS_ON_CPU = 0 if case == "sld in two passes" else 1 << 20

    def after_step(training):
        done = training.sums._counts.get("loss", 0)
        losses.append(training.sums.mean("loss") if done else training.epochs[-1]["loss"])
        if "keep_at" in options and training.step == options["keep_at"]:
            options["kept"].update(training.state_dict())

    result = distill.fit(
        students, method, Pictures(), evaluate=lambda _: 0.5, epochs=epochs, learning_rate=0.05, teacher=teacher,
        more_batches=lambda number, share: Pictures(number, part_of_batch(SIZE, share)), after_step=after_step,
        resume=options.get("resume"),
    )  # fmt: skip
    weights = {f"{name}.{key}": value for name, one in (("teacher", teacher), *zip("ab", students, strict=False))
               for key, value in one.state_dict().items()}  # fmt: skip
    curves = [{name: value for name, value in epoch.items() if "seconds" not in name} for epoch in result.curves["epochs"]]
    return {"losses": losses, "weights": weights, "logged": result.curves["logged"], "curves": curves}


def resumed(case):
    """The same, but kept in the middle of the second epoch, and gone on with by fresh networks."""
    kept = {}
    train(case, keep_at=STEPS + 2, kept=kept)
    return train(case, resume=kept)


def main(folder, processes):
    """Fork so many processes that train together: what they import is imported once."""
    ranks = range(int(processes))
    children = [pid for rank in ranks if (pid := os.fork()) or one_of_them(folder, rank, len(ranks))]
    sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0 for pid in children))


def one_of_them(folder, rank, processes):
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=processes)
    made = {case: train(case) for case in CASES} | {"ffkd, resumed": resumed("ffkd")}
    torch.save(made, Path(folder, f"{rank}.pt"))
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
