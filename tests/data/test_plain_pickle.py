"""The reader of pickles of plain data: reads what CIFAR's files hold, runs nothing, and says of the rest what is wrong."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from python2_pickle import python2_pickle

from edgekd.core import EdgekdError, InputError, IntegrityError
from edgekd.data import plain_pickle

DOCUMENT = {
    "batch_label": "training batch 1 of 1",
    "fine_labels": [3, 300, 70_000],
    "filenames": ["a_s_000001.png", "b.png"],
    "data": np.arange(24, dtype=np.uint8).reshape(3, 8),
}


@pytest.fixture
def stored(tmp_path: Path):
    def store(content: bytes) -> Path:
        (tmp_path / "train").write_bytes(content)
        return tmp_path / "train"

    return store


def test_what_python_2_wrote_is_read(stored) -> None:
    found = plain_pickle.read(stored(python2_pickle(DOCUMENT)))
    assert found["data"].dtype == np.uint8
    assert {**found, "data": found["data"].tolist()} == {**DOCUMENT, "data": DOCUMENT["data"].tolist()}


def test_the_bytes_mean_what_pickle_itself_makes_of_them() -> None:
    """That the file written for these tests is a real pickle."""
    found = pickle.loads(python2_pickle(DOCUMENT), encoding="latin-1")
    assert (found["fine_labels"], found["data"].tolist()) == (DOCUMENT["fine_labels"], DOCUMENT["data"].tolist())


@given(
    st.dictionaries(
        st.text(max_size=9),
        st.recursive(
            st.none() | st.booleans() | st.integers(0, 2**31 - 1) | st.text(max_size=5), lambda one: st.lists(one, max_size=5)
        ),
        max_size=5,
    )
)
def test_plain_data_that_python_3_wrote_is_read_as_pickle_reads_it(tmp_path_factory, document) -> None:
    path = tmp_path_factory.mktemp("p") / "d"
    path.write_bytes(pickle.dumps(document, protocol=2))
    assert plain_pickle.read(path) == document


class Runs:
    ran: ClassVar[list[str]] = []

    def __reduce__(self):
        return Runs.ran.append, ("run",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("at", ["key", "list"])
def test_a_pickle_that_would_run_something_is_refused_and_runs_nothing(stored, protocol: int, at: str) -> None:
    document = {"data": [Runs()] if at == "list" else Runs(), "fine_labels": [1]}
    path = stored(pickle.dumps(document, protocol=protocol))
    Runs.ran.clear()
    with pytest.raises((IntegrityError, InputError)) as error:
        plain_pickle.read(path)
    assert Runs.ran == []
    assert isinstance(error.value, IntegrityError) or protocol < 2


@pytest.mark.parametrize(
    ("program", "seen"),
    [
        (b"\x80\x02cos\nsystem\nU\x04trueR.", "os system"),
        (b"\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R.", "numpy dtype called with ('O8'"),
        (b"\x80\x02cnumpy\nload\nU\x01x\x85R.", "numpy load"),
        (b"\x80\x02U\x05numpyU\x05dtype\x85R.", "numpy called with"),  # text that is no name cannot be called
        (b"\x80\x02(ios\nsystem\n.", "the instruction INST"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", "the instruction SHORT_BINUNICODE"),
        (b"\x80\x02}U\x01a]b.", "an object with a state of its own"),
        (b"\x80\x02Pid\n.", "the instruction PERSID"),
    ],
)
def test_what_could_run_code_is_named(stored, program: bytes, seen: str) -> None:
    with pytest.raises(IntegrityError, match="could run code") as error:
        plain_pickle.read(stored(program))
    assert seen in str(error.value.seen)


def test_an_array_of_objects_is_refused(stored) -> None:
    with pytest.raises(IntegrityError):
        plain_pickle.read(stored(pickle.dumps({"data": np.array([{}], object)}, protocol=2)))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x1f\x8b\x08 a gzip", b"no pickle", b"\x80\x02.", b"\x80\x02]K\x01a.", b"\x80\x02}a.", b"\x80\x02}K\x01K\x02s."],
)
def test_what_is_no_pickle_of_a_dict_is_said(stored, content: bytes) -> None:
    with pytest.raises(InputError, match="damaged or no pickle"):
        plain_pickle.read(stored(content))


def test_a_file_cut_off_anywhere_is_damaged(stored) -> None:
    whole = python2_pickle(DOCUMENT)
    for length in range(0, len(whole), 7):
        with pytest.raises(InputError, match="damaged or no pickle"):
            plain_pickle.read(stored(whole[:length]))


@given(st.data())
def test_any_change_of_a_byte_is_read_or_refused_and_nothing_else(tmp_path_factory, data) -> None:
    content = bytearray(python2_pickle(DOCUMENT))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("p") / "d"
    path.write_bytes(content)
    try:
        assert isinstance(plain_pickle.read(path), dict)
    except EdgekdError as error:
        assert error.fix


def test_data_nested_without_end_is_damaged(stored) -> None:
    nested = b"\x80\x02}" + b"(" * 100_000 + b"t" * 100_000 + b"K\x00s."  # a tuple of a tuple of … as a key
    with pytest.raises(InputError, match="damaged or no pickle"):
        plain_pickle.read(stored(nested))


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        plain_pickle.read(tmp_path / "train")
