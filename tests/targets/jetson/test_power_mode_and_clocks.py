"""Power modes are known by name in every form nvpmodel has; clocks are locked only when nothing can move them."""

import jetson_root as JETSON
import pytest

from edgekd.targets import profiles
from edgekd.targets.jetson.clocks import clocks_locked
from edgekd.targets.jetson.power_mode import power_mode

MODES = {
    "agx_orin_32gb_jp62.txt": "MODE_40W", "agx_thor_jp70.txt": "120W", "agx_xavier_jp46.txt": "MAXN", "nano_jp46.txt": "MAXN",
    "no_permission.txt": None, "orin_nano_jp60_15w.txt": "15W", "orin_nano_super_maxn.txt": "MAXN_SUPER",
    "verbose_xavier_nx_head.txt": "MODE_15W_6CORE", "xavier_nx_jp46.txt": "MODE_15W_6CORE",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.name for path in (JETSON.FIXTURES / "jetson/nvpmodel").iterdir()))
def test_every_form_of_nvpmodel_names_its_mode(name):
    assert power_mode(JETSON.text("jetson", "nvpmodel", name)) == MODES[name]


def test_the_modes_seen_are_those_of_the_profiles():
    assert {mode for mode in MODES.values() if mode} <= {mode for one in profiles() for mode in one.power_modes}


def test_without_nvpmodel_jetson_clocks_names_the_mode():
    shown = JETSON.text("jetson", "jetson_clocks", "orin_nano_show.txt")
    assert power_mode(JETSON.text("jetson", "nvpmodel", "no_permission.txt"), shown) == "MAXN_SUPER"
    assert power_mode(None, "") is None and power_mode("NV Power Mode:\n2\n") is None


@pytest.mark.parametrize(
    ("name", "locked"), [("orin_nano_show.txt", True), ("orin_nano_show_unlocked.txt", False), ("not_root.txt", None)]
)
def test_locked_is_read_from_what_jetson_clocks_shows(name, locked):
    assert clocks_locked(JETSON.text("jetson", "jetson_clocks", name), None) is locked


@pytest.mark.parametrize(
    ("now", "next_"), [("CurrentFreq=1020000000", "CurrentFreq=612000000"), ("FreqOverride=1", "FreqOverride=0")]
)
def test_one_clock_that_moved_is_not_locked(now, next_):
    assert clocks_locked(JETSON.text("jetson", "jetson_clocks", "orin_nano_show.txt").replace(now, next_), None) is False


@pytest.mark.parametrize(
    ("devfreq", "locked"),
    [
        ({"gpu": {"cur": 1019250000, "min": 1020000000, "max": 1020000000}}, True),
        ({"gpu": {"cur": 612000000, "min": 1020000000, "max": 1020000000}}, False),
        ({"gpu": {"cur": 306000000, "min": 306000000, "max": 1020000000}}, False),
        ({}, None), (None, None),
    ],
)  # fmt: skip
def test_without_root_the_gpus_own_files_tell(devfreq, locked):
    assert clocks_locked(JETSON.text("jetson", "jetson_clocks", "not_root.txt"), devfreq) is locked
