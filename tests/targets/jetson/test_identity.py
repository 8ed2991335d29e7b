"""A device is known by its own words, in every generation; what it does not say stays None."""

import json
from dataclasses import asdict

import jetson_root as JETSON
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.device import said
from edgekd.targets import device_of, profile
from edgekd.targets.jetson.identity import describe

FIXTURES = JETSON.FIXTURES / "jetson"


def test_a_whole_jetson_is_described(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(JETSON.orin_nano_super(tmp_path)))
    assert asdict(describe(said.said({}))) == {
        "module": "p3767-0005-super", "soc": "tegra234", "compute_capability": "8.7", "l4t": "36.4.3", "jetpack": "6.2",
        "cuda": "12.6", "tensorrt": "10.3.0.30", "power_mode": "MAXN_SUPER", "clocks_locked": False,
    }  # fmt: skip


def test_nothing_said_is_nothing_known():
    assert set(asdict(describe({})).values()) == {None}


RELEASES = {
    "jp51.txt": ("35.3.1", "5.1.1", "11.4"), "jp62.txt": ("36.4.3", "6.2", "12.6"), "jp621.txt": ("36.4.7", "6.2.1", "12.6"),
    "jp72.txt": ("39.2.0", "7.2", "13.2"), "nano_jp46.txt": ("32.7.1", "4.6.1", "10.2"),
    "thor_jp70.txt": ("38.2.0", "7.0", "13.0"), "xavier_jp46.txt": ("32.7.1", "4.6.1", "10.2"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.name for path in (FIXTURES / "nv_tegra_release").iterdir()))
def test_releases_are_known_by_the_system(name):
    told = describe({"nv_tegra_release": JETSON.text("jetson", "nv_tegra_release", name)})
    assert (told.l4t, told.jetpack, told.cuda) == RELEASES[name]


@pytest.mark.parametrize(
    ("text", "l4t", "jetpack"),
    [("# R99 (release), REVISION: 1.2, GCID: 1", "99.1.2", None), ("# R36 (release)", None, None), ("R36.4.3", None, None)],
)
def test_an_unknown_release_is_no_jetpack(text, l4t, jetpack):
    told = describe({"nv_tegra_release": text})
    assert (told.l4t, told.jetpack, told.cuda) == (l4t, jetpack, None)


def test_without_the_release_file_the_package_tells():
    told = describe({"dpkg": "ii  nvidia-l4t-core 36.4.3-20250107174145\nrc  libnvinfer8 8.6.2.3-1+cuda12.2\n"})
    assert (told.l4t, told.jetpack, told.tensorrt) == ("36.4.3", "6.2", None)


MODULES = {
    "orin_nano_super.bin": ("p3767-0005-super", "tegra234", "8.7", "jetson-orin-nano-super"),
    "agx_thor.bin": ("p3834-0008", "tegra264", "11.0", "jetson-thor-t5000"),
    "nano.bin": ("NVIDIA Jetson Nano Developer Kit", "tegra210", "5.3", "jetson-nano"),
}


@pytest.mark.parametrize("name", sorted(path.name for path in (FIXTURES / "device_tree_compatible").iterdir()))
def test_modules_are_known_by_their_part_number_not_their_carriers(name):
    both = {f"device_tree_{key}": JETSON.text("jetson", f"device_tree_{key}", name) for key in ("compatible", "model")}
    told = describe(both)
    *known, device = MODULES[name]
    assert [told.module, told.soc, told.compute_capability] == known
    assert device_of(told.as_identity()) == profile(device)


MODELS = {
    "agx_orin.bin": "jetson-agx-orin-64gb", "agx_thor.bin": "jetson-thor-t5000", "agx_xavier.bin": "jetson-agx-xavier",
    "nano.bin": "jetson-nano", "orin_nano_jp5.bin": "jetson-orin-nano-8gb", "orin_nano_super.bin": "jetson-orin-nano-super",
    "orin_nx.bin": "jetson-orin-nx-16gb", "tx2.bin": "jetson-tx2", "xavier_nx.bin": "jetson-xavier-nx",
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(path.name for path in (FIXTURES / "device_tree_model").iterdir()))
def test_a_model_alone_leads_to_its_profile(name):
    told = describe({"device_tree_model": JETSON.text("jetson", "device_tree_model", name)})
    assert "\0" not in told.module and device_of(told.as_identity()) == profile(MODELS[name])


