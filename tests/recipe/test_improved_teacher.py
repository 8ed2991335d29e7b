from __future__ import annotations

from pathlib import Path

import pytest

from edgekd.core import RecipeError
from edgekd.recipe import load

SHIPPED = Path(__file__).parents[2] / "recipes" / "mobilenetv2_jetson.yaml"


def test_a_bound_on_the_improved_teacher_needs_a_method_whose_teacher_learns() -> None:
    bound = "gates.distill.improved_teacher.top1_gain.min=0"
    for method in ("ffkd", "ffkd-adapt", "ffkd-public"):
        recipe = load(SHIPPED, (f"distill.method={method}", bound))
        assert "improved_teacher.top1_gain" in {gate.metric for gate in recipe.gates_of("distill")}
    with pytest.raises(RecipeError, match="only a teacher that learns can be bounded"):
        load(SHIPPED, (bound,))
