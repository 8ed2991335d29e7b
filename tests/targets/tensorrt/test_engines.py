"""Which files a recipe's targets need, and what is to be done with them on a device that is not connected."""

import shlex

import pytest

from edgekd.core import InputError
from edgekd.targets import (
    commands_text,
    engines,
    files_of,
    flavours_of,
    int8_flavours_of,
    oldest_tensorrt,
    profiles,
    resolve,
)


def jetson(local_spec, precision="int8+fp16", device="jetson-orin-nano-8gb", tensorrt=None):
    return local_spec(device=device, runtime="tensorrt", precision=precision, tensorrt=tensorrt)


@pytest.mark.parametrize(
    ("precision", "files"),
    [
        ("fp32", ("fp32-b1",)),
        ("fp16", ("fp16", "fp32-b1")),
        ("int8", ("trt", "fp16", "fp32-b1")),
        ("int8+fp16", ("trt", "fp16", "trt-fp16", "fp32-b1")),
    ],
)
def test_the_files_of_a_recipe_are_those_of_any_cpu_and_of_its_devices(local_spec, precision, files):
    always = ("fp32", "ort", "ort-w7")
    specs = {"cpu": local_spec(), "jetson": jetson(local_spec, precision)}
    assert flavours_of(specs) == (*always, *files)
    assert files_of(specs["jetson"]) == files


@pytest.mark.parametrize(
    ("devices", "oldest"),
    [((), None), (("jetson-orin-nano-8gb",), "8.5"), (("jetson-orin-nano-super", "jetson-agx-orin-64gb"), "8.4"),
     (("jetson-nano",), "8.2"), (("jetson-thor-t5000",), "10.13")],
)  # fmt: skip
def test_the_oldest_tensorrt_is_that_of_the_oldest_jetpack_of_any_device(local_spec, devices, oldest):
    specs = {"cpu": local_spec(), **{name: jetson(local_spec, "fp16", name) for name in devices}}
    assert oldest_tensorrt(specs) == oldest


def test_a_recipe_may_leave_old_versions_behind(local_spec):
    spec = jetson(local_spec, tensorrt="10.0")
    assert oldest_tensorrt({"jetson": spec}) == "10.0"
    assert {engine.tensorrt for engine in engines(spec)} == {"10.3.0", "10.16.2"}
    with pytest.raises(InputError, match="too old") as refused:
        resolve("jetson", jetson(local_spec, tensorrt="8.0"))
    assert refused.value.where == "targets.jetson.tensorrt"


@pytest.mark.parametrize(
    ("device", "version", "has"),
    [("jetson-nano", "8.3", "8.2.1"), ("jetson-nano", "8.4", "8.2.1"), ("jetson-agx-xavier", "9.1", "8.2.1, 8.4.1, 8.5.2"),
     ("jetson-thor-t5000", "12.0", "10.13.3, 10.16.2"), ("jetson-thor-t5000", "99.0", "10.13.3, 10.16.2")],
)  # fmt: skip
def test_a_tensorrt_that_no_jetpack_of_the_device_reaches_is_refused_before_anything_runs(local_spec, device, version, has):
    with pytest.raises(InputError, match=f"no JetPack of {device}") as refused:
        resolve("jetson", jetson(local_spec, "fp16", device, version))
    assert (refused.value.where, refused.value.seen) == ("targets.jetson.tensorrt", version)
    assert refused.value.fix.endswith(f"one of {has}")


@pytest.mark.parametrize(
    ("device", "precision", "files", "rounded"),
    [("jetson-agx-xavier", "int8", {"trt", "fp32-b1"}, ("ort", "ort-w7", "trt")),  # TensorRT 8 takes float16 from options
     ("jetson-agx-xavier", "fp16", {"fp32-b1"}, ("ort", "ort-w7")),
     ("jetson-thor-t5000", "int8+fp16", {"trt-fp16", "fp16", "fp32-b1"}, ("ort", "ort-w7", "trt")),
     ("jetson-thor-t5000", "int8", {"trt", "fp16", "fp32-b1"}, ("ort", "ort-w7", "trt"))],
)  # fmt: skip
def test_no_file_is_made_that_no_engine_is_built_from(local_spec, device, precision, files, rounded):
    spec = jetson(local_spec, precision, device)
    assert set(files_of(spec)) == files
    assert set(flavours_of({"jetson": spec})) == {"fp32", "ort", "ort-w7"} | files
    assert int8_flavours_of({"jetson": spec}) == rounded


@pytest.mark.parametrize("device", [one.name for one in profiles() if one.tensorrt])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8", "int8+fp16"])
def test_every_engine_is_built_from_a_file_the_device_gets_by_one_command_the_text_holds(local_spec, device, precision):
    spec = jetson(local_spec, precision, device)
    text = commands_text("jetson", spec)
    assert engines(spec)[0].precision == precision
    assert {engine.model for engine in engines(spec)} == {f"student.{flavour}.onnx" for flavour in files_of(spec)}
    for engine in engines(spec):
        assert f"--onnx={engine.model}" in engine.command and engine.jetpacks
        assert shlex.join(engine.command) in text
        assert not any(mark in word.partition("=")[2] for word in engine.command[1:4] for mark in ",: ")  # would break the option


def test_int8_is_built_beside_the_fp16_and_fp32_engines_it_must_beat(local_spec):
    made = [(engine.precision, engine.model) for engine in engines(jetson(local_spec)) if engine.tensorrt == "10.16.2"]
    assert made == [
        ("int8+fp16", "student.trt-fp16.onnx"), ("fp16", "student.fp16.onnx"), ("fp32", "student.fp32-b1.onnx"),
    ]  # fmt: skip


@pytest.mark.parametrize("device", ["jetson-nano", "jetson-tx2"])
def test_int8_is_refused_where_there_are_no_int8_units_and_the_reason_is_told(local_spec, device):
    with pytest.raises(InputError, match=f"{device} has no int8 units") as refused:
        resolve("jetson", jetson(local_spec, "int8+fp16", device))
    assert refused.value.fix == "precision: fp32 or fp16"
