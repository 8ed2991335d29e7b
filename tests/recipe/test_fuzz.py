"""Valid recipes, mutated: either still valid, or refused with a place. Nothing else may come out."""

import copy
import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekd.core import RecipeError
from edgekd.pipeline.ready import require_ready
from edgekd.recipe import Recipe, loads
from edgekd.recipe.parse import parse

SHIPPED = {path.stem: path.read_text() for path in sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))}
WORDS = ["true", "no", "~", "-1", "0", "1e999", ".nan", "99999999999999999999", "''", "[]", "{}", "[1, [2]]", "{a: b}", "*a",
         "&a 1", "!!set x", "int8", "none", "imagenet", "x/y.pt", "ffkd", "<<", "- 1", "min", "\t", "\u2028", "🙂", "\x00",
         '"\\ud800"', '"\\0"']  # fmt: skip


@st.composite
def mutated(draw, text: str) -> str:
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
        require_ready(recipe)
    except RecipeError as error:
        for one in (error, *error.others):
            assert re.fullmatch(r"a\.yaml:\d+:\d+|--set .*", one.where, re.DOTALL), one.where
            assert one.what
            assert one.where.startswith("--set") or int(one.where.split(":")[1]) <= text.count("\n") + 2
    else:
        assert Recipe.from_json(recipe.as_json()).as_json() == recipe.as_json()
        assert all(gate.target is None or gate.target in recipe.targets for gate in recipe.gate_list())


EACH = pytest.mark.parametrize("shipped", SHIPPED.values(), ids=SHIPPED)


@EACH
@settings(max_examples=150)
@given(draws=st.data())
def test_a_recipe_whose_text_was_mutated_is_valid_or_refused_with_a_place(shipped, draws):
    check(draws.draw(mutated(shipped)))


def leaves(tree, path=()):
    """Paths of all sections and values below the root."""
    for key, below in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield (*path, key)
        yield from leaves(below, (*path, key))


ODD = st.sampled_from(
    [None, True, -1, 0, 1e308, 2**63 - 1, 0.5, "", "int8", "none", "../x.pt", "ffkd", "🙂", [], {}, [[1]], {"a": 1}, {"": 0}]
)
NAMES = st.sampled_from(
    ["epochs", "cpu", "mode", "min", "confidence", "method", "tensorrt", "gates", "preflight", "x", "ä", "__class__"]
)


@st.composite
def grown_otherwise(draw, tree):
    """The same sections with a value replaced, taken out, renamed, added, wrapped in a list, or put where another was."""
    tree = copy.deepcopy(tree)
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from([*leaves(tree)] or [("x",)]))
        above = tree
        for key in path[:-1]:
            above = above[key]
        match draw(st.sampled_from(["value", "out", "rename", "add", "wrap", "move"])):
            case "value":
                above[path[-1]] = draw(ODD)
            case "out":
                above.pop(path[-1], None) if isinstance(above, dict) else above.clear()
            case "rename" if isinstance(above, dict) and path[-1] in above:
                above[draw(NAMES)] = above.pop(path[-1])
            case "add" if isinstance(above, dict):
                above[draw(NAMES)] = draw(ODD)
            case "wrap":
                above[path[-1]] = [above[path[-1]] if isinstance(above, list) else above.get(path[-1])]
            case "move":
                other = draw(st.sampled_from([*leaves(tree)]))
                found = tree
                for key in other:
                    found = found[key]
                above[path[-1]] = copy.deepcopy(found)
    return tree


@EACH
@settings(max_examples=150)
@given(draws=st.data())
def test_a_recipe_whose_sections_were_mutated_is_valid_or_refused_with_a_place(shipped, draws):
    tree = draws.draw(grown_otherwise(parse(shipped, "a.yaml").data))
    check(json.dumps(tree, ensure_ascii=False, indent=draws.draw(st.sampled_from([None, 1]))))


KEYS = st.lists(
    st.sampled_from(["distill", "epochs", "targets", "cpu", "gates", "name", "data", "image_size", "min", "x", "🙂"]),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150)
@given(KEYS, st.sampled_from(WORDS) | st.text(max_size=12))
def test_any_set_option_is_valid_or_refused_with_a_place(keys, value):
    check(next(iter(SHIPPED.values())), (f"{'.'.join(keys)}={value}",))
