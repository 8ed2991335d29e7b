"""How often the test split was opened, and which images were seen last, across runs of one folder."""

import json

import pytest

from edgekd.data import Description
from edgekd.pipeline.state import State


def images(digest="a" * 64, count=10):
    return Description(("cat", "dog"), {"train": count - 2, "held_out": 1, "test": 1}, digest, hflip=True, notes=())


def test_openings_are_counted_on_disk_at_once_and_across_processes(tmp_path):
    path = tmp_path / "state.json"
    assert State(path).test_opened == 0
    assert not path.exists()
    for count in (1, 2):
        state = State(path)
        state.count_test_opened()
        assert (state.test_opened, json.loads(path.read_text())["test_opened"]) == (count, count)


def test_other_images_than_last_time_are_told_once_with_their_number_and_digest(tmp_path):
    path = tmp_path / "state.json"
    assert State(path).see_images(images()) is None  # nothing to compare with
    assert State(path).see_images(images()) is None
    assert State(path).see_images(images("b" * 64, 1800)) == (
        "data: the images changed since the last run here (10 → 1,800 images, digest aaaaaaaa → bbbbbbbb):"
        " nothing made from the earlier ones is reused"
    )
    assert State(path).see_images(images("b" * 64, 1800)) is None


def test_counting_forgets_no_images_and_seeing_images_no_count(tmp_path):
    path = tmp_path / "state.json"
    State(path).see_images(images())
    State(path).count_test_opened()
    assert State(path).see_images(images("b" * 64)) is not None
    assert State(path).test_opened == 1


@pytest.mark.parametrize("content", ["", "{", "[]", '{"test_opened": "often"}', '{"opened": 3}', '{"images": {"digest": 3}}'])
def test_a_damaged_file_counts_from_zero_and_knows_no_images(tmp_path, content):
    path = tmp_path / "state.json"
    path.write_text(content)
    state = State(path)
    assert (state.test_opened, state.see_images(images())) == (0, None)


def test_a_count_of_an_older_edgekd_is_kept(tmp_path):
    path = tmp_path / "state.json"
    path.write_text('{"test_opened": 3}')
    assert State(path).test_opened == 3
