"""The error tree: exit codes of the table, the JSON of an error, and its way across a process boundary."""

import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import edgekd.core as room
from edgekd.core import DeviceError, EdgekdError, Interrupted, RecipeError
from edgekd.core.nearest import did_you_mean, nearest

KINDS = [
    getattr(room, name)
    for name in room.__all__
    if isinstance(getattr(room, name), type) and issubclass(getattr(room, name), EdgekdError)
]


def test_exit_codes_are_those_of_the_table():
    codes = {kind.__name__: kind.exit_code for kind in KINDS if kind is not Interrupted}
    assert codes == {
        "EdgekdError": 1, "InputError": 2, "RecipeError": 2, "EnvironmentProblem": 5, "DeviceError": 6, "DeviceMemoryError": 6,
        "IntegrityError": 7, "LockedError": 8,
    }  # fmt: skip
    assert [Interrupted(number).exit_code for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)] == [129, 130, 143]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind is not Interrupted])
def test_an_error_keeps_its_kind_and_its_words_through_json(kind):
    error = kind("what", where="where", seen="seen", fix="fix")
    again = EdgekdError.from_json(error.as_json())
    assert (type(again), again.as_json(), str(again)) == (kind, error.as_json(), "where: what")


def test_an_error_of_no_known_kind_is_a_bug():
    assert EdgekdError.from_json({"code": "new", "what": "x"}).exit_code == 1


def test_several_problems_of_a_recipe_are_in_its_json():
    error = RecipeError("one", where="a.yaml:1:1")
    assert "others" not in error.as_json()
    error.others = (RecipeError("two", where="a.yaml:2:1"),)
    assert error.as_json()["others"] == [{"code": "recipe", "what": "two", "where": "a.yaml:2:1", "seen": None, "fix": None}]
    assert str(DeviceError("gone")) == "gone"


@pytest.mark.parametrize(
    ("word", "names", "meant"),
    [
        ("methd", ["method", "epochs"], "method"),
        ("sdl", ["label", "kd", "sld"], "sld"),
        ("Epochs", ["epochs"], "epochs"),
        ("mobilenetv2", ["mobilenet_v2", "mobilenet_v3_small"], "mobilenet_v2"),
        ("p95", ["p50", "p90", "p99"], None),  # another number is another thing, not a misspelling
        ("gpu", ["cpu"], None),
        ("", ["a"], None),
        ("x", [], None),
    ],
)
def test_the_name_a_user_meant(word, names, meant):
    assert nearest(word, names) == meant
    assert did_you_mean(word, names) == (f"; did you mean '{meant}'?" if meant else "")


@given(st.text(max_size=8), st.lists(st.text(max_size=8), max_size=5))
def test_only_a_name_that_exists_is_proposed(word, names):
    assert nearest(word, names) in {None, *names}


def test_core_is_standard_library_only():
    code = "import sys; before = set(sys.modules); import edgekd.core\n"
    code += "print(*{name.split('.')[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["edgekd"]


def test_every_public_name_of_core_exists():
    assert all(hasattr(room, name) for name in room.__all__)
