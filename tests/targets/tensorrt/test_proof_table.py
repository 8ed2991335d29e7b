"""The table in docs/design.md of how far each TensorRT is proven says no more than there are stand-ins and names for."""

import re
from pathlib import Path

import fake_gpu
import trtexec

ROOT = Path(__file__).parents[3]


def rows():
    """{version: its ten cells}."""
    lines = re.findall(r"^\| ((?:\d+\.\d+(?:, )?)+) \|(.*)\|$", (ROOT / "docs/design.md").read_text("utf-8"), re.MULTILINE)
    return {one: [cell.strip() for cell in cells.split("|")] for versions, cells in lines for one in versions.split(", ")}


def proven(cells, word):
    return {version for version, row in rows().items() if any(cell.startswith(word) for cell in row[cells])}


def test_every_fake_of_the_table_exists_and_no_other_does():
    of_trtexec = {f"{one[0]}.{one[1]}" for one in trtexec.VERSIONS.values()}
    of_python = {".".join(one.split(".")[:2]) for one in fake_gpu.VERSIONS}
    assert (proven(slice(0, 5), "fake"), proven(slice(6, 10), "fake")) == (of_trtexec, of_python)


def test_what_is_said_to_be_checked_by_name_has_its_names_here():
    tables = {".".join(path.stem.split(".")[:2]) for path in (ROOT / "tests/fixtures/tensorrt_api").iterdir()}
    assert proven(slice(5, 10), "by name") | proven(slice(6, 10), "fake") == tables
