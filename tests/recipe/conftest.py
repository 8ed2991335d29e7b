"""The smallest recipe that is valid, and the table of ways to break it."""

from pathlib import Path
from typing import NamedTuple

import pytest

from edgekd.recipe import Recipe, loads

GOOD = """\
edgekd: 1
name: small
data: {source: digits, image_size: 32}
teacher: {model: resnet18, epochs: 8}
student: {model: mobilenet_v2}
distill:
  method: kd
  epochs: 12
targets:
  cpu: {device: local-cpu, runtime: onnxruntime, precision: int8}
gates:
  distill: {top1: {min: 0.9}}
"""


class Broken(NamedTuple):
    name: str
    text: str
    screen: str


def read_table(path: Path) -> list[Broken]:
    """Blocks of: `# name`, the lines of GOOD taken out (`-`) and put in (`+`), and the screen expected (`>`).

    A block without `-` lines is a whole file of its own.
    """
    cases = []
    for block in path.read_text(encoding="utf-8").split("\n\n"):
        lines = {mark: [line[2:] for line in block.split("\n") if line[:1] == mark] for mark in "#-+>"}
        old, new = ("".join(f"{line}\n" for line in lines[mark]) for mark in "-+")
        assert not old or GOOD.count(old) == 1, f"{lines['#']}: {old!r} is not once in GOOD"
        cases.append(Broken(lines["#"][0], GOOD.replace(old, new) if old else new, "\n".join(lines[">"])))
    return cases


_BROKEN = read_table(Path(__file__).with_name("broken_recipes.txt"))


@pytest.fixture
def good() -> str:
    return GOOD


@pytest.fixture
def broken_table() -> list[Broken]:
    return _BROKEN


@pytest.fixture(params=_BROKEN, ids=lambda broken: broken.name)
def broken(request: pytest.FixtureRequest) -> Broken:
    return request.param


@pytest.fixture
def recipe():
    """Make a recipe from a text (the good one, if none is given) and --set options."""

    def make(text: str = GOOD, *overrides: str, folder: Path = Path()) -> Recipe:
        return loads(text, "a.yaml", folder, overrides)

    return make
