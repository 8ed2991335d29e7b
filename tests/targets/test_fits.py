"""Numbers of another device than the recipe's are refused, with its right name; what a device does not tell is no difference."""

import pytest

from edgekd.core import DeviceError
from edgekd.targets import connect, profile, require_fits, resolve
from edgekd.targets.jetson.identity import describe

ORIN_NANO = {"module": "p3767-0005", "soc": "tegra234", "compute_capability": "8.7", "arch": "aarch64"}
NOTHING = dict.fromkeys(describe({}).as_identity())
DESKTOP = {**NOTHING, "module": "NVIDIA GeForce RTX 4070", "compute_capability": "8.9", "arch": "x86_64"}
THOR = {**NOTHING, "module": "p3834-0008", "soc": "tegra264"}


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("jetson-orin-nano-8gb", ORIN_NANO),
        ("jetson-orin-nano-super", ORIN_NANO),
        ("jetson-orin-nano-8gb", {**ORIN_NANO, "module": "p3767-0005-super"}),
        ("jetson-orin-nano-8gb", {**ORIN_NANO, "module": "Somebody's Box"}),
        ("jetson-orin-nano-8gb", {**NOTHING, "arch": "aarch64"}),
        ("jetson-thor-t5000", {**THOR, "compute_capability": "10.1"}),
        ("jetson-thor-t5000", {**THOR, "compute_capability": "11.0"}),
        ("rtx-desktop", DESKTOP),
        ("rtx-desktop", {**NOTHING, "arch": "x86_64"}),
        ("local-cpu", DESKTOP),
        ("local-cpu", ORIN_NANO),
        ("linux", ORIN_NANO),
        ("linux", NOTHING),
    ],
)
def test_a_device_of_the_kind_fits(name, identity):
    require_fits(profile(name), identity)


@pytest.mark.parametrize(
    ("name", "identity", "right"),
    [
        ("jetson-orin-nano-4gb", ORIN_NANO, "jetson-orin-nano-8gb"),
        ("jetson-xavier-nx", ORIN_NANO, "jetson-orin-nano-8gb"),
        ("jetson-orin-nano-8gb", DESKTOP, "rtx-desktop"),
        ("rtx-desktop", ORIN_NANO, "jetson-orin-nano-8gb"),
        ("jetson-thor-t5000", {**THOR, "module": "p3834-0000"}, "jetson-thor-t4000"),
        ("jetson-nano", {**NOTHING, "module": "quill", "soc": "tegra186"}, "jetson-tx2"),
    ],
)
def test_another_device_is_refused_with_its_right_name(name, identity, right):
    with pytest.raises(DeviceError, match=f"is not a {name} but a {right}") as refused:
        require_fits(profile(name), identity)
    assert refused.value.fix == f"device: {right}" and identity["module"] in refused.value.seen


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("jetson-orin-nano-8gb", {**NOTHING, "soc": "tegra194"}),
        ("jetson-orin-nano-8gb", {**NOTHING, "arch": "x86_64"}),
        ("jetson-orin-nano-8gb", {**ORIN_NANO, "module": "Somebody's Box", "compute_capability": "7.2"}),
        ("rtx-desktop", {**NOTHING, "soc": "tegra194"}),
    ],
)
def test_a_device_that_no_profile_names_is_refused_by_its_chip(name, identity):
    with pytest.raises(DeviceError, match=f"is not a {name}$") as refused:
        require_fits(profile(name), identity)
    assert "edgekd devices" in refused.value.fix


def test_a_probe_that_finds_another_device_ends_there(local_spec, tmp_path, monkeypatch):
    import jetson_root as JETSON

    from edgekd.targets import Reach

    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(JETSON.orin_nano_super(tmp_path)))
    with connect(resolve("desk", local_spec()), Reach()) as connection:
        identity = connection.probe()["identity"]
        assert (identity["module"], identity["tensorrt"], identity["clocks"]) == ("p3767-0005-super", "10.3.0.30", "not locked")
        assert connection.probe()["identity"] == identity
        connection.target = resolve("desk", local_spec(device="rtx-desktop", runtime="tensorrt"))
        with pytest.raises(DeviceError, match="not a rtx-desktop but a jetson-orin-nano-super") as refused:
            connection.probe()
    assert refused.value.where == "desk: probe"
