"""Pictures harder than the shipped digits: two of those scans half across each other, faint, turned and noisy; which one is the
left is the class, of 10. Always the same for the same numbers.

    python tests/benchmarks/pictures.py FOLDER                               FOLDER/{train,val}/CLASS/NUMBER.png
    python tests/benchmarks/pictures.py FOLDER --images 600 --noise 0        fewer, and clean ones
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from edgekd.data.digits import list_digits

SIDE, DIGIT, SHIFT = 32, 20, 11  # pixels: of a picture, of a digit in it, from one digit to the next
TEST_SHARE = 3  # every third scan appears in test pictures only


def write_pairs(folder: Path, images: int, *, tests: int | None = None, noise: float = 5.0, turn: float = 15.0) -> None:
    """``images`` pictures to train on and ``tests`` (a third as many) to test on. noise: its standard deviation, in grey levels
    of 255; turn: by at most so many degrees either way."""
    scans: dict[str, list[list[np.ndarray]]] = {part: [[] for _ in range(10)] for part in ("train", "val")}
    for number, item in enumerate(list_digits().parts["all"]):
        scans["val" if number % TEST_SHARE == 0 else "train"][item.label].append(np.asarray(item.content)[..., 0])
    draw = np.random.default_rng(0)
    for part, count in (("train", images), ("val", images // 3 if tests is None else tests)):
        for number in range(count):
            left, other = divmod(number % 100, 10)
            place = folder / part / str(left) / f"{number}.png"
            place.parent.mkdir(parents=True, exist_ok=True)
            ones = [scans[part][digit][draw.integers(len(scans[part][digit]))] for digit in (left, other)]
            Image.fromarray(_picture(ones, draw, noise, turn)).save(place)


def _picture(ones: list[np.ndarray], draw: np.random.Generator, noise: float, turn: float) -> np.ndarray:
    ink = np.zeros((SIDE, SIDE))
    for place, one in enumerate(ones):
        turned = Image.fromarray(one).resize((DIGIT, DIGIT), Image.Resampling.BICUBIC).rotate(draw.uniform(-turn, turn))
        top, left = draw.integers(0, SIDE - DIGIT + 1), place * SHIFT + draw.integers(0, 2)
        part = ink[top : top + DIGIT, left : left + DIGIT]
        np.maximum(part, np.asarray(turned, float)[:, : part.shape[1]] / 255, out=part)
    grey = draw.uniform(40, 160) + draw.uniform(50, 90) * ink + draw.normal(0, noise, ink.shape)
    return np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("--images", type=int, default=2000, help="to train on")
    arguments.add_argument("--tests", type=int, help="to test on; a third as many if left out")
    arguments.add_argument("--noise", type=float, default=5.0, help="standard deviation, of 255")
    arguments.add_argument("--turn", type=float, default=15.0, help="degrees")
    given = arguments.parse_args()
    write_pairs(given.folder, given.images, tests=given.tests, noise=given.noise, turn=given.turn)


if __name__ == "__main__":
    main()
