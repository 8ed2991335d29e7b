"""How often the test split was opened is counted across runs of one folder, before it is opened."""

import json

import pytest

from edgekd.pipeline.state import State


def test_openings_are_counted_on_disk_at_once_and_across_processes(tmp_path):
    path = tmp_path / "state.json"
    assert State(path).test_opened == 0
    assert not path.exists()
    for count in (1, 2):
        state = State(path)
        state.count_test_opened()
        assert (state.test_opened, json.loads(path.read_text())) == (count, {"test_opened": count})


@pytest.mark.parametrize("content", ["", "{", "[]", '{"test_opened": "often"}', '{"opened": 3}'])
def test_a_damaged_file_counts_from_zero(tmp_path, content):
    path = tmp_path / "state.json"
    path.write_text(content)
    assert State(path).test_opened == 0
