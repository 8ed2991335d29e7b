"""Every way to break a recipe that we thought of, with the exact screen it must give."""

import os
import re
from itertools import pairwise
from pathlib import Path

import pytest
from as_nobody import as_nobody
from click.testing import CliRunner

from edgekd.cli import main
from edgekd.core import RecipeError
from edgekd.recipe import load, loads


def test_a_broken_recipe_shows_this_screen_and_nothing_on_stdout(broken, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_text(broken.text)
    result = CliRunner().invoke(main, ["check", "a.yaml"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == broken.screen + "\n"


def test_there_are_enough_kinds_of_them_and_each_says_where(broken_table):
    assert all(broken.screen.startswith("a.yaml:") for broken in broken_table)
    sentences = [broken.screen.split("\n")[0].split(": ", 1)[1].partition(";")[0] for broken in broken_table]
    kinds = {re.sub(r"'[^']*'|[\d.]+|\w+\.[\w.]+", "…", sentence) for sentence in sentences}  # whatever the name or number
    assert len(kinds) >= 60


@pytest.mark.parametrize(
    ("content", "where", "what"),
    [
        (b"name: \xff\n", "a.yaml:1:7", "the file is not UTF-8 text"),
        (b"edgekd: 1\nname: sm\x07all\n", "a.yaml:2:9", "the character U+0007 cannot stand in YAML"),
        (b"\x00" * 100, "a.yaml:1:1", "the character U+0000 cannot stand in YAML"),
        ("edgekd: 1\n".encode("utf-16"), "a.yaml:1:1", "the file is not UTF-8 text"),
        ("edgekd: 1\n".encode("utf-16-le"), "a.yaml:1:2", "the character U+0000 cannot stand in YAML"),
        (b"\x89PNG\r\n\x1a\n", "a.yaml:1:1", "the file is not UTF-8 text"),
        (b"\xef\xbb\xbf", "a.yaml:1:1", "the recipe is empty"),
        (b"\r\n \r\n", "a.yaml:1:1", "the recipe is empty"),
        (b"x" * 10_000_000, "a.yaml", "the file has more than 256,000 bytes, too many for a recipe"),
        (b"# " + b"x" * 300_000, "a.yaml", "the file has more than 256,000 bytes, too many for a recipe"),
        (b"a: " + b"[" * 200_000, "a.yaml:1:28", "nested deeper than 24 levels"),
        ("".join(f"k{i}: 1\n" for i in range(20_000)).encode(), "a.yaml:5000:8", "a recipe of more than 10,000 values"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_files_that_are_no_text_or_too_much_of_it_are_refused_with_a_place(content, where, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.yaml").write_bytes(content)
    with pytest.raises(RecipeError) as caught:
        load("a.yaml")
    assert (caught.value.where, caught.value.what) == (where, what)


def test_an_alias_bomb_stops_before_it_expands():
    names = "abcdefghij"
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n" for old, new in pairwise(names))
    with pytest.raises(RecipeError, match="aliases make this more than 10,000 values"):
        loads(bomb, "a.yaml", Path())


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda path: None, "no such recipe"),
        (Path.mkdir, "the recipe cannot be read: Is a directory"),
        (os.mkfifo, "the recipe is a pipe, a socket or a device"),
        (lambda path: path.symlink_to("/dev/zero"), "the recipe is a pipe, a socket or a device"),
        (lambda path: path.symlink_to("nowhere.yaml"), "no such recipe"),
        (lambda path: path.symlink_to(path.name), "the recipe cannot be read: Too many levels of symbolic links"),
        (lambda path: (path.touch(), path.chmod(0)), "the recipe cannot be read: Permission denied"),
    ],
    ids=["missing", "folder", "pipe", "device", "dangling link", "link to itself", "forbidden"],
)
def test_what_is_no_file_is_refused_by_name_and_does_not_keep_us_waiting(make, what, tmp_path):
    path = tmp_path / "a.yaml"
    make(path)
    with as_nobody(tmp_path), pytest.raises(RecipeError) as caught:
        load(path)
    assert (caught.value.what, caught.value.where, caught.value.exit_code) == (what, str(path), 2)


def test_a_snippet_of_a_long_line_is_a_window_around_the_place(good):
    text = good.replace("name: small", "name: " + "a" * 500 + " # " + "x" * 500)
    with pytest.raises(RecipeError) as caught:
        loads(text.replace("name: a", "name: " + " " * 300 + "a"), "a.yaml", Path())
    line, caret = caught.value.snippet.split("\n")
    assert caught.value.where == "a.yaml:2:307"
    assert len(line) < 130
    assert line[caret.index("^")] == "a" and line[caret.index("^") - 1] == " "


def test_windows_line_ends_and_a_byte_order_mark_move_no_place(good, tmp_path):
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + good.replace("epochs: 12", "epocs: 12").replace("\n", "\r\n").encode())
    with pytest.raises(RecipeError) as caught:
        load(path)
    assert caught.value.where == f"{path}:8:3"
