"""A stage that gets no more memory ends with exit 5 and says what to make smaller; so does one that the system kills."""

import pytest

from edgekd.stages.worker import call_stage


def test_a_stage_that_gets_no_more_memory_is_told_and_the_next_run_goes_on(walk, monkeypatch):
    monkeypatch.setenv("TOY", "hungry")  # a real limit, and the interpreter's own MemoryError
    hungry = walk()
    assert (hungry.error.exit_code, hungry.error.what) == (5, "out of memory")
    assert "batch_size" in hungry.error.fix and hungry.error.where == "distill"
    assert [row.status for row in hungry.rows] == ["done", "failed"]
    monkeypatch.delenv("TOY")
    assert [row.status for row in walk().rows] == ["cached", "done"]


@pytest.mark.parametrize("toy_chain", [True], indirect=True, ids=["in the worker"])
def test_a_worker_killed_by_the_system_is_named_with_the_step_and_the_log(walk, monkeypatch):
    monkeypatch.setenv("TOY", "killed")
    killed = walk()
    assert (killed.error.exit_code, killed.error.where) == (5, "distill")
    assert "SIGKILL" in killed.error.what and "batch_size" in killed.error.fix
    assert killed.error.seen == f"log: {walk.folder / 'run/worker.log'}"
    monkeypatch.delenv("TOY")
    assert [row.status for row in walk().rows] == ["cached", "done"]


@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_how_the_libraries_say_it_is_understood(library, tmp_path, monkeypatch):
    """Asked for more than the address space of a process."""
    pytest.importorskip(library)
    source = f"import {library}\n\ndef run(context):\n    {library}.zeros(1 << 58)\n"
    (tmp_path / f"greedy_{library}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    context = type("Context", (), {"folder": tmp_path})()
    with pytest.raises(Exception, match="out of memory") as refused:
        call_stage(f"greedy_{library}:run", context)
    assert refused.value.exit_code == 5
