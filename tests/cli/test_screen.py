"""Every failure ends with its screen on stderr, its exit code, and, under --json, one document on stdout."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from edgekd.cli import main
from edgekd.cli.screen import error_document, screen_of
from edgekd.core import (
    DeviceError,
    EdgekdError,
    EnvironmentProblem,
    InputError,
    IntegrityError,
    Interrupted,
    LockedError,
    RecipeError,
)


@pytest.fixture
def failing(monkeypatch):
    """A command that raises; returns the result of calling it."""

    def run(error: BaseException, *words: str):
        @click.command()
        @click.option("--json", "as_json", is_flag=True)
        def check(as_json: bool) -> None:
            raise error

        monkeypatch.setattr("edgekd.cli.check.check", check)
        return CliRunner().invoke(main, ["check", *words])

    return run


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (EdgekdError("x"), 1),
        (InputError("x"), 2),
        (RecipeError("x"), 2),
        (EnvironmentProblem("x"), 5),
        (DeviceError("x"), 6),
        (IntegrityError("x"), 7),
        (LockedError("x"), 8),
        (Interrupted(signal.SIGHUP), 129),
        (Interrupted(), 130),
        (Interrupted(signal.SIGTERM), 143),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
        (click.UsageError("x"), 2),
        (click.FileError("x"), 2),
        (MemoryError(), 5),
        (OSError(28, "No space left on device", "/run"), 5),
        (PermissionError(13, "Permission denied", "/run"), 5),
        (ZeroDivisionError("x"), 1),
        (OSError(5, "Input/output error"), 1),
    ],
)
def test_each_kind_of_failure_has_its_exit_code_and_document(error, code, failing, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    plain = failing(error)
    assert (plain.exit_code, plain.stdout) == (code, "")
    assert plain.stderr
    assert "Traceback" not in plain.stderr
    told = failing(error, "--json")
    document = json.loads(told.stdout)
    assert (told.exit_code, document["exit_code"]) == (code, code)
    assert (document["schema"], document["verdict"], set(document["error"])) == (
        1,
        None,
        {"code", "what", "where", "seen", "fix"},
    )


def test_a_screen_says_what_where_seen_and_what_to_do():
    error = LockedError("the run is held by another process", where="runs/a/.lock", seen="process 7 on host", fix="wait for it")
    assert screen_of(error) == "runs/a/.lock: the run is held by another process\n  seen: process 7 on host\n  help: wait for it"


def test_what_the_sentence_already_shows_is_not_shown_twice():
    assert screen_of(InputError("epochs is 'five'", seen="'five'")) == "epochs is 'five'"
    assert screen_of(InputError("a class folder has no images", seen="c")).endswith("seen: c")  # a letter of another word


def test_no_text_can_steer_the_terminal():
    screen = screen_of(InputError("bad \x1b[31m name\r", where="a\x07.yaml", seen="\x9b", fix="\u202e"))
    assert all(letter.isprintable() or letter == "\n" for letter in screen)


def test_many_problems_are_counted_and_the_first_ten_shown():
    error = RecipeError("problem 1", where="a.yaml:1:1")
    error.others = tuple(RecipeError(f"problem {n}", where=f"a.yaml:{n}:1") for n in range(2, 14))
    lines = screen_of(error).split("\n")
    assert (len(lines), lines[9], lines[10]) == (11, "a.yaml:10:1: problem 10", "13 problems, 3 of them not shown")
    assert len(error_document(error)["error"]["others"]) == 12


def test_a_bug_names_the_file_that_holds_its_traceback(failing, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    result = failing(ZeroDivisionError("by zero"))
    file = next(tmp_path.iterdir())
    what = "this is a bug in edgekd: ZeroDivisionError: by zero"
    assert result.stderr == f"{what}\n  seen: the traceback is in {file}\n  help: report it with that file\n"
    assert "Traceback (most recent call last)" in file.read_text()


def test_a_bug_on_a_machine_without_room_for_its_traceback_is_still_told(failing, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))
    result = failing(ZeroDivisionError("by zero"))
    assert result.exit_code == 1
    assert (
        "this is a bug in edgekd: ZeroDivisionError: by zero\n  help: report it; the traceback could not be written"
        in result.stderr
    )


def run_edgekd(*words: str, **options) -> subprocess.Popen:
    code = "import sys; sys.argv = ['edgekd', *sys.argv[1:]]; from edgekd.cli import main; main()"
    return subprocess.Popen([sys.executable, "-c", code, *words], text=True, **options)


def test_a_reader_that_goes_away_is_no_bug():
    read, write = os.pipe()
    os.close(read)
    process = run_edgekd("schema", "recipe", stdout=write, stderr=subprocess.PIPE)
    os.close(write)
    assert (process.communicate()[1], process.returncode) == ("", 141)


WAITING = """
import time
import edgekd.recipe
from edgekd.cli import main

def wait(*_):
    print("waiting", flush=True)
    time.sleep(60)

edgekd.recipe.load = wait
main(["check", "a.yaml"])
"""


def test_ctrl_c_ends_with_130_and_one_sentence():
    process = subprocess.Popen([sys.executable, "-c", WAITING], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (out, process.returncode) == ("", 130)
    assert err == "interrupted by SIGINT\n  help: run the same command again to go on\n"


def test_the_json_of_a_broken_recipe_lists_all_problems(tmp_path):
    recipe = tmp_path / "a.yaml"
    recipe.write_text((Path(__file__).parents[2] / "recipes" / "mobilenetv2_jetson.yaml").read_text())
    result = CliRunner().invoke(main, ["check", str(recipe), "--json", "--set", "distill.epocs=5", "--set", "seed=-1"])
    error = json.loads(result.stdout)["error"]
    assert (result.exit_code, error["code"], error["where"]) == (2, "recipe", "--set distill.epocs=5")
    assert [other["where"] for other in error["others"]] == ["--set seed=-1"]


def test_a_run_folder_that_is_a_file_is_bad_input(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    recipe = Path(__file__).parents[2] / "recipes" / "mobilenetv2_jetson.yaml"
    result = CliRunner().invoke(main, ["pipeline", str(recipe), "--run-dir", str(file), "--json"])
    assert (result.exit_code, json.loads(result.stdout)["error"]["where"]) == (2, str(file))
    assert CliRunner().invoke(main, ["check", str(recipe), "--run-dir", str(file)]).exit_code == 0  # nothing cached there


def test_json_is_utf8_whatever_the_terminal_shows():
    name = os.fsdecode("\N{CAT FACE}".encode() + b"\xff.yaml")
    latin = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    process = run_edgekd("check", name, "--json", stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=latin)
    out, err = process.communicate()
    assert json.loads(out)["error"]["where"] == "\N{CAT FACE}\\udcff.yaml"
    assert (process.returncode, err.split(":")[0]) == (2, r"\U0001f431\udcff.yaml")


@pytest.mark.parametrize(("closed", "code"), [("<&-", 0), (">&-", 0), ("2>&-", 0), ("<&- >&- 2>&-", 0), (">/dev/full", 5)])
def test_a_stream_that_is_closed_or_full_is_no_bug(closed, code):
    words = [sys.executable, "-m", "edgekd", "schema", "recipe"]
    done = subprocess.run(["sh", "-c", f'"$@" {closed}', "sh", *words], capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr, "bug" in done.stderr) == (code, False, False)
