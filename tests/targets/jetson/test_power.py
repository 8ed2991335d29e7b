"""Power under load and energy an inference, above idle, from named rails; None where anything is missing."""

import jetson_root as JETSON
import pytest

from edgekd.targets import profile
from edgekd.targets.jetson.power import power


def lines(name, step=0.5):
    return [[100 + step * number, line] for number, line in enumerate(JETSON.text("tegrastats", name).splitlines())]


# Of each: the profile, watts idle and under load as the fixture has them, rails that add up to the board's.
BOARDS = {
    "agx_orin_jp61.txt": ("jetson-agx-orin-64gb", 6.755, 22.05, ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"]),
    "agx_orin_jp72.txt": ("jetson-agx-orin-64gb", 11.1, 22.6, ["VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"]),
    "agx_thor_jp70.txt": ("jetson-thor-t5000", 23.0, 64.0, ["VIN"]),
    "agx_thor_jp72.txt": ("jetson-thor-t5000", 28.906, 124.486, ["VIN"]),
    "nano_jp46.txt": ("jetson-nano", 1.75, None, ["POM_5V_IN"]),
    "orin_nano_jp62_nosudo.txt": ("jetson-orin-nano-8gb", 4.824, 12.479, ["VDD_IN"]),
    "orin_nano_super_jp62_sudo.txt": ("jetson-orin-nano-super", 6.04, 16.24, ["VDD_IN"]),
}


@pytest.mark.parametrize("name", BOARDS)
def test_power_is_that_of_the_board_in_the_rails_that_are_named(name, monkeypatch):
    monkeypatch.setattr("edgekd.targets.jetson.power.IDLE_S", 1.0)  # the fixtures have three idle lines
    device, idle, loaded, rails = BOARDS[name]
    told = power(lines(name), {"int8": [[101.5, 106.0]]}, {"int8": 4500}, profile(device).power_rails)["int8"]
    assert told["rails"] == rails and told["samples"] >= 8 and told["idle_w"] == pytest.approx(idle)
    if loaded:
        assert told["power_w"] == pytest.approx(loaded)
        assert told["energy_mj"] == pytest.approx((loaded - idle) * 4.5 / 4500 * 1e3)


def test_every_jetson_names_rails_that_its_tegrastats_prints():
    printed = {word for name in BOARDS for word in " ".join(line for _, line in lines(name)).split(" ")}
    printed |= set(JETSON.text("tegrastats", "agx_xavier_jp51.txt").split(" "))
    for one in ("jetson-agx-xavier", *(device for device, *_ in BOARDS.values())):
        assert set(profile(one).power_rails) <= printed


LOAD = [[100 + number / 2, f"VDD_IN {5000 if number < 5 else 9000}mW/1mW"] for number in range(20)]


def test_models_are_charged_for_their_own_blocks_only():
    told = power([*LOAD, [110.0, "VDD_IN 7000mW/1mW"], [110.5, "VDD_IN 7000mW/1mW"], [111.0, "VDD_IN 7000mW/1mW"]],
                 {"a": [[102.5, 104], [105, 106]], "b": [[109.9, 111.1]]}, {"a": 100, "b": 100}, ["VDD_IN"])  # fmt: skip
    assert (told["a"]["power_w"], told["b"]["power_w"], told["a"]["samples"]) == (9.0, 7.0, 7)
    assert told["a"]["energy_mj"] == pytest.approx(4000 * 2.5 / 100) and told["b"]["energy_mj"] == pytest.approx(2000 * 1.2 / 100)


UNKNOWN = {"power_w": None, "idle_w": None, "energy_mj": None, "rails": [], "samples": 0}


@pytest.mark.parametrize(
    ("told", "rails"),
    [([], ["VDD_IN"]), (LOAD, []), (LOAD, ["VIN"]), (LOAD, ["VDD_IN", "VIN"]), ([[100.0, "garbage"]], ["VDD_IN"])],
)
def test_what_is_not_told_is_none_never_a_part_of_it(told, rails):
    assert power(told, {"a": [[102.5, 104]]}, {"a": 100}, rails) == {"a": UNKNOWN}


@pytest.mark.parametrize(
    ("spans", "queries"), [([[102.5, 103.0]], 100), ([], 100), ([[102.5, 109]], 0)], ids=["too short", "no block", "no query"]
)
def test_too_little_is_no_energy(spans, queries):
    assert power(LOAD, {"a": spans}, {"a": queries}, ["VDD_IN"])["a"]["energy_mj"] is None


def test_a_load_below_idle_is_no_energy():
    cooler = [[100 + number / 2, f"VDD_IN {5000 if number < 5 else 4000}mW/1mW"] for number in range(20)]
    told = power(cooler, {"a": [[102.5, 109]]}, {"a": 100}, ["VDD_IN"])["a"]
    assert told["power_w"] == 4.0 and told["energy_mj"] is None
