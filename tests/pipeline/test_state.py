"""What runs remember: how often the test split of which images was opened, which images were seen last, what a folder is for."""

import json

import pytest

from edgekd.core import InputError
from edgekd.data import Description
from edgekd.pipeline.state import Openings, State


def images(digest="a" * 64, count=10):
    return Description(("cat", "dog"), {"train": count - 2, "held_out": 1, "test": 1}, digest, hflip=True, notes=())


def test_openings_are_counted_on_disk_at_once_across_processes_and_for_each_set_of_images(tmp_path):
    path = tmp_path / "store" / "test_opened.json"
    assert Openings(path).of("a") == 0
    assert not path.exists()
    for count in (1, 2):
        Openings(path).add("a")
        assert (Openings(path).of("a"), json.loads(path.read_text())["a"]) == (count, count)
    Openings(path).add("b")
    assert (Openings(path).of("a"), Openings(path).of("b")) == (2, 1)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": "often"}'])
def test_a_damaged_count_counts_from_zero(tmp_path, content):
    path = tmp_path / "test_opened.json"
    path.write_text(content)
    Openings(path).add("a")
    assert Openings(path).of("a") == 1


def test_other_images_than_last_time_are_told_once_with_their_number_and_digest(tmp_path):
    path = tmp_path / "state.json"
    assert State(path).see_images(images()) is None  # nothing to compare with
    assert State(path).see_images(images()) is None
    assert State(path).see_images(images("b" * 64, 1800)) == (
        "data: the images changed since the last run here (10 → 1,800 images, digest aaaaaaaa → bbbbbbbb):"
        " nothing made from the earlier ones is reused"
    )
    assert State(path).see_images(images("b" * 64, 1800)) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"opened": 3}', '{"images": {"digest": 3}}'])
def test_a_damaged_file_knows_no_images_and_stands_in_a_folder_of_a_real_run(tmp_path, content):
    path = tmp_path / "state.json"
    path.write_text(content)
    assert State(path).see_images(images()) is None
    path.write_text(content)
    with pytest.raises(InputError, match="holds a real run"):
        State(path).claim(smoke=True)


@pytest.mark.parametrize("smoke", [True, False])
def test_a_folder_belongs_to_real_runs_or_to_smoke_runs_from_the_first_on(tmp_path, smoke):
    path = tmp_path / "run" / "state.json"
    State(path).claim(smoke=smoke)
    State(path).see_images(images())
    State(path).claim(smoke=smoke)
    with pytest.raises(InputError, match="does not go into it") as refused:
        State(path).claim(smoke=not smoke)
    assert (refused.value.where, refused.value.exit_code) == (str(path.parent), 2)
