"""What a recipe says of a target is possible, or refused with what would be; what cannot be measured says why."""

from types import SimpleNamespace

import pytest

from edgekd.core import InputError
from edgekd.targets import precision_of, profile, profiles, resolve, why_float


def spec(**changes):
    local = {"device": "local-cpu", "runtime": "onnxruntime", "precision": "int8", "required": "always", "threads": 1,
             "tensorrt": None, "host": None, "python": "python3", "clocks": "as-is"}  # fmt: skip
    return SimpleNamespace(**{**local, **changes})


def test_a_target_is_what_the_recipe_says_of_it():
    target = resolve("board", spec(device="linux", threads=2, python="~/venv/bin/python", clocks="lock"))
    assert (target.name, target.profile.name, target.threads) == ("board", "linux", 2)
    assert (target.python, target.clocks) == ("~/venv/bin/python", "lock")


@pytest.mark.parametrize(
    ("changes", "where", "fix"),
    [
        ({"precision": "fp16"}, "precision", "fp32 or int8"), ({"precision": "int8+fp16"}, "precision", "fp32 or int8"),
        ({"runtime": "tensorrt"}, "runtime", "onnxruntime"), ({"device": "jetson-thor-t5000"}, "runtime", "tensorrt"),
        ({"device": "jetson-nano", "runtime": "tensorrt"}, "precision", "fp32 or fp16"),
        ({"device": "jetson-tx2", "runtime": "tensorrt", "precision": "int8+fp16"}, "precision", "fp32 or fp16"),
    ],
)  # fmt: skip
def test_what_a_device_cannot_run_is_refused_with_what_it_can(changes, where, fix):
    with pytest.raises(InputError) as refused:
        resolve("t", spec(**changes))
    assert refused.value.where == f"targets.t.{where}" and refused.value.fix.endswith(fix)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("local_cpu", "local-cpu"), ("jetson-orin-nano-8g", "jetson-orin-nano-8gb"), ("jetson-agx-orin", "jetson-agx-orin-32gb")],
)
def test_an_unknown_device_gets_its_nearest_names(name, nearest):
    with pytest.raises(InputError, match="unknown device") as refused:
        resolve("t", spec(device=name))
    assert refused.value.seen == name and nearest in refused.value.fix and refused.value.where == "targets.t.device"


def test_a_device_unlike_any_lists_all():
    with pytest.raises(InputError) as refused:
        profile("qqqqqqqq")
    assert all(one.name in refused.value.fix for one in profiles())


def test_profiles_are_whole_and_no_name_means_two_devices():
    names = [name for one in profiles() for name in (one.name, *one.aliases)]
    assert len(names) == len(set(names)) and names == [name.lower() for name in names]
    for one in profiles():
        assert one.runtimes and "fp32" in one.precisions and ("int8" in one.precisions) == one.int8_native
        assert profile(one.name.upper()) == one == profile((one.aliases or (one.name,))[-1])
        assert one.name in ("local-cpu", "linux", "rtx-desktop") or (
            one.compute_capability and one.memory_gib and one.power_rails
        )
    assert set(profile("local-cpu").suspect) == {
        "clock_moved", "throttle_events", "waited_share", "foreign_cpus", "stolen_share", "drift",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("device", "runtime", "precision"),
    [("jetson-nano", "tensorrt", "fp16"), ("jetson-tx2", "tensorrt", "fp16"), ("jetson-orin-nano-8gb", "tensorrt", "int8"),
     ("linux", "onnxruntime", "int8"), ("local-cpu", "onnxruntime", "int8")],
)  # fmt: skip
def test_a_device_without_int8_units_gets_fp16_unless_told_otherwise_and_says_why(local_spec, device, runtime, precision):
    silent = local_spec(device=device, runtime=runtime, precision=None)
    assert resolve("it", silent).precision == precision_of(silent) == precision
    assert (why_float(silent) is None) == (precision == "int8")
    assert why_float(local_spec(device=device, runtime=runtime, precision="fp16")) is None
