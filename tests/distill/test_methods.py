from __future__ import annotations

import dataclasses
import math
from importlib.metadata import EntryPoint
from types import SimpleNamespace

import pytest
import torch

from edgekd import distill
from edgekd.core import InputError
from edgekd.distill import KD, SLD, Batch, Label, create, names
from edgekd.distill import method as registry
from edgekd.recipe.distill import SECTIONS
from edgekd.recipe.training import Training


def test_label_is_cross_entropy_and_asks_for_no_teacher() -> None:
    batch = Batch(torch.tensor([1]), {"weak": torch.tensor([[0.0, math.log(3)]])}, {}, 0.5)
    assert Label().student_loss(batch)["ce"].item() == pytest.approx(math.log(4 / 3))
    assert (Label.needs_teacher, Label.views) == (False, ("weak",))


def test_a_recipe_section_becomes_its_method_with_its_options() -> None:
    section = SimpleNamespace(
        method="sld", epochs=12, learning_rate=0.05, temperatures=(2.0, 4.0), ce_weight=0.2, pseudo_teacher_after=0.5
    )
    assert create(section) == SLD(temperatures=(2.0, 4.0), ce_weight=0.2, pseudo_teacher_after=0.5)
    assert create("kd", temperature=2.0) == KD(temperature=2.0)
    assert create("label") == Label()


@pytest.mark.parametrize("name", names())
def test_the_recipe_offers_exactly_a_methods_options_with_its_defaults(name: str) -> None:
    offered = {key: field for key, field in SECTIONS[name].model_fields.items() if key not in (*Training.model_fields, "method")}
    own = create(name)
    assert {key: field.default for key, field in offered.items()} == {key: getattr(own, key) for key in offered}
    assert set(offered) == {field.name for field in dataclasses.fields(own) if field.init}


def test_methods_cannot_be_changed_after_they_are_made() -> None:
    for name in names():
        method = create(name)
        assert method.pairs() == ()
        holds_state = not all(one.init for one in dataclasses.fields(method))
        assert type(method).__dataclass_params__.frozen != holds_state
    with pytest.raises(dataclasses.FrozenInstanceError):
        create("kd").temperature = 1.0


@pytest.mark.parametrize(("asked", "nearest"), [("sdl", "sld"), ("lable", "label"), ("KD", None), ("", None)])
def test_an_unknown_method_is_refused_with_the_nearest_name_and_all_names(asked: str, nearest: str | None) -> None:
    with pytest.raises(InputError) as caught:
        create(asked)
    error = caught.value
    assert (error.exit_code, error.where, error.seen) == (2, "distill.method", asked)
    assert error.what == f"unknown method {asked!r}" + (f"; did you mean {nearest!r}?" if nearest else "")
    assert error.fix == f"methods: {', '.join(names())}"


def test_an_unknown_option_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(InputError, match="unknown option 'temperatur' of method 'kd'; did you mean 'temperature'"):
        create("kd", temperatur=3.0)


def test_another_package_may_offer_a_method_but_not_take_a_name_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = [EntryPoint("twin", "edgekd.distill.kd:KD", registry.ENTRY_POINTS)]
    monkeypatch.setattr(registry, "entry_points", lambda group: [one for one in offered if one.group == group])
    assert "twin" in names()
    assert create("twin", temperature=1.0) == KD(temperature=1.0)
    offered.append(EntryPoint("sld", "elsewhere:SLD", registry.ENTRY_POINTS))
    with pytest.raises(InputError, match="two methods are named 'sld'") as caught:
        names()
    assert caught.value.seen == "edgekd.distill.sld:SLD and elsewhere:SLD"


def test_all_lists_exactly_the_public_names() -> None:
    public = {name for name, value in vars(distill).items() if not name.startswith("_") and not hasattr(value, "__path__")}
    modules = {name for name in public if getattr(distill, name).__class__.__name__ == "module"}
    assert sorted(public - modules) == sorted(distill.__all__)
