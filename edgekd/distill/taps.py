"""Where two networks can be compared inside: found by letting both look at one picture. Nothing here knows a network by name.

Shape suffixes in this file: 1 3 H W one picture; the shape of a map is (channels, rows, columns).
"""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from edgekd.core import InputError
from edgekd.distill.method import Tap
from edgekd.distill.modes import answering

Shape = tuple[int, int, int]
MOST_PAIRS = 3  # of those found, the last: ours; an earlier stage is the largest map of all, and the least of an opinion


@dataclass(frozen=True)
class Pairs:
    """Taps, and for each the shapes of the student's and of the teacher's map of one picture."""

    taps: tuple[Tap, ...] = ()
    shapes: tuple[tuple[Shape, Shape], ...] = ()


def pair_up(
    teacher: nn.Module, student: nn.Module, image_13HW: Tensor, wanted: Literal["auto"] | Sequence[tuple[str, str]] = "auto"
) -> Pairs:
    """Where to compare: the pairs (teacher's module, student's module) ``wanted``, or those found.

    Found are, for each network, the last output of each resolution above one pixel; paired are those of equal resolution, and
    where the networks share none, the last with the last and so on. At most the last three, and none if a network has no maps.
    Raises InputError: a network has no such module (with the nearest name), or what it gives is no map.
    """
    if not wanted:
        return Pairs()
    of_teacher, of_student = shapes(teacher, image_13HW), shapes(student, image_13HW)
    if wanted == "auto":
        ends = [_last_of_each_resolution(of_one, image_13HW) for of_one in (of_teacher, of_student)]
        shared = [size for size in ends[0] if size in ends[1]]
        if shared:
            wanted = [(ends[0][size], ends[1][size]) for size in shared]
        else:
            wanted = list(zip(reversed(ends[0].values()), reversed(ends[1].values()), strict=False))[::-1]
        wanted = wanted[-MOST_PAIRS:]
    for index, owner, of_one in ((0, "teacher", of_teacher), (1, "student", of_student)):
        for pair in wanted:
            _require_map(pair[index], owner, of_one)
    sizes = [(of_student[mine], of_teacher[yours]) for yours, mine in wanted]
    return Pairs(tuple(Tap(*pair) for pair in wanted), tuple((_map(one), _map(other)) for one, other in sizes))


@torch.no_grad()
def shapes(network: nn.Module, image_13HW: Tensor) -> dict[str, tuple[int, ...]]:
    """Module → shape of its output for one picture, without the batch, in the order in which they are done.

    A module that is called several times, or gives no tensor, is left out. Modes and statistics stay as they are.
    """
    found: dict[str, tuple[int, ...]] = {}
    calls: Counter[str] = Counter()

    def note(name: str, _module: nn.Module, _inputs: Any, output: object) -> None:
        calls[name] += 1
        if isinstance(output, Tensor):
            found[name] = tuple(output.shape[1:])

    with ExitStack() as stack:
        stack.enter_context(answering(network))
        for name, module in network.named_modules():
            if name:
                stack.callback(module.register_forward_hook(partial(note, name)).remove)
        network(image_13HW)
    return {name: shape for name, shape in found.items() if calls[name] == 1}


def head_and_tail(network: nn.Module, image_13HW: Tensor) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters of the head, and those of the last stage with the head.

    The head is the last module with parameters of its own to be done; the last stage, whatever comes after the last of them
    that gave a larger map than the last map.
    """
    sizes = shapes(network, image_13HW)
    modules = [(name, list(network.get_submodule(name).parameters(recurse=False))) for name in sizes]
    owners = [(_resolution(sizes[name], image_13HW), weights) for name, weights in modules if weights]
    last = next((size for size, _ in reversed(owners) if size), None)
    begins = max((place for place, (size, _) in enumerate(owners, 1) if size not in (None, last)), default=0)
    return owners[-1][1], [weight for _, weights in owners[begins:] for weight in weights]


def _resolution(shape: tuple[int, ...], image_13HW: Tensor) -> tuple[int, int] | None:
    """Rows and columns of a map; None if it is none, or not of the picture's form (transformers have the channels last)."""
    if len(shape) != 3:
        return None
    height, width = image_13HW.shape[-2:]
    rows, columns = shape[1:]
    return (rows, columns) if abs(rows / height - columns / width) <= 1 / height + 1 / width else None


def _last_of_each_resolution(found: Mapping[str, tuple[int, ...]], image_13HW: Tensor) -> dict[tuple[int, int], str]:
    """Resolution above one pixel → the module after which the network goes on to another one, in the order of these modules.

    A block that makes the map smaller has parts that still give the larger one. They come later than the output of the block
    before, but are deeper inside modules that give another resolution.
    """
    sizes = {name: _resolution(shape, image_13HW) for name, shape in found.items()}
    ends: dict[tuple[int, int], tuple[int, str]] = {}
    for name, size in sizes.items():
        if size is None or size == (1, 1):
            continue
        parts = name.split(".")
        around = [sizes.get(".".join(parts[:depth])) for depth in range(1, len(parts))]
        inside = sum(other not in (None, size) for other in around)
        if size not in ends or inside <= ends[size][0]:
            ends.pop(size, None)
            ends[size] = (inside, name)
    return {size: name for size, (_, name) in ends.items()}


def _map(shape: tuple[int, ...]) -> Shape:
    channels, rows, columns = shape
    return channels, rows, columns


def _require_map(name: str, owner: str, found: Mapping[str, tuple[int, ...]]) -> None:
    if name not in found:
        close = difflib.get_close_matches(name, list(found), n=1)
        nearest = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(
            f"the {owner} has no module {name!r} that runs once{nearest}",
            where="distill.taps",
            seen=name,
            fix="name modules as named_modules does, or use taps: auto",
        )
    if len(found[name]) != 3:
        raise InputError(
            f"module {name!r} of the {owner} gives no map", where="distill.taps", seen=f"shape {found[name]} for one picture"
        )
