"""Identity and conditions: parsed from what Linux says, never guessed, never a crash on odd files."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.device import flavour_for, probe

X86 = """processor	: 0
model name	: Some CPU @ 2 GHz
flags		: fpu avx2 {0}

processor	: 1
model name	: Some CPU
flags		: avx2 {0} only_here
"""
ARM = "processor\t: 0\nFeatures\t: fp asimd asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n\nHardware\t: x\n"
flag = st.text("abcdefghijklmnopqrstuvwxyz0123456789_", min_size=1, max_size=12)


@pytest.fixture
def device(tmp_path, monkeypatch):
    """A machine's system files below a folder of our own; call it with {path: text}."""

    def make(files):
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text)
        monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(tmp_path))

    return make


def test_flags_are_those_every_processor_has():
    assert probe.parse_cpuinfo(X86.format("fma")) == {"model": "Some CPU @ 2 GHz", "flags": {"avx2", "fma"}}


def test_arm_is_named_by_its_part():
    assert probe.parse_cpuinfo(ARM) == {"model": "Arm implementer 0x41 part 0xd42", "flags": {"fp", "asimd", "asimddp"}}


@given(st.lists(st.lists(flag, max_size=6), min_size=1, max_size=4))
def test_planted_flags_come_back(processors):
    text = "\n\n".join(f"processor : {n}\nflags : {' '.join(flags)}" for n, flags in enumerate(processors))
    assert probe.parse_cpuinfo(text)["flags"] == set.intersection(*(set(flags) for flags in processors))


@given(st.text())
def test_no_text_breaks_the_parsers(text):
    for found in (probe.parse_cpuinfo(text), probe.parse_meminfo(text), probe.parse_stat(text), probe.parse_stat("cpu " + text)):
        json.dumps(sorted(found))


@given(st.lists(st.integers(0, 10**15), min_size=8, max_size=10))
def test_busy_is_everything_but_idle_waiting_and_stolen(ticks):
    found = probe.parse_stat("cpu  " + " ".join(map(str, ticks)) + "\ncpu0 1 2 3 4\n")
    assert found["busy_s"] * 100 == pytest.approx(ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6])
    assert found["steal_s"] * 100 == pytest.approx(ticks[7])


@pytest.mark.parametrize(
    ("arch", "isa", "flavour"),
    [
        ("x86_64", ["avx2"], "ort-w7"), ("x86_64", ["avx2", "avx512f", "avx512bw"], "ort-w7"), ("x86_64", [], "ort-w7"),
        ("x86_64", ["avx2", "avx512_vnni"], "ort"), ("x86_64", ["avx2", "avx_vnni"], "ort"), ("x86_64", ["amx_int8"], "ort"),
        ("aarch64", ["asimd"], "ort"), ("aarch64", ["asimd", "asimddp", "i8mm"], "ort"),
    ],
)  # fmt: skip
def test_seven_bit_weights_go_to_x86_that_saturates(arch, isa, flavour):
    assert flavour_for({"arch": arch, "isa": isa}) == flavour


def test_a_jetson_is_known_by_its_serial_number(device):
    device({
        "proc/cpuinfo": ARM, "proc/sys/kernel/arch": "aarch64\n", "proc/meminfo": "MemTotal:  8000000 kB\n",
        "sys/firmware/devicetree/base/serial-number": "1421721000042\0", "etc/machine-id": "same in every image\n",
    })  # fmt: skip
    known = probe.identity()
    assert (known["arch"], known["isa"], known["memory_mb"]) == ("aarch64", ["asimd", "asimddp"], 7812)
    assert len(known["machine"]) == 16 and "1421721000042" not in json.dumps(known)


def test_conditions_read_clocks_temperatures_and_throttling(device):
    cpu = "sys/devices/system/cpu/cpu"
    device({
        cpu + "0/cpufreq/scaling_governor": "schedutil\n", cpu + "0/cpufreq/scaling_cur_freq": "1200000\n",
        cpu + "1/cpufreq/scaling_cur_freq": "1510400\n", cpu + "0/thermal_throttle/core_throttle_count": "3\n",
        "sys/class/thermal/thermal_zone0/temp": "41500\n", "sys/class/thermal/thermal_zone1/temp": "garbage\n",
        "proc/loadavg": "0.50 0.4 0.3 1/100 42\n", "proc/stat": "cpu  100 0 50 900 0 0 0 25 0 0\n",
    })  # fmt: skip
    seen = probe.conditions()
    assert {name: seen[name] for name in ("governor", "mhz", "temperature_c", "throttle_count", "load_1m")} == {
        "governor": "schedutil", "mhz": 1510.4, "temperature_c": 41.5, "throttle_count": 3.0, "load_1m": 0.5,
    }  # fmt: skip
    assert (seen["cpu_busy_s"], seen["cpu_steal_s"]) == (1.5, 0.25)


def test_a_machine_that_tells_nothing_is_still_probed(device):
    device({})
    seen = probe.conditions()
    assert [seen[name] for name in ("governor", "mhz", "temperature_c", "throttle_count", "load_1m", "cpu_busy_s")] == [None] * 6
    assert probe.identity()["isa"] == [] and probe.identity()["machine"] is None and probe.identity()["arch"]


def test_versions_are_read_without_importing(tmp_path, monkeypatch):
    for name in (
        "onnxruntime_gpu-1.15.1.dist-info",
        "numpy-1.13.3.egg-info",
        "Pillow-8.4.0-py3.6.egg-info",
        "numpy_quaternion-2.dist-info",
    ):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("sys.path", [str(tmp_path), "/no/such/folder"])
    assert probe.installed_versions() == {"onnxruntime": "1.15.1", "numpy": "1.13.3", "pillow": "8.4.0"}


def test_versions_are_those_that_import():
    import numpy
    import onnxruntime
    import PIL

    assert probe.installed_versions() == {
        "numpy": numpy.__version__,
        "onnxruntime": onnxruntime.__version__,
        "pillow": PIL.__version__,
    }


def test_two_probes_of_one_machine_agree():
    assert probe.identity() == probe.identity()


def test_what_our_children_computed_is_ours():
    before = probe.conditions()["own_cpu_s"]
    code = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert probe.conditions()["own_cpu_s"] - before >= 0.3
