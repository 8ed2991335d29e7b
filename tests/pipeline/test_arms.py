"""What the user varies becomes arms: all combinations, fair to every method, one teacher, every mistake told beforehand."""

import pytest
from toy_chain import RECIPE

from edgekd.core import InputError, RecipeError
from edgekd.pipeline.arms import Asked, arms_of, with_epochs
from edgekd.recipe import load_arm

SLD = RECIPE.replace("distill: {method: label, epochs: 1}", "distill: {method: sld, epochs: 3, kd_weight: 0.5}")


@pytest.fixture
def asked(tmp_path):
    def ask(*vary, text=SLD, **more):
        (tmp_path / "r.yaml").write_text(text)
        return arms_of(Asked(tmp_path / "r.yaml", vary=vary, **more))

    return ask


def test_arms_are_all_combinations_and_seeds_repeat_each(asked):
    arms = asked("distill.method=label,kd", "seed=0,7", "distill.epochs=2,4")
    assert [arm.name for arm in arms] == ["label epochs=2", "label epochs=4", "kd epochs=2", "kd epochs=4"]
    assert [(arm.recipes[7].seed, arm.recipes[7].distill.method, arm.recipes[7].distill.epochs) for arm in arms] == [
        (7, "label", 2), (7, "label", 4), (7, "kd", 2), (7, "kd", 4)]  # fmt: skip
    assert len({arm.folder(seed) for arm in arms for seed in arm.recipes}) == 8


def test_all_seeds_and_arms_share_one_teacher_unless_the_user_sets_it(asked):
    seeds = {recipe.teacher_seed for arm in asked("seed=0,7", "distill.method=kd,sld") for recipe in arm.recipes.values()}
    assert seeds == {0}
    varied = asked("seed=0,7", "teacher.seed=1,2")
    assert [(arm.name, arm.recipes[7].teacher_seed) for arm in varied] == [("seed=1", 1), ("seed=2", 2)]
    assert asked("seed=0,7", overrides=("teacher.seed=5",))[0].recipes[7].teacher_seed == 5


def test_what_the_file_chose_for_its_method_is_left_out_for_another_and_what_is_of_training_stays(asked):
    sld, kd = asked("distill.method=sld,kd")
    assert (sld.left_out, sld.recipes[0].distill.kd_weight) == ((), 0.5)
    assert (kd.left_out, kd.recipes[0].distill.kd_weight, kd.recipes[0].distill.epochs) == (("kd_weight",), 0.9, 3)


def test_what_is_set_for_all_reaches_every_method_that_has_it(asked):
    kd, label = asked("distill.method=kd,label", overrides=("distill.temperature=2",), text=SLD.replace("sld", "kd"))
    assert kd.recipes[0].distill.temperature == 2
    assert set(label.left_out) == {"temperature", "kd_weight"}


def test_an_arm_by_hand_stands_beside_the_products(asked):
    arms = asked("distill.method=label,kd", arms=("warm: distill.method=kd distill.temperature=8",))
    assert [arm.name for arm in arms] == ["label", "kd", "warm"]
    assert [getattr(arm.recipes[0].distill, "temperature", None) for arm in arms] == [None, 4, 8]


@pytest.mark.parametrize(
    ("vary", "more", "where", "words"),
    [
        (("distill.method=kdd,label",), {}, "--vary distill.method=kdd", "unknown method 'kdd'"),
        (("distill.metod=kd,label",), {}, "--vary distill.metod=kd", "metod"),
        (("distill.method=kd,label",), {"overrides": ("distill.temprature=2",)}, "--set distill.temprature=2", "temprature"),
        (("distill.epochs=0,1",), {}, "--vary distill.epochs=0", "distill.epochs"),
        (("student.model=mobilenet_v2,mobilnet_v2",), {}, "--vary student.model=mobilnet_v2", "mobilnet_v2"),
        (("seed=0,x",), {}, "--vary seed=x", "seed"),
        ((), {"arms": ("a: distill.temperature=8",)}, "--arm a: distill.temperature=8", "temperature"),
        ((), {"arms": ("a: =8",)}, "--arm a: =8", "takes a dotted key"),
    ],
)
def test_a_typo_in_key_or_value_is_told_before_anything_trains_at_the_option_it_was_written_with(asked, vary, more, where, words):
    with pytest.raises(RecipeError) as caught:
        asked(*vary, **more)
    assert caught.value.where == where and words in str([str(caught.value), caught.value.seen])


