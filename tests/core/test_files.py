"""Files are whole or absent; a disk that is full, read-only or forbidden is an error of this machine, with its place."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from as_nobody import as_nobody
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import Artifact, EnvironmentProblem, InputError, canonical_json, digest
from edgekd.core.files import disk_problems, link_or_copy, make_folder, sha256_of, write_atomic, write_json

FULL_DISK = """
import subprocess, sys
from pathlib import Path
from edgekd.core import EnvironmentProblem
from edgekd.core.files import write_atomic
folder = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(folder)], check=True)
write_atomic(folder / "a", b"old")
try:
    write_atomic(folder / "a", b"x" * 1_000_000)
except EnvironmentProblem as error:
    print(error.what, [path.name for path in folder.iterdir()], (folder / "a").read_bytes())
"""


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path):
    file = tmp_path / "new folder" / "a.txt"
    write_atomic(file, "first")
    write_atomic(file, b"second")
    assert (file.read_bytes(), [path.name for path in file.parent.iterdir()]) == (b"second", ["a.txt"])


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_while_writing_keeps_the_old_file(number, tmp_path, monkeypatch):
    file = tmp_path / "a.txt"
    write_atomic(file, "old")

    def full(handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(EnvironmentProblem) as caught:
        write_atomic(file, "new")
    assert (file.read_text(), [path.name for path in tmp_path.iterdir()]) == ("old", ["a.txt"])
    assert (caught.value.exit_code, caught.value.where) == (5, str(file))
    assert caught.value.fix


def test_a_really_full_disk(tmp_path):
    done = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", FULL_DISK, str(tmp_path)],
                          capture_output=True, text=True)  # fmt: skip
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip("this machine lets no test mount a small disk")
    assert done.stdout == "no space left on the disk ['a'] b'old'\n"


def test_a_folder_one_may_not_write_to(tmp_path):
    tmp_path.chmod(0o500)
    with as_nobody(tmp_path), pytest.raises(EnvironmentProblem, match="permission denied"):
        write_atomic(tmp_path / "a", "x")
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    ("name", "do"), [("x" * 300, Path.stat), ("folder", Path.read_text), ("file", Path.mkdir), ("file/below", Path.stat)]
)
def test_a_place_where_nothing_can_be_is_bad_input_and_no_bug(name, do, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(InputError) as refused, disk_problems(tmp_path):
        do(tmp_path / name)
    assert refused.value.where == str(tmp_path / name)


def test_errors_that_a_person_cannot_mend_pass_through(tmp_path):
    with pytest.raises(FileNotFoundError), disk_problems(tmp_path):
        (tmp_path / "no").read_text()


def test_nan_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"value": float("nan")})
    assert not (tmp_path / "a.json").exists()


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM])
def test_a_link_that_does_not_reach_becomes_a_copy(number, tmp_path, monkeypatch):
    (tmp_path / "a").write_text("x")
    link_or_copy(tmp_path / "a", tmp_path / "linked")
    assert (tmp_path / "linked").stat().st_ino == (tmp_path / "a").stat().st_ino

    def no_link(source, target) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", no_link)
    link_or_copy(tmp_path / "a", tmp_path / "linked")
    assert (tmp_path / "linked").read_text() == "x"
    assert (tmp_path / "linked").stat().st_ino != (tmp_path / "a").stat().st_ino
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "linked"]


def test_an_artifact_notices_what_happened_to_its_file(tmp_path):
    file = tmp_path / "sub" / "a.bin"
    write_atomic(file, b"abc")
    artifact = Artifact.of("weights", file, tmp_path)
    assert (artifact.path, artifact.sha256, artifact.bytes) == ("sub/a.bin", sha256_of(file), 3)
    assert sha256_of(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert Artifact.from_json(artifact.as_json()) == artifact
    assert artifact.problem_below(tmp_path) is None
    file.write_bytes(b"abd")
    assert artifact.problem_below(tmp_path) == "sub/a.bin has other bytes than when it was made"
    file.write_bytes(b"ab")
    assert artifact.problem_below(tmp_path) == "sub/a.bin has 2 bytes, not 3"
    file.unlink()
    assert artifact.problem_below(tmp_path) == "sub/a.bin is missing"


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8")),
    lambda below: (
        st.lists(below, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=4), below, max_size=3)
    ),
)


@given(values)
def test_canonical_json_reads_back_and_does_not_depend_on_the_order_of_keys(value):
    def turned(one):
        if isinstance(one, dict):
            return {key: turned(below) for key, below in reversed(one.items())}
        return [turned(below) for below in one] if isinstance(one, list) else one

    assert json.loads(canonical_json(value)) == value
    assert canonical_json(turned(value)) == canonical_json(value)
    assert digest(turned(value)) == digest(value)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
def test_canonical_json_has_no_word_for_what_is_no_number(odd):
    with pytest.raises(ValueError, match="JSON"):
        canonical_json({"value": [odd]})


@pytest.mark.parametrize("name", ["a.txt", "a.txt/below", "x" * 300])
def test_a_folder_that_cannot_be_is_bad_input_with_its_place(name, tmp_path):
    (tmp_path / "a.txt").write_text("a file")
    with pytest.raises(InputError) as caught:
        make_folder(tmp_path / name)
    assert (caught.value.exit_code, caught.value.where) == (2, str(tmp_path / name))


def test_a_name_that_is_no_utf8_is_written_as_json_that_every_reader_takes(tmp_path):
    write_json(tmp_path / "a.json", {"run": os.fsdecode(b"runs/\xff"), "label": "\N{CAT FACE}"})
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == {"run": "runs/\\udcff", "label": "\N{CAT FACE}"}


def test_a_folder_where_a_file_goes_is_bad_input_with_its_place(tmp_path):
    (tmp_path / "report.json").mkdir()
    with pytest.raises(InputError, match=r"a folder lies where report\.json goes") as refused:
        write_json(tmp_path / "report.json", {})
    assert refused.value.where == str(tmp_path / "report.json")
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]
