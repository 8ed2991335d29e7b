"""tegrastats of every generation is read field by field; a field that is missing or damaged is None, and never another number."""

from dataclasses import asdict

import jetson_root as JETSON
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.targets.jetson.tegrastats import parse

NAMES = sorted(path.name for path in (JETSON.FIXTURES / "tegrastats").iterdir())
LINES = [line for name in NAMES for line in JETSON.text("tegrastats", name).splitlines()]
# Of the last line: RAM, swap, GPU %, GPU MHz, a temperature, a rail.
LAST = {
    "agx_orin_jp61.txt": (4332, 19, 97, 1300, ("tj", 47.643), ("VDD_GPU_SOC", 14500)),
    "agx_orin_jp72.txt": (20653, None, 96, 1300, ("tj", 56.4), ("VDD_GPU_SOC", 15100)),
    "agx_thor_jp70.txt": (3440, None, None, 1575, ("soc012", 47.5), ("VIN", 64000)),
    "agx_thor_jp72.txt": (8364, None, 87, 1574, ("tj", 66.2), ("VIN", 124486)),
    "agx_xavier_jp51.txt": (3523, 0, 99, 1377, ("GPU", 39.6), ("SYS5V", 1479)),
    "nano_jp46.txt": (1914, 34, 99, 921, ("thermal", 42.75), ("POM_5V_IN", 5912)),
    "orin_nano_jp62_nosudo.txt": (3463, 1518, 63, None, ("tj", 54.65), ("VDD_IN", 12479)),
    "orin_nano_super_jp62_sudo.txt": (3021, 12, 99, 1020, ("tj", 56.9), ("VDD_IN", 16240)),
    "orin_nano_throttling_synthetic.txt": (3027, 12, 99, 408, ("tj", 99.5), ("VDD_IN", 11100)),
    "tx2_jp46.txt": (2020, 0, 98, 1300, ("MCPU", 42.5), ("VDD_IN", 3140)),
    "xavier_nx_jp46.txt": (2440, 0, 99, 1109, ("AUX", 38.5), ("VDD_CPU_GPU_CV", 5100)),
}


@pytest.mark.parametrize("name", NAMES)
def test_every_generation_is_read(name):
    told = parse(JETSON.text("tegrastats", name).splitlines()[-1])
    ram, swap, percent, clock, (zone, celsius), (rail, milliwatts) = LAST[name]
    assert (told.ram_used_mb, told.swap_used_mb, told.gpu_percent, told.gpu_mhz) == (ram, swap, percent, clock)
    assert told.temperatures_c[zone] == celsius and told.rails_mw[rail] == milliwatts


RAILS = {
    "agx_orin_jp61.txt": {"VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0", "VDDQ_VDD2_1V8AO"},
    "agx_xavier_jp51.txt": {"GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"},
    "nano_jp46.txt": {"POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"},
}


@pytest.mark.parametrize("name", RAILS)
def test_rails_are_not_mistaken_for_memory_nor_unconnected_ones_for_rails(name):
    for line in JETSON.text("tegrastats", name).splitlines():
        assert set(parse(line).rails_mw) == RAILS[name]


def test_gated_rails_and_dummies_are_no_temperatures():
    for line in LINES:
        assert all(-50 < celsius < 110 for celsius in parse(line).temperatures_c.values())
        assert "PMIC" not in parse(line).temperatures_c


@pytest.mark.parametrize(
    ("field", "percent", "clock"),
    [("GR3D_FREQ 99%@[1007]", 99, 1007), ("GR3D_FREQ 0%@[0,0]", 0, None), ("GR3D_FREQ 5%@[0,1300]", 5, 1300),
     ("GR3D_FREQ 63%", 63, None), ("GR3D_FREQ @[1575,1570,1575]", None, 1570), ("GR3D_FREQ off", None, None),
     ("GR3D2_FREQ 7%@9", None, None),
     ("GR3D_FREQ", None, None), ("GR3D_FREQ 99%@[10", None, None), ("GR3D_FREQ 99%@921MHz", None, None)],
)  # fmt: skip
def test_the_gpus_field_in_all_its_forms(field, percent, clock):
    told = parse(f"RAM 1/2MB {field} APE 150")
    assert (told.gpu_percent, told.gpu_mhz) == (percent, clock)


@given(st.sampled_from(LINES), st.integers(0, 600), st.integers(0, 40), st.text(max_size=6))
def test_no_damage_breaks_the_parser(line, start, length, instead):
    parse(line[:start] + instead + line[start + length :])
    parse(instead)


@given(st.sampled_from(LINES), st.sets(st.integers(0, 80)))
def test_names_or_values_that_are_missing_leave_less_and_never_something_else(line, missing):
    apart = {number for number in missing if number + 1 not in missing}  # else one field's name could meet another one's value
    told = asdict(parse(" ".join(word for number, word in enumerate(line.split(" ")) if number not in apart)))
    whole = asdict(parse(line))
    for field in ("ram_used_mb", "swap_used_mb", "gpu_percent", "gpu_mhz"):
        assert told[field] in (None, whole[field])
    for field in ("temperatures_c", "rails_mw"):
        assert told[field].items() <= whole[field].items()


@pytest.mark.parametrize("field", ["RAM", "SWAP", "GR3D_FREQ", "VDD_IN"])
def test_a_missing_field_is_none(field):
    line = JETSON.text("tegrastats", "orin_nano_super_jp62_sudo.txt").splitlines()[-1].replace(field, "X" + field.lower())
    told = parse(line)
    assert {"RAM": told.ram_used_mb, "SWAP": told.swap_used_mb, "GR3D_FREQ": told.gpu_mhz, "VDD_IN": told.rails_mw.get("VDD_IN")}[
        field
    ] is None
