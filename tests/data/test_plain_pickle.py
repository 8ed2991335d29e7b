"""The reader of pickles of plain data: reads what CIFAR's files hold, runs nothing, and says of the rest what is wrong."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import example, given
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


def test_an_array_that_python_3_wrote_is_read(stored) -> None:
    found = plain_pickle.read(stored(pickle.dumps(DOCUMENT, protocol=3)))
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
        (b"\x80\x02cnumpy\ndtype\nU\x02O8K\x00K\x01\x87R.", "numpy dtype called"),
        (b"\x80\x02cnumpy\nload\nU\x01x\x85R.", "numpy load"),
        (b"\x80\x02U\x05numpyU\x05dtype\x85R.", "numpy called"),  # text that is no name cannot be called
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


def doubled(levels: int, first: bytes) -> bytes:
    """A tuple of the last one twice, again and again: 2 ** levels of it are few bytes."""
    return first + b"q\x00" + b"".join(b"h%ch%c\x86q%c" % (level, level, level + 1) for level in range(levels))


LONG = b"T" + struct.pack("<i", 300) + b"x" * 300


@pytest.mark.parametrize(
    ("program", "seen"),
    [
        (b"}U\x01a" + doubled(20, b")") + b"s.", "a tuple used twice"),
        (b"}" + doubled(20, b")") + b"K\x00s.", "a tuple used twice"),
        (b"}U\x01acnumpy\ndtype\n" + doubled(20, b")") + b"Rs.", "a tuple used twice"),
        (b"}U\x01a]q\x00h\x00as.", "a list used twice"),
        (b"}q\x00U\x01ah\x00s.", "a dict used twice"),
        (b"}U\x01a]" + LONG + b"q\x00ah\x00as.", "a str used twice"),
        (b"}K\x01K\x02s.", "keys are no text"),
        (b"}" + b"(" * 100_000 + b"t" * 100_000 + b"K\x00s.", "keys are no text"),  # a tuple of a tuple of …
    ],
)
def test_what_would_grow_beyond_the_file_is_damaged(stored, program: bytes, seen: str) -> None:
    with pytest.raises(InputError, match="damaged or no pickle") as error:
        plain_pickle.read(stored(b"\x80\x02" + program))
    assert seen in str(error.value.seen)


@pytest.mark.parametrize("called", [b")" + b"\x85" * 200_000, b"c" + b"x" * 200_000 + b"\nx\n"])
def test_no_message_shows_more_than_a_line_of_the_file(stored, called: bytes) -> None:
    with pytest.raises(IntegrityError) as error:
        plain_pickle.read(stored(b"\x80\x02}U\x01a" + called + b")Rs."))
    assert len(str(error.value.seen)) <= 160


NAMES = b"cnumpy.core.multiarray\n_reconstruct\n", b"cnumpy\nndarray\n", b"cnumpy\ndtype\n", b"cos\nsystem\n"
CODES = b"()]}0123NFIVSabdeoRQstulip.\x85\x86\x87\x88\x89\x90\x91\x92\x93\x94"
SURROGATE = b"X\x03\0\0\0\xed\xa0\x80"
INSTRUCTIONS = (
    st.sampled_from([*(CODES[i : i + 1] for i in range(len(CODES))), *NAMES, b"U\x01b", b"U\x02u1", SURROGATE])
    | st.tuples(st.sampled_from(b"KqhUC"), st.integers(0, 3)).map(bytes)
    | st.binary(max_size=9)
)


@given(st.lists(INSTRUCTIONS, max_size=40).map(b"".join))
@example(python2_pickle(DOCUMENT)[2:])
@pytest.mark.filterwarnings("ignore:invalid (octal )?escape sequence")
def test_any_program_is_data_or_an_error_that_says_what_to_do(tmp_path_factory, program: bytes) -> None:
    path = tmp_path_factory.mktemp("p") / "d"
    path.write_bytes(b"\x80\x02" + program)
    try:
        assert isinstance(plain_pickle.read(path), dict)
    except (InputError, IntegrityError) as error:
        assert error.fix


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        plain_pickle.read(tmp_path / "train")