@pytest.mark.parametrize(
    ("vary", "arms", "words"),
    [
        (("distill.method",), (), "takes a dotted key"),
        (("distill.method=",), (), "takes a dotted key"),
        (("distill.method=kd,,sld",), (), "takes a dotted key"),
        (("distill.method=kd,kd",), (), "twice"),
        (("seed=0", "seed=1"), (), "varied twice"),
        (("seed=0,1,00",), (), "a seed is given twice"),
        ((), (f"{'a' * 300}: distill.epochs=2",), "more than 120 letters"),
        ((), ("no colon",), "takes a name"),
        ((), (": distill.epochs=2",), "takes a name"),
        ((), ("a: 'open",), "takes a name"),
        ((), ("a: seed=3",), "of all arms"),
        ((), ("a: 'seed = 3'",), "of all arms"),
        ((), ("a: distill.epochs=2", "a: distill.epochs=3"), "called 'a'"),
        ((), ("a b: distill.epochs=2", "a-b: distill.epochs=3"), "too alike"),
        *(((), (f"{name}: distill.epochs=2",), "the sweep itself gives") for name in ("matched", "arms.json", "sweep.html")),
        ((), ("sld ×2 epochs: distill.epochs=2",), "the sweep itself gives"),
    ],
)
def test_what_cannot_be_read_is_told(asked, vary, arms, words):
    with pytest.raises(InputError, match=words):
        asked(*vary, arms=arms)


@pytest.mark.parametrize(("vary", "arms"), [(("data.split_seed=0,1",), ()), ((), ("other: data.split_seed=1",))])
def test_arms_on_other_test_images_are_refused(asked, vary, arms):
    """Two students on unrelated images would be paired image by image, and any difference be luck."""
    named = ("same: distill.epochs=2", *arms)
    with pytest.raises(InputError, match="other test images") as refused:
        asked(*vary, arms=named)
    assert refused.value.seen == "data.split_seed"


def test_arms_on_other_train_images_are_compared(asked):
    arms = asked("data.train_per_class=8,16", "data.image_size=8,16", arms=("turned: data.hflip=true",))
    assert len(arms) == 5
    assert len(asked("seed=0,1", overrides=("data.split_seed=3",))) == 1


def test_values_with_brackets_are_one_value(asked):
    arms = asked("distill.temperatures=[1,2],[1,2,3]")
    assert [len(arm.recipes[0].distill.temperatures) for arm in arms] == [2, 3]


def test_without_an_arm_the_recipe_is_the_only_one(asked):
    (arm,) = asked("seed=1,2")
    assert (arm.name, list(arm.recipes), arm.changes) == ("sld", [1, 2], ())


def test_an_arm_of_equal_time_only_trains_longer(asked):
    (arm,) = asked()
    longer = with_epochs(arm, 7)
    assert (longer.name, longer.matched, longer.recipes[0].distill.epochs) == ("sld ×2.333 epochs", "sld", 7)
    assert (arm.folder(0), longer.folder(0)) == ("sld/seed-0", "matched/sld/7-epochs/seed-0")
    same = longer.recipes[0].model_copy(update={"distill": arm.recipes[0].distill})
    assert same.as_json() == arm.recipes[0].as_json()


def test_without_a_method_of_its_own_an_arm_is_read_as_any_recipe(tmp_path):
    (tmp_path / "r.yaml").write_text(SLD)
    with pytest.raises(RecipeError):  # kd_weight is not label's, and nobody varies the method
        load_arm(tmp_path / "r.yaml", {"--set": ["distill.method=label"]}, "--vary", ["seed=1"])
