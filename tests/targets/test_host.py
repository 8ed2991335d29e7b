"""Where a device is, as people write it; nothing that ssh or a shell could take for something else gets through."""

import pytest

from edgekd.core import InputError
from edgekd.targets import Host, Reach, reach_of, why_not_measured


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("orin", Host("orin")),
        ("nano@192.168.1.20", Host("192.168.1.20", "nano")),
        ("nano@orin.local:2222", Host("orin.local", "nano", 2222)),
        ("[fe80::1%eth0]:22", Host("fe80::1%eth0", None, 22)),
        ("me@[::1]", Host("::1", "me")),
        ("me@corp@gate", Host("gate", "me@corp")),
        ("größe-7_b", Host("größe-7_b")),
    ],
)
def test_a_host_is_read_and_written_the_same(text, host):
    assert Host.parse(text) == host and str(host) == text


@pytest.mark.parametrize(
    "text",
    [
        "", "-oProxyCommand=touch /tmp/x", "a b", "a\nb", "a\0", "nano@", "@host", "-l@host", "nano@-v", "host:", "host:0",
        "host:65536", "host:٣", "host:22:23", "::1", "[::1", "[orin]", "[::1]x", "a;b", "$(x)", "a`b`", "a'b", "u;x@h",
        "[fe80::1%a;b]", "a/b", "a\\b",
    ],
)  # fmt: skip
def test_what_is_no_host_is_refused_with_what_is(text):
    with pytest.raises(InputError) as refused:
        Host.parse(text, where="--host")
    assert refused.value.where == "--host" and refused.value.fix


def test_no_host_can_become_an_option_of_ssh():
    words = Host("h", "u", 2222).arguments
    assert words == ["-p", "2222", "-l", "u", "--", "h"]


@pytest.fixture
def specs(local_spec):
    return {"cpu": local_spec(), "my-board": local_spec(device="linux", host="from-recipe"), "nano": local_spec(device="linux")}


def test_the_command_line_goes_before_the_environment_and_that_before_the_recipe(specs):
    environment = {"EDGEKD_HOST_MY_BOARD": "from-environment"}
    found = [
        reach_of(specs, given, environment=known).hosts["my-board"].name
        for given, known in ((["my-board=from-flag"], environment), ([], environment), ([], {"EDGEKD_HOST_MY_BOARD": ""}))
    ]
    assert found == ["from-flag", "from-environment", "from-recipe"]


def test_a_device_elsewhere_without_a_host_is_not_measured_and_the_reason_says_how_to_name_one(specs):
    assert why_not_measured(specs, Reach()) == {
        "my-board": "no host is given: --host my-board=[user@]HOST",
        "nano": "no host is given: --host nano=[user@]HOST",
    }
    assert why_not_measured(specs, reach_of(specs, ["nano=n"], environment={})) == {}


def test_tensorrt_with_a_host_is_measured(local_spec):
    jetson = {"jetson": local_spec(device="orin-nano", runtime="tensorrt", host="orin")}
    assert why_not_measured(jetson, reach_of(jetson, environment={})) == {}


@pytest.mark.parametrize(
    ("given", "said"),
    [("cpu=h", "cpu is this machine"), ("borad=h", "did you mean 'my-board'"), ("h", "names a target"),
     ("nano=", "names a target"), ("nano=-v", "no place of a device")],
)  # fmt: skip
def test_a_host_for_no_such_device_is_bad_input(specs, given, said):
    with pytest.raises(InputError) as refused:
        reach_of({**specs, "board": specs["nano"]} if "borad" in given else specs, [given], environment={})
    assert said.replace("my-board", "board") in str(refused.value)


def test_a_host_in_the_recipe_of_this_machine_is_bad_input(local_spec):
    with pytest.raises(InputError) as refused:
        reach_of({"cpu": local_spec(host="h")}, environment={})
    assert refused.value.where == "targets.cpu.host"
