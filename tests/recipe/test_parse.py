"""YAML 1.2, as the specification's core schema reads plain scalars; nothing else becomes anything but text."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.core import RecipeError
from edgekd.recipe.parse import parse

VALUES = {
    "yes": "yes", "no": "no", "on": "on", "true": True, "FALSE": False, "~": None, "null": None, "": None, "nil": "nil",
    "12": 12, "-3": -3, "+4": 4, "017": 17, "0o17": 15, "0x1F": 31, "0b11": "0b11", "1_000": "1_000", "1:30": "1:30",
    "1e-3": 0.001, "1.": 1.0, ".5": 0.5, "-1.5E+2": -150.0, "1.2.3": "1.2.3", "2024-01-02": "2024-01-02", "=": "=",
    "'12'": "12", '"true"': "true", "a b": "a b", "ünï": "ünï",
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), VALUES.items())
def test_a_plain_scalar_is_what_yaml_1_2_says(text, value):
    read = parse(f"a: {text}", "x").data["a"]
    assert (read, type(read)) == (value, type(value))


def test_places_are_counted_from_one_in_characters():
    places = parse("ä: 1\nsection:\n  - {key: [1, 22]}\n", "x").places
    assert places["ä",] == ((1, 1), (1, 4))
    assert places["section", 0, "key"] == ((3, 6), (3, 11))
    assert places["section", 0, "key", 1].value == (3, 15)


@given(st.text(alphabet=st.sampled_from(list("ab:-[]{}&*!|>'\"%@`#,?\n\t 01.~<=\\\x07ä")), max_size=60))
def test_any_text_is_read_or_refused_with_a_place(text):
    try:
        parse(text, "x")
    except RecipeError as error:
        name, line, column = error.where.split(":")
        assert (name, int(line) >= 1, int(column) >= 1) == ("x", True, True)
        assert error.what


letters = st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"], exclude_characters="\x85\u2028\u2029")
yaml_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(letters, max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(letters, min_size=1, max_size=5), below, max_size=3),
    max_leaves=10,
)


def test_half_a_character_is_refused():
    with pytest.raises(RecipeError, match="half a character"):
        parse('a: "\\ud800"', "x")


@given(yaml_values)
def test_json_is_yaml_and_reads_as_the_same(value):
    assert parse(json.dumps(value, ensure_ascii=False), "x").data == value
