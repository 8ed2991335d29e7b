"""Files to one array: every image once, in parallel, through the device room's preprocessing."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekd.core import EnvironmentProblem, InputError
from edgekd.core.files import disk_problems
from edgekd.data.source import Item
from edgekd.device import Problem, decode

Images = NDArray[np.uint8]

IN_MEMORY = 1 << 31  # bytes; a larger array is mapped from a file that vanishes with the process
_NAMED = 10


def decode_all(
    items: Sequence[Item], spec: Mapping[str, Any], *, scratch: Path | None = None, in_memory: int = IN_MEMORY
) -> Images:
    """uint8 [N,H,W,3] in the order of ``items``; spec as in device.preprocess.

    More than ``in_memory`` bytes go into a nameless file in ``scratch`` (or the temporary folder). Raises InputError counting
    all unreadable images and naming ten; EnvironmentProblem if that file does not fit on its disk.
    """
    shape = (len(items), *spec["image_size"], 3)
    images = np.empty(shape, np.uint8) if int(np.prod(shape)) <= in_memory else _mapped(shape, scratch)
    _decode_each(items, spec, images.__setitem__)
    return images


def check_readable(items: Sequence[Item], spec: Mapping[str, Any]) -> None:
    """Decode every image and keep none, so that a broken one is known before hours of training. Raises as decode_all does."""
    _decode_each(items, spec, lambda index, image: None)


def _decode_each(items: Sequence[Item], spec: Mapping[str, Any], keep: Callable[[int, Images], None]) -> None:
    def one(index: int) -> Problem | None:
        try:
            keep(index, decode(items[index].content, dict(spec)))
        except Problem as problem:
            return problem
        return None

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        outcomes = list(pool.map(one, range(len(items))))
    problems = [(item, problem) for item, problem in zip(items, outcomes, strict=True) if problem]
    for _, problem in problems:
        if problem.code != "input":
            raise EnvironmentProblem(problem.what, where=problem.where, seen=problem.seen, fix=problem.fix) from problem
    if problems:
        raise _unreadable(problems, len(items))


def _unreadable(problems: Sequence[tuple[Item, Problem]], of: int) -> InputError:
    files = [os.path.abspath(item.content) for item, _ in problems if isinstance(item.content, Path)]  # noqa: PTH100
    folder = os.path.commonpath([os.path.dirname(file) for file in files]) if files else None  # noqa: PTH120
    named = [f"{item.name} ({problem.what})" for item, problem in problems[:_NAMED]]
    more = f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
    what = f"{len(problems)} of {of} images cannot be read"
    return InputError(what, where=folder, seen="; ".join(named) + more, fix="replace or remove them")


def _mapped(shape: tuple[int, ...], scratch: Path | None) -> Images:
    """A zeroed array in a file without a name, so that no crash leaves it behind."""
    needed = int(np.prod(shape))
    folder = scratch or Path(tempfile.gettempdir())
    with disk_problems(folder):
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < needed:
            seen = f"{needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free"
            raise EnvironmentProblem(
                "the decoded images do not fit on the disk",
                where=str(folder),
                seen=seen,
                fix="free some space or use a smaller data.image_size",
            )
        with tempfile.TemporaryFile(dir=folder) as file:
            os.posix_fallocate(file.fileno(), 0, needed)  # a full disk is an error here, not a SIGBUS at some later write
            return np.memmap(file, np.uint8, "r+", shape=shape)
