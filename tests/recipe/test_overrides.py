"""--set: one value changed before validation; an error about it names the --set, not a line of the file."""

from pathlib import Path

import pytest

from edgekd.core import RecipeError
from edgekd.recipe import KD, SLD, loads


@pytest.fixture
def with_set(good):
    return lambda *overrides: loads(good, "a.yaml", Path(), overrides)


def test_a_value_is_changed_and_is_in_the_canonical_form(with_set):
    assert with_set("distill.epochs=5").as_json()["distill"]["epochs"] == 5


def test_an_absent_section_is_made(with_set):
    assert with_set("compute.device=cpu").compute.device == "cpu"
    gates = with_set("gates.benchmark.cpu.latency_ms.p90.max=3").gate_list()
    assert (gates[-1].metric, gates[-1].limit) == ("latency_ms.p90", 3.0)


def test_the_last_one_wins_also_over_its_section(with_set):
    assert with_set("distill.epochs=5", "distill.epochs=6").distill.epochs == 6
    assert isinstance(with_set("distill.temperature=2", "distill={method: sld, epochs: 3}").distill, SLD)
    assert with_set("distill={method: kd, epochs: 3}", "distill.temperature=2").distill == KD(
        method="kd", epochs=3, temperature=2.0
    )


def test_values_are_yaml(with_set):
    assert with_set("data.image_size=[32, 48]").data.height_width == (32, 48)
    assert with_set("data.hflip=true").data.hflip is True
    assert with_set("data.hflip=null").data.hflip is None
    assert with_set("distill.learning_rate=1e-3").distill.learning_rate == 1e-3
    assert with_set("name='7'").name == "7"
    assert with_set("gates.distill.top1.waive=known = accepted").gate_list()[0].waive == "known = accepted"


@pytest.mark.parametrize(
    ("override", "what", "fix"),
    [
        ("distill.epocs=5", "unknown key 'epocs' in distill with method kd; did you mean 'epochs'?", None),
        ("distil.epochs=5", "unknown key 'distil'; did you mean 'distill'?", None),
        ("distill.epochs=many", "distill.epochs must be a whole number, is 'many'", None),
        ("distill.epochs=", "distill.epochs must be a whole number, is empty (null)", None),
        ("compute.device=gpu", "the device of a GPU is called cuda here", None),
        ("gates.distill.top1.min=95", "min of top1 must lie in 0..1, is 95", "95 % is 0.95"),
        ("gates.benchmark.gpu.top1.min=0.9", "unknown target 'gpu' in gates.benchmark", "the targets are cpu"),
        ("name.first=x", "name is 'small', not a section, so nothing can be set below it", "--set name=... replaces it whole"),
        (
            "data=",
            "data must be a section with keys below it, is empty (null)",
            "data takes source, path, image_size, split_seed, hflip, train_per_class",
        ),
        ("seed", "--set takes a dotted key, '=' and a value", "--set distill.epochs=5"),
        ("=5", "--set takes a dotted key, '=' and a value", "--set distill.epochs=5"),
        ("distill..epochs=5", "--set takes a dotted key, '=' and a value", "--set distill.epochs=5"),
        ("name=[a", "a ']' or ',' is missing before this", None),
        (
            "name=!!python/name:os.system x",
            "a tag ('!!python/name:os.system'): a recipe holds plain values only",
            "leave the tag out",
        ),
        ("distill.learning_rate=.inf", ".inf is not a number a recipe can hold", None),
    ],
)
def test_what_is_wrong_is_placed_at_the_option(with_set, override, what, fix):
    with pytest.raises(RecipeError) as caught:
        with_set(override)
    error = caught.value
    assert (error.where, error.what, error.fix, error.snippet) == (f"--set {override}", what, fix, None)


def test_what_the_file_says_wrong_keeps_its_line(good):
    with pytest.raises(RecipeError) as caught:
        loads(good.replace("epochs: 12", "epochs: x"), "a.yaml", Path(), ["distill.temperature=-1", "distill.warmup=0.1"])
    places = [caught.value.where, *(other.where for other in caught.value.others)]
    assert places == ["a.yaml:8:11", "--set distill.temperature=-1"]


def test_a_mistake_of_the_file_is_mended_by_setting_it(good):
    assert loads(good.replace("epochs: 12", "epochs: x"), "a.yaml", Path(), ["distill.epochs=3"]).distill.epochs == 3


def test_what_is_wrong_inside_a_list_that_replaces_the_files_is_placed_at_the_option(good):
    ladder = (
        good.replace("student: {model: mobilenet_v2}", "student: {model: mobilenet_v2, width: auto}") + "fit: {width: [1, 0.5]}\n"
    )
    with pytest.raises(RecipeError, match="must be > 0") as caught:
        loads(ladder, "a.yaml", Path(), ("fit.width=[0, 1]",))
    assert (caught.value.where, caught.value.snippet) == ("--set fit.width=[0, 1]", None)
