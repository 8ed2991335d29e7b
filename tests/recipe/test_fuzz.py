"""Valid recipes, mutated: either still valid, or refused with a place. Nothing else may come out."""

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.core import RecipeError
from edgekd.recipe import Recipe, loads

TEXTS = [path.read_text() for path in sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))]
WORDS = ["true", "no", "~", "-1", "0", "1e999", ".nan", "99999999999999999999", "''", "[]", "{}", "[1, [2]]", "{a: b}", "*a",
         "&a 1", "!!set x", "int8", "none", "imagenet", "x/y.pt", "ffkd", "<<", "- 1", "min", "\t", "\u2028", "🙂", "\x00",
         '"\\ud800"', '"\\0"']  # fmt: skip


@st.composite
def mutated(draw) -> str:
    text = draw(st.sampled_from(TEXTS))
    for _ in range(draw(st.integers(1, 3))):
        lines = text.split("\n")
        at = draw(st.integers(0, len(lines) - 1))
        match draw(st.sampled_from(["drop", "double", "swap", "value", "key", "letter", "indent", "cut"])):
            case "drop":
                del lines[at]
            case "double":
                lines.insert(at, lines[at])
            case "swap":
                other = draw(st.integers(0, len(lines) - 1))
                lines[at], lines[other] = lines[other], lines[at]
            case "value":
                lines[at] = lines[at].split(":")[0] + ": " + draw(st.sampled_from(WORDS))
            case "key":
                lines[at] = draw(st.sampled_from(WORDS)) + ":" + lines[at].partition(":")[2]
            case "letter":
                where = draw(st.integers(0, len(lines[at])))
                lines[at] = lines[at][:where] + draw(st.sampled_from(list("xX0:{}[]'\"#&*!|>%@-, \t"))) + lines[at][where + 1 :]
            case "indent":
                lines[at] = " " * draw(st.integers(0, 6)) + lines[at].lstrip()
            case "cut":
                lines = lines[:at]
        text = "\n".join(lines)
    return text


def check(text: str, overrides: tuple[str, ...] = ()) -> None:
    try:
        recipe = loads(text, "a.yaml", Path(), overrides)
    except RecipeError as error:
        for one in (error, *error.others):
            assert re.fullmatch(r"a\.yaml:\d+:\d+|--set .*", one.where, re.DOTALL), one.where
            assert one.what
            assert one.where.startswith("--set") or int(one.where.split(":")[1]) <= text.count("\n") + 2
    else:
        assert Recipe.from_json(recipe.as_json()).as_json() == recipe.as_json()
        assert all(gate.target is None or gate.target in recipe.targets for gate in recipe.gate_list())


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_a_mutated_recipe_is_valid_or_refused_with_a_place(text):
    check(text)


KEYS = st.lists(
    st.sampled_from(["distill", "epochs", "targets", "cpu", "gates", "name", "data", "image_size", "min", "x", "🙂"]),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150, deadline=None)
@given(KEYS, st.sampled_from(WORDS) | st.text(max_size=12))
def test_any_set_option_is_valid_or_refused_with_a_place(keys, value):
    check(TEXTS[0], (f"{'.'.join(keys)}={value}",))
