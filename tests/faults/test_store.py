"""A finished step that is no longer what it was is found by its hash, set aside and made again, whatever became of it."""

import os
import shutil

import pytest

PARENT = pytest.mark.parametrize("toy_chain", [False], indirect=True, ids=["in the parent"])
FILE, OUTCOME = "second.txt", "outcome.json"


def cut(path):
    path.write_bytes(path.read_bytes()[:-10])


def flipped(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def emptied(path):
    path.write_bytes(b"")


def a_folder_instead(path):
    path.unlink()
    path.mkdir()


def a_pipe_instead(path):
    path.unlink()
    os.mkfifo(path)


def a_link_to_nothing_instead(path):
    path.unlink()
    path.symlink_to("nowhere")


def no_text(path):
    path.write_bytes(b"\xff\xfe\x00")


def better(path):
    """A number that decides, changed to another that could be; it is JSON still."""
    text = path.read_text()
    assert '"value": 0.8' in text
    path.write_text(text.replace('"value": 0.8', '"value": 0.9'))


def another_document(path):
    path.write_text("[1, 2]")


def of_another_edgekd(path):
    path.write_text('{"outcome": {}, "seconds": "long", "made_at": null}')


DAMAGE = [
    *((FILE, how) for how in (cut, flipped, emptied, os.unlink, a_folder_instead, a_pipe_instead, a_link_to_nothing_instead)),
    *((OUTCOME, how) for how in (cut, better, os.unlink, a_folder_instead, no_text, another_document, of_another_edgekd)),
]


@PARENT
@pytest.mark.timeout(60)
@pytest.mark.parametrize(("file", "damage"), DAMAGE, ids=lambda value: getattr(value, "__name__", value))
def test_a_damaged_object_is_set_aside_and_made_again_and_the_rest_is_reused(walk, tmp_path, file, damage):
    before = walk()
    shutil.rmtree(tmp_path / "run")  # its files are the store's own, by hard link
    key = before.rows[1].key
    damage(tmp_path / "store" / key / file)
    events = []
    again = walk(events=events)
    assert [row.status for row in again.rows] == ["cached", "done"]
    assert [row.outcome for row in again.rows] == [row.outcome for row in before.rows]
    (aside,) = (tmp_path / "store").glob(f"{key}.damaged-*")
    (told,) = (event["text"] for event in events if event["event"] == "note")
    assert told.startswith("distill: its stored result was damaged") and told.endswith(str(aside))
    assert (tmp_path / "run/distill/second.txt").read_text() == "seed 0, then distilled"
    assert [row.status for row in walk().rows] == ["cached", "cached"]


@PARENT
def test_a_file_edited_in_the_run_folder_is_found_though_it_is_the_stores_own(walk, tmp_path):
    walk()
    (tmp_path / "run/teacher/first.txt").write_text("edited")
    again = walk()
    assert [row.status for row in again.rows] == ["done", "cached"]
    assert (tmp_path / "run/teacher/first.txt").read_text() == "seed 0"
