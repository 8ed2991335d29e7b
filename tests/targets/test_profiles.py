"""A user's own device is one file of the same shape as the shipped ones; a mistake in it is told with file, key and value."""

import json

import pytest

from edgekd.core import InputError
from edgekd.targets import profile, profiles, resolve
from edgekd.targets.profiles import own_folder, shipped

OWN = {**profile("jetson-orin-nano-8gb").as_json(), "name": "my-orin", "aliases": ["shelf-3"]}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Puts a file into the folder of own profiles; returns its path."""
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path))

    def write(content, name="my.json"):
        (tmp_path / name).write_text(content if isinstance(content, str) else json.dumps(content))
        return tmp_path / name

    return write


def test_an_own_profile_is_used_like_a_shipped_one(own, local_spec):
    own({**OWN, "suspect": {"trip_margin_c": 10}})
    target = resolve("t", local_spec(device="Shelf-3", runtime="tensorrt"))
    assert target.profile.name == "my-orin" and target.profile.suspect == {"trip_margin_c": 10}
    assert [one.name for one in profiles()][-1] == "my-orin"


def test_every_shipped_profile_is_a_start_for_an_own_one(own):
    for number, one in enumerate(profiles()):
        own({**one.as_json(), "name": f"own-{number}", "aliases": []}, f"{number:02}.json")
    assert len(profiles()) % 2 == 0 and profile("own-0").suspect == profiles()[0].suspect


def test_own_profiles_lie_in_the_users_folder_for_settings(tmp_path, monkeypatch):
    monkeypatch.delenv("EDGEKD_DEVICES", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert own_folder() == tmp_path / "edgekd/devices"
    own_folder().mkdir(parents=True)
    (own_folder() / "mine.json").write_text(json.dumps(OWN))
    assert profile("my-orin").soc == "tegra234"


@pytest.mark.parametrize(
    ("change", "where", "said", "fix"),
    [
        ({"memory_gb": 8}, "memory_gb", "unknown key", "'memory_gib'"),
        ({"zzz": 8}, "zzz", "unknown key", "one of aliases"),
        ({"memory_gib": "8"}, "memory_gib", "must be a number", "show"),
        ({"memory_gib": -1}, "memory_gib", "must be a number", "show"),
        ({"memory_gib": float("nan")}, "memory_gib", "must be a number", "show"),
        ({"dla_cores": True}, "dla_cores", "whole", "show"),
        ({"precisions": "int8"}, "precisions", "a list", "show"),
        ({"precisions": ["itn8"]}, "precisions", "no such word", "'int8'"),
        ({"runtimes": ["tensort"]}, "runtimes", "no such word", "'tensorrt'"),
        ({"int8_native": 1}, "int8_native", "true", "show"),
        ({"suspect": {"tial": 1.3}}, "suspect", "no such word", "'tail'"),
        ({"suspect": {"tail": "1"}}, "suspect", "numbers", "show"),
        ({"tensorrt": {"6.2": 10.3}}, "tensorrt", "texts by name", "show"),
        ({"name": None}, "name", "a text", "show"),
        ({"name": "My Orin"}, "name", "not a device's name", "small letters"),
    ],
)
def test_a_mistake_is_told_with_its_file_key_and_value(own, change, where, said, fix):
    path = own({**OWN, **change})
    with pytest.raises(InputError, match=said) as refused:
        profile("local-cpu")
    assert refused.value.where == f"{path}: {where}" and refused.value.seen and fix in refused.value.fix


@pytest.mark.parametrize(
    ("content", "said"),
    [("[]", "one JSON object"), ("{", "not JSON"), ("{}", "needs name, runtimes"), ("[" * 100_000, "not JSON")],
    ids=["list", "cut", "empty", "deep"],
)
def test_what_is_no_profile_at_all_is_told_with_its_file(own, content, said):
    path = own(content)
    with pytest.raises(InputError, match=said) as refused:
        profiles()
    assert refused.value.where == str(path)


@pytest.mark.parametrize(
    ("change", "taken"),
    [
        ({"name": "jetson-nano"}, "jetson-nano"),
        ({"aliases": ["P3767-0005"]}, "jetson-orin-nano-8gb"),
        ({"aliases": ["rtx-desktop"]}, "rtx-desktop"),
    ],
)
def test_a_shipped_name_cannot_be_taken(own, change, taken):
    own({**OWN, **change})
    with pytest.raises(InputError, match=f"is {taken}'s already"):
        profiles()


def test_two_own_profiles_cannot_share_a_name(own):
    own(OWN, "a.json")
    own({**OWN, "aliases": []}, "b.json")
    with pytest.raises(InputError, match="is my-orin's already"):
        profiles()


def test_a_settings_folder_nobody_may_read_has_no_profiles_and_a_named_one_that_is_not_there_is_told(tmp_path, monkeypatch):
    monkeypatch.delenv("EDGEKD_DEVICES", raising=False)
    (tmp_path / "edgekd").write_text("no folder")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert profiles() == shipped()
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="No such file") as refused:
        profiles()
    assert (refused.value.where, refused.value.seen) == ("EDGEKD_DEVICES", str(tmp_path / "nowhere"))
