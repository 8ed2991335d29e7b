"""The store: whole or absent, checked by hash, and a run stays whole when the store goes away."""

import json
import os
import shutil
import time
from pathlib import Path

import pytest

from edgekd.core import Artifact, Outcome
from edgekd.pipeline import Store, store_of

KEY = "0123456789abcdef"


def stored(store, key=KEY, content=b"weights", name="a/model.bin"):
    with store.lock(key), store.new_folder(key) as folder:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return store.commit(key, folder, Outcome((Artifact.of("model", path, folder),)), 1.5, {"stage": "toy"})


def test_a_committed_step_is_found_again_with_its_age_and_seconds(tmp_path):
    store = Store(tmp_path)
    made = stored(store)
    found = store.find(KEY)
    assert (found.outcome, found.seconds) == (made.outcome, 1.5)
    assert 0 <= found.age_s < 60


@pytest.mark.parametrize("damage", ["flip", "truncate", "delete", "outcome"])
def test_a_damaged_object_is_set_aside_and_made_again(tmp_path, damage):
    store = Store(tmp_path)
    path = stored(store).folder / "a/model.bin"
    if damage == "flip":
        path.write_bytes(b"weighty")
    elif damage == "truncate":
        path.write_bytes(b"wei")
    elif damage == "delete":
        path.unlink()
    else:
        (path.parent.parent / "outcome.json").write_text("{")
    assert store.peek(KEY) is None
    assert (tmp_path / KEY).exists()  # a peek touches nothing
    assert store.find(KEY) is None
    assert [one.name.split(".")[1][:7] for one in tmp_path.glob(f"{KEY}.damaged-*")] == ["damaged"]
    stored(store)
    assert store.find(KEY) is not None


def test_a_step_that_did_not_finish_leaves_nothing_to_find(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(RuntimeError), store.lock(KEY), store.new_folder(KEY) as folder:
        (folder / "half").write_bytes(b"x")
        raise RuntimeError
    assert store.find(KEY) is None
    assert not list(tmp_path.glob("*.part"))


def test_what_a_killed_run_left_behind_is_cleared_by_the_next(tmp_path):
    store = Store(tmp_path)
    left = tmp_path / f".{KEY}.dead.part"
    left.mkdir(parents=True)
    stored(store)
    assert not left.exists()


def test_placed_files_survive_the_loss_of_the_store_and_stale_ones_go(tmp_path):
    store, run = Store(tmp_path / "store"), tmp_path / "run" / "toy"
    store.place(stored(store, "old", b"old", "old/file.bin"), run)
    store.place(stored(store), run)
    store.place(stored(store), run)
    shutil.rmtree(tmp_path / "store")
    assert [path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()] == ["a/model.bin"]
    assert (run / "a/model.bin").read_bytes() == b"weights"


def test_a_damaged_copy_in_the_run_is_replaced_without_touching_the_store(tmp_path):
    store, run = Store(tmp_path / "store"), tmp_path / "run"
    made = stored(store)
    run.mkdir()
    (run / "a").mkdir()
    (run / "a/model.bin").write_bytes(b"damaged")
    store.place(made, run)
    assert (run / "a/model.bin").read_bytes() == b"weights"
    assert store.find(KEY) is not None


def test_a_step_made_anew_replaces_the_earlier_result_and_leaves_nothing_of_it(tmp_path):
    store = Store(tmp_path)
    stored(store)
    stored(store, content=b"renewed")
    assert (store.find(KEY).folder / "a/model.bin").read_bytes() == b"renewed"
    assert sorted(path.name for path in tmp_path.iterdir()) == [KEY, f"{KEY}.lock"]


@pytest.mark.parametrize(("run_dir", "store"), [("runs/a", "runs/.store"), ("{cwd}/runs/a", "runs/.store"),
                                                ("./runs/../runs/a", "runs/.store"), ("elsewhere/a", "elsewhere/a/.store"),
                                                ("runs/a/b", "runs/a/b/.store")])  # fmt: skip
def test_runs_in_the_default_place_share_a_store_however_they_are_named(tmp_path, monkeypatch, run_dir, store):
    monkeypatch.chdir(tmp_path)
    found = store_of(Path(run_dir.format(cwd=tmp_path)), Path("runs"))
    assert found.resolve() == tmp_path / store


def test_the_object_says_what_it_was_made_from(tmp_path):
    folder = stored(Store(tmp_path)).folder
    assert json.loads((folder / "outcome.json").read_text())["made_from"] == {"stage": "toy"}


def test_a_checkpoint_outlives_the_process_and_goes_when_its_step_is_committed(tmp_path):
    store = Store(tmp_path)
    kept = store.checkpoint(KEY) / "teacher.checkpoint"
    kept.parent.mkdir()
    kept.write_bytes(b"half way")
    with pytest.raises(RuntimeError), store.lock(KEY), store.new_folder(KEY):
        raise RuntimeError
    assert kept.exists()
    stored(store, key="another")
    assert kept.exists()
    stored(store)
    assert not kept.parent.exists()


def test_checkpoints_nobody_went_on_with_for_thirty_days_go_when_the_store_is_next_written(tmp_path):
    store, day = Store(tmp_path), 24 * 3600
    for key, age_days in (("old", 31), ("young", 29)):
        store.checkpoint(key).mkdir()
        (store.checkpoint(key) / "teacher.checkpoint").write_bytes(b"half way")
        then = time.time() - age_days * day
        os.utime(store.checkpoint(key), (then, then))
    store.find(KEY)
    assert store.checkpoint("old").exists()
    stored(store)
    assert [store.checkpoint(key).exists() for key in ("old", "young")] == [False, True]
