"""SLD's loss, forward and backward, against a plain autograd version with boolean indexing and a loop over temperatures.

    python tests/benchmarks/loss_speed.py [--shapes 512x100,512x1000] [--rounds 7] [--threads 2]

The plain version is written from the formula as one would first write it: for each view and temperature the row-wise swap by
boolean masks and ``F.kl_div``, summed, then backward. Rounds are interleaved; the ratio of their medians with the least and
greatest ratio of a round, and how far the two losses and gradients are apart.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from edgekd.distill.sld import sld_loss

TEMPERATURES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)


def plainly_swapped(logits: Tensor, labels: Tensor) -> Tensor:
    """The logit of the label and the largest one of each row exchanged, by masks."""
    rows = torch.arange(len(logits), device=logits.device)
    top = logits.argmax(1)
    is_label = torch.zeros_like(logits, dtype=torch.bool)
    is_label[rows, labels] = True
    is_top = torch.zeros_like(logits, dtype=torch.bool)
    is_top[rows, top] = True
    swapped = logits.clone()
    label_values, top_values = logits[is_label], logits[is_top]
    swapped[is_label] = top_values
    swapped[is_top] = label_values
    return swapped


def plain_loss(student_views: list[Tensor], teacher_views: list[Tensor], labels: Tensor, pseudo_teacher: bool) -> Tensor:
    loss = torch.zeros((), device=labels.device)
    for student, teacher in zip(student_views, teacher_views, strict=True):
        loss = loss + 0.1 * F.cross_entropy(student, labels)
        for temperature in TEMPERATURES:
            log_p = F.log_softmax(student / temperature, 1)
            targets = [plainly_swapped(teacher, labels), *([plainly_swapped(student, labels)] if pseudo_teacher else [])]
            for target in targets:
                q = F.softmax(target / temperature, 1)
                loss = loss + 0.9 * temperature**2 * F.kl_div(log_p, q, reduction="none").sum(1).mean()
    return loss


def our_loss(student_views: list[Tensor], teacher_views: list[Tensor], labels: Tensor, pseudo_teacher: bool) -> Tensor:
    return sld_loss(student_views, teacher_views, labels, temperatures=TEMPERATURES, pseudo_teacher=pseudo_teacher)


def step(loss_of: Callable[..., Tensor], views: tuple[list[Tensor], list[Tensor]], labels: Tensor, pseudo_teacher: bool):
    """Seconds, loss and gradients."""
    students = [view.detach().requires_grad_() for view in views[0]]
    wait = torch.cuda.synchronize if labels.is_cuda else (lambda: None)
    wait()
    began = time.perf_counter()
    loss = loss_of(students, views[1], labels, pseudo_teacher)
    loss.backward()
    wait()
    return time.perf_counter() - began, loss.detach(), torch.stack([view.grad for view in students])


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--shapes", default="512x100,512x1000")
    arguments.add_argument("--rounds", type=int, default=7)
    arguments.add_argument("--repeats", type=int, default=10, help="steps of a round")
    arguments.add_argument("--threads", type=int, default=2)
    given = arguments.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for shape in given.shapes.split(","):
        batch, classes = map(int, shape.split("x"))
        draw = torch.Generator().manual_seed(0)
        labels = torch.randint(0, classes, (batch,), generator=draw).to(device)
        views = tuple([3 * torch.randn(batch, classes, generator=draw).to(device) for _ in range(2)] for _ in range(2))
        for pseudo_teacher in (False, True):
            _, plain, plain_grad = step(plain_loss, views, labels, pseudo_teacher)
            _, ours, our_grad = step(our_loss, views, labels, pseudo_teacher)
            apart = float((ours - plain).abs() / plain), float((our_grad - plain_grad).norm() / plain_grad.norm())
            medians: dict[str, list[float]] = {"plain": [], "ours": []}
            for turn in range(given.rounds):
                order = [("plain", plain_loss), ("ours", our_loss)]
                for name, loss_of in order if turn % 2 == 0 else order[::-1]:
                    times = [step(loss_of, views, labels, pseudo_teacher)[0] for _ in range(given.repeats)]
                    medians[name].append(statistics.median(times))
            ratios = [slow / fast for slow, fast in zip(medians["plain"], medians["ours"], strict=True)]
            plain_ms, ours_ms = (1000 * statistics.median(medians[name]) for name in ("plain", "ours"))
            print(
                f"[{batch}, {classes}] {device.type}, pseudo-teacher {'on' if pseudo_teacher else 'off'}: "
                f"{statistics.median(ratios):.1f}x [{min(ratios):.1f}, {max(ratios):.1f}], "
                f"{plain_ms:.2f} ms against {ours_ms:.2f} ms; "
                f"relative difference of the loss {apart[0]:.1e}, of the gradient {apart[1]:.1e}"
            )


if __name__ == "__main__":
    main()