@pytest.mark.parametrize(
    ("compatible", "source", "module"),
    [
        ("nvidia,p3509-0000+p3767-0000\0nvidia,p3767-0000\0nvidia,tegra234\0nvidia,tegra23x\0", "", "p3767-0000"),
        ("vendor,box9000\0nvidia,p3767-0003\0nvidia,tegra234\0", "", "p3767-0003"),
        ("nvidia,jetson-nano\0nvidia,tegra210\0", "/dvs/kernel-dts/tegra210-p3448-0000-p3449-0000-b00.dts\0", "p3448-0000"),
        ("nvidia,p2972-0000\0nvidia,tegra194\0", "", "Somebody's Box"),
    ],
)
def test_a_carrier_board_that_renames_the_device_does_not_hide_its_module(compatible, source, module):
    tree = {"device_tree_compatible": compatible, "device_tree_source": source, "device_tree_model": "Somebody's Box\0"}
    assert describe(tree).module == module


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ({"dpkg": JETSON.text("jetson", "dpkg", "nvinfer_jp62.txt")}, "10.3.0.30"),
        ({"dpkg": "libnvinfer8\t8.2.1-1+cuda10.2\npython3-libnvinfer\t8.2.1-1+cuda10.2\n"}, "8.2.1"),
        ({"dpkg": "dpkg-query: no packages found matching libnvinfer-bin\n"}, None),
        ({"trtexec_banner": "&&&& RUNNING TensorRT.trtexec [TensorRT v8201] # trtexec --help"}, "8.2.1"),
        ({"trtexec_banner": "&&&& RUNNING TensorRT.trtexec [TensorRT v101303] [b9] # trtexec --help"}, "10.13.3"),
        ({"dpkg": "ii libnvinfer-bin 8.5.2-1+cuda11.4", "trtexec_banner": "&&&& RUNNING x [TensorRT v8602] # x"}, "8.6.2"),
        ({"tensorrt_python": "10.3.0"}, "10.3.0"),
        ({"tensorrt_python": "10.3.0", "dpkg": "ii libnvinfer10 10.3.0.30-1+cuda12.5"}, "10.3.0.30"),
        ({"tensorrt_python": "10.13.3", "dpkg": "ii libnvinfer10 10.3.0.30-1+cuda12.5"}, "10.13.3"),
        ({"tensorrt_python": "10.13.3", "dpkg": "ii libnvinfer10 10.3.0.30-1+cuda12.5", "trtexec": "/t"}, "10.3.0.30"),
        ({"tensorrt_python": "8.6.1.post1"}, "8.6.1"),
        ({"tensorrt_python": "new", "dpkg": "ii libnvinfer-bin  garbage"}, None),
    ],
)
def test_tensorrt_is_what_will_run_in_as_many_digits_as_are_told(told, version):
    assert describe(told).tensorrt == version


@pytest.mark.parametrize(
    ("told", "version"),
    [
        ({"cuda": '{"cuda": {"version": "12.6.11"}}'}, "12.6"), ({"cuda": "CUDA Version 10.2.300\n"}, "10.2"),
        ({"cuda": '{"cuda": 7}'}, None), ({"dpkg": "ii  cuda-cudart-11-4 11.4.298-1"}, "11.4"),
    ],
)  # fmt: skip
def test_cuda_is_told_in_every_form(told, version):
    assert describe(told).cuda == version


def test_a_desktop_is_known_by_its_gpu():
    told = describe({"nvidia_smi": "NVIDIA GeForce RTX 4070, 8.9, 550.54.15, 12282 MiB"})
    assert (told.module, told.compute_capability, told.soc) == ("NVIDIA GeForce RTX 4070", "8.9", None)
    assert device_of(told.as_identity()) == profile("rtx-desktop")


def test_a_jetsons_own_nvidia_smi_does_not_rename_it():
    told = describe(
        {"nvidia_smi": "NVIDIA Thor, 11.0, 580.00, [N/A]", "device_tree_compatible": "nvidia,p3834-0008\0nvidia,tegra264\0"}
    )
    assert (told.module, told.soc) == ("p3834-0008", "tegra264")


WORDS = ("nv_tegra_release", "device_tree_compatible", "device_tree_model", "dpkg", "nvpmodel", "cuda", "jetson_clocks",
         "trtexec_banner", "nvidia_smi", "tensorrt_python")  # fmt: skip


@given(st.dictionaries(st.sampled_from(WORDS), st.text()))
def test_no_words_break_the_description(told):
    json.dumps(describe(told).as_identity())


WHOLE = {
    "nv_tegra_release": JETSON.text("jetson", "nv_tegra_release", "jp62.txt"),
    "device_tree_compatible": JETSON.text("jetson", "device_tree_compatible", "orin_nano_super.bin"),
    "dpkg": JETSON.text("jetson", "dpkg", "nvinfer_jp62.txt"),
    "nvpmodel": JETSON.text("jetson", "nvpmodel", "verbose_xavier_nx_head.txt"),
    "jetson_clocks": JETSON.text("jetson", "jetson_clocks", "orin_nano_show.txt"),
    "trtexec_banner": "&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec --help",
}


@given(
    st.sampled_from(sorted(WHOLE)),
    st.integers(0, 900),
    st.integers(0, 60),
    st.sampled_from(["", "\0", "9" * 5000, " ", "=", "é"]),
)
def test_no_damage_to_real_words_breaks_the_description(name, start, length, instead):
    text = WHOLE[name]
    json.dumps(describe({**WHOLE, name: text[:start] + instead + text[start + length :]}).as_identity())


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("nv_tegra_release", ["l4t", "jetpack", "cuda"]), ("device_tree_compatible", ["module", "soc", "compute_capability"]),
        ("nvpmodel", []), ("jetson_clocks", ["clocks_locked"]),
    ],
)  # fmt: skip
def test_what_one_source_does_not_say_no_other_makes_up(name, fields):
    whole, less = asdict(describe(WHOLE)), asdict(describe({key: text for key, text in WHOLE.items() if key != name}))
    changed = {"power_mode"} if name == "nvpmodel" else set()  # jetson_clocks names the present one too
    assert {key for key in whole if whole[key] != less[key]} == {*fields, *changed}
    assert all(less[field] is None for field in fields) and less["power_mode"] in ("MODE_15W_6CORE", "MAXN_SUPER")
