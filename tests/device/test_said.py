"""A device's own words arrive raw; nothing waits, asks for a password or changes the device; what is not there is absent."""

import json
import os
import time
from pathlib import Path

import jetson_root as JETSON
import pytest

from edgekd.device import probe, said, sensors, system


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(tmp_path))
    return tmp_path


def test_everything_a_jetson_tells_arrives_raw(root):
    JETSON.orin_nano_super(root)
    told = said.said({"tensorrt": "10.3.0"})
    json.dumps(told)
    assert told["nv_tegra_release"].startswith("# R36 (release), REVISION: 4.3")
    assert told["device_tree_compatible"].endswith("nvidia,tegra234\0") and told["device_tree_model"].endswith("Super\0")
    assert told["nvpmodel"] == "NV Power Mode: MAXN_SUPER\n2" and "EMC MinFreq=" in told["jetson_clocks"]
    assert "libnvinfer-bin" in told["dpkg"] and "12.6.11" in told["cuda"] and told["tensorrt_python"] == "10.3.0"
    assert told["trtexec"] == str(root / "usr/src/tensorrt/bin/trtexec")
    assert told["trtexec_banner"] == "&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec --help"
    assert told["devfreq"] == {"17000000.gpu": {"cur": 306000000, "min": 306000000, "max": 1020000000}}
    assert told["trip_points"] == {"cpu-thermal": 99.0, "cv0-thermal": 99.0, "tj-thermal": 99.0}
    assert told["cooling"] == {"0 pwm-fan": 2, "1 gpu-throttle-alert": 0} and told["rails"] == {"VDD_IN": 6000}
    assert told["oc_counts"] == {"/sys/class/hwmon/hwmon3/oc3_event_cnt": 2}


def test_nothing_there_is_nothing_said(root):
    assert said.said({}) == {}


def test_a_probe_changes_nothing(root):
    JETSON.orin_nano_super(root)
    said.said({})
    assert (root / "jetson_clocks.log").read_text() == "--show\n" and (root / "state").read_text() == "unlocked\n"


def test_what_asks_for_input_or_hangs_costs_no_more_than_the_deadline(root, monkeypatch):
    monkeypatch.setattr(said, "_ASK_S", 0.5)
    JETSON.program(root, "/usr/bin/nvpmodel", "#!/bin/sh\nread answer || echo 'no one answers'\n")
    JETSON.program(root, "/usr/bin/nvidia-smi", "#!/bin/sh\nsleep 60\n")
    started = time.monotonic()
    told = said.said({})
    assert told == {"nvpmodel": "no one answers"} and time.monotonic() - started < 10


def test_a_program_that_cannot_run_is_absent(root):
    JETSON.program(root, "/usr/bin/nvpmodel", "#!/no/such/interpreter\n")
    assert said.said({}) == {}


@pytest.mark.parametrize(("user", "sudo", "words"), [(0, True, []), (1000, True, ["sudo", "-n"]), (1000, False, [])])
def test_root_is_asked_for_without_a_password(root, monkeypatch, user, sudo, words):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    if sudo:
        JETSON.program(root, "/usr/bin/sudo", "#!/bin/sh\n")
    assert [Path(word).name for word in system.as_root(["/x/jetson_clocks"])] == [*words, "jetson_clocks"]


def test_conditions_tell_the_gpu_its_heat_and_its_counters(root):
    JETSON.orin_nano_super(root)
    JETSON.write(root, "/proc/meminfo", "MemAvailable: 4096000 kB\nSwapTotal: 3901440 kB\nSwapFree: 3889152 kB\n")
    seen = probe.conditions()
    assert (seen["gpu_mhz"], seen["gpu_min_mhz"], seen["gpu_max_mhz"]) == (306.0, 306.0, 1020.0)
    assert seen["temperatures_c"] == {"cpu-thermal": 50.031, "tj-thermal": 50.25} and seen["trips_c"]["tj-thermal"] == 99.0
    assert (seen["swap_used_mb"], seen["memory_available_mb"]) == (12, 4000) and seen["disk_free_mb"] >= 0


def stat(pid, parent, name, seconds, flags=0):
    ticks = int(seconds * os.sysconf("SC_CLK_TCK"))
    return f"{pid} ({name}) S {parent} 1 1 0 -1 {flags} 0 0 0 0 {ticks} 0 0 0 20 0 1 0\n"


def test_foreign_processes_are_neither_our_own_nor_the_kernels(root):
    me = os.getpid()
    table = [(1, 0, "init", 9.0, 0), (50, 1, "sshd", 5.0, 0), (me, 50, "python3", 7.0, 0), (me + 1, me, "trtexec", 8.0, 0),
             (60, 2, "kworker/0:1", 9.0, 0x208040), (70, 1, "gnome) shell (x", 3.0, 0), (80, 1, "idle", 0.0, 0)]  # fmt: skip
    for pid, *rest in table:
        JETSON.write(root, f"/proc/{pid}/stat", stat(pid, *rest))
    JETSON.write(root, "/proc/90/stat", "garbage")
    assert sensors.processes() == {"70 gnome) shell (x": 3.0}


@pytest.mark.parametrize(
    ("name", "is_gpu"),
    [("17000000.gpu", True), ("57000000.gpu", True), ("17000000.gv11b", True), ("17000000.gp10b", True), ("gpu-gpc-0", True),
     ("gpu-nvd-0", False), ("15340000.vic", False), ("emc", False)],
)  # fmt: skip
def test_gpus_are_known_among_the_devices_with_clocks(root, name, is_gpu):
    for key in ("cur", "min", "max"):
        JETSON.write(root, f"/sys/class/devfreq/{name}/{key}_freq", "1\n")
    assert bool(sensors.gpu_clocks()) == is_gpu


def test_rails_of_jetpack_4_are_read(root):
    folder = "/sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
    JETSON.write(root, folder + "/rail_name_0", "POM_5V_IN\n")
    JETSON.write(root, folder + "/in_power0_input", "1750\n")
    assert sensors.rails() == {"POM_5V_IN": 1750}


def test_a_dummy_sensor_is_no_temperature(root):
    for number, (zone, milli) in enumerate((("PMIC-Die", 100000), ("PMIC-Die2", 50000), ("GPU-therm", 50000))):
        JETSON.write(root, f"/sys/class/thermal/thermal_zone{number}/type", zone)
        JETSON.write(root, f"/sys/class/thermal/thermal_zone{number}/temp", str(milli))
    assert sensors.temperatures() == {"GPU-therm": 50.0} and probe.conditions()["temperature_c"] == 50.0


@pytest.mark.parametrize(("visible", "asked"), [(None, "0"), ("2,0", "2"), ("MIG-7f", "MIG-7f")])
def test_of_several_gpus_the_one_that_is_used_is_described(root, monkeypatch, visible, asked):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    JETSON.program(root, "/usr/bin/nvidia-smi", '#!/bin/sh\necho "$1 $2"\n')
    assert said.said({})["nvidia_smi"] == "-i " + asked
