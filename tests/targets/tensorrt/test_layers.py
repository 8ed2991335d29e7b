"""What an engine computes in is read off its layers: int8, fp16 and fp32 apart, and nothing guessed where it is not told."""

import collections
import json

import pytest
import trtexec_files as FILES

from edgekd.core import DeviceError
from edgekd.targets import float_layers
from edgekd.targets.tensorrt.layers import read_layers, read_profile, with_times


def of(**changes):
    """One layer as trtexec exports it, read."""
    tensor = {"Name": "x", "Location": "Device", "Dimensions": [1, 8, 4, 4], "Format/Datatype": "Row major Int8 format"}
    layer = {"Name": "l", "LayerType": "CaskConvolution", "Inputs": [tensor], "Outputs": [tensor], "ParameterType": "Convolution",
             "Weights": {"Type": "Int8", "Count": 9}}  # fmt: skip
    return read_layers(json.dumps({"Layers": [{**layer, **changes}], "Bindings": []}), "jetson")[0]


def inputs(*formats):
    return [{"Name": f"x{number}", "Format/Datatype": one} for number, one in enumerate(formats)]


def counted(name):
    layers = read_layers((FILES.RESNET / name).read_text(), "a100")
    return layers, collections.Counter(layer["dtype"] for layer in layers if layer["op"] == "Conv")


def test_a_real_int8_engine_has_no_float_convolution():
    for name in ("graph.json", "graph_residual_qgap.json"):
        layers, dtypes = counted(name)
        assert dtypes == {"int8": 21} and float_layers(layers) == []
    assert {"op": "Conv", "kernel": "ConvActPool"}.items() <= layers[1].items()  # fused with its pooling


def test_a_real_fp16_engine_has_only_float_convolutions_and_they_are_fp16():
    layers, dtypes = counted("graph_fp16.json")
    assert dtypes == {"float16": 21} and len(float_layers(layers)) == 21
    assert all(layer["provider"] == "TensorRT" for layer in layers)


@pytest.mark.parametrize("version", FILES.VERSIONS)
def test_layers_and_times_of_every_version_are_read(version):
    layers = read_layers(FILES.text("layers.json", version), "jetson")
    times = read_profile(FILES.text("profile.json", version), "jetson")
    (layer,) = with_times(layers, times)
    assert (layer["op"], layer["name"], layer["dtype"]) == ("Conv", "/features/conv/Conv", "int8")
    assert layer["ms"] == pytest.approx(2.466, abs=0.002)
    assert layer.get("onnx") == (["/features/conv/Conv"] if version not in ("8.2.1", "8.5.2") else None)  # from 8.6 on


@pytest.mark.parametrize(("graph", "profile"), [("graph.json", "profile.json"), ("graph_fp16.json", "profile_fp16.json")])
def test_every_layer_of_a_real_engine_finds_its_time(graph, profile):
    layers, times = counted(graph)[0], read_profile((FILES.RESNET / profile).read_text(), "a100")
    timed = with_times(layers, times)
    assert [(layer["name"], layer["ms"]) for layer in timed] == times and len(times) > 30


def test_layers_of_one_name_keep_their_own_times_and_an_untimed_one_has_none():
    layers = [{"name": "a"}, {"name": "b"}, {"name": "a"}, {"name": "a"}]
    assert [layer["ms"] for layer in with_times(layers, [("a", 1.0), ("a", 2.0)])] == [1.0, None, 2.0, None]


def test_an_engine_that_tells_names_only_counts_as_float_with_the_reason():
    text = '{"Layers": ["Conv_0 + Relu_1", "Reformatting CopyNode for Output Tensor 0"],\n"Bindings": ["x", "y"]}'
    layers = read_layers(text, "jetson")
    assert [layer["dtype"] for layer in layers] == [None, None] and "profilingVerbosity=detailed" in layers[0]["why"]
    assert float_layers(layers) == layers


@pytest.mark.parametrize(
    ("kernel", "op"),
    [
        ("CaskConvolution", "Conv"), ("CaskGemmConvolution", "Conv"), ("CudaDepthwiseConvolution", "Conv"),
        ("ConvActPool", "Conv"), ("CaskConvActPool", "Conv"), ("FusedConvActConvolution", "Conv"), ("CublasConvolution", "Conv"),
        ("CaskDeconvolutionV2", "ConvTranspose"), ("gemm", "MatMul"), ("CublasGemm", "MatMul"), ("MatrixMultiply", "MatMul"),
        ("CaskFullyConnected", "MatMul"),
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    ("told", "weights", "dtype"),
    [("Row major Int8 format", "Int8", "int8"), ("Channel major FP16 format where channel % 8 == 0", "Half", "float16"),
     ("Row major linear FP32", "Float", "float"), ("Row major linear BFloat16 format", "BFloat16", "bfloat16")],
)  # fmt: skip
def test_heavy_layers_of_every_kind_count_by_their_type(kernel, op, told, weights, dtype):
    layer = of(LayerType=kernel, ParameterType="", Inputs=inputs(told), Weights={"Type": weights, "Count": 9})
    assert (layer["op"], layer["dtype"], layer["kernel"]) == (op, dtype, kernel)
    assert bool(float_layers([layer])) == (dtype != "int8")


@pytest.mark.parametrize(
    "kernel", ["Reformat", "NoOp", "CaskPooling", "kgen", "PointWiseV2", "CudaSoftMax", "Slice", "ConvertCast"]
)
def test_other_layers_do_not_count(kernel):
    layer = of(LayerType=kernel, ParameterType=kernel, Inputs=inputs("Row major linear FP32"))
    assert layer["op"] == kernel and float_layers([layer]) == []


def test_int8_needs_int8_data_and_int8_weights():
    assert of(Inputs=inputs("Row major linear FP32"))["dtype"] == "float"  # weights of 8 bits, computed in float
    assert of(Weights={"Type": "Half", "Count": 9})["dtype"] == "float16"
    assert of(Weights=None, ConvWeights={"Type": "Float", "Count": 9})["dtype"] == "float"
    skip = inputs("Thirty-two wide channel vectorized row major Int8 format", "Row major linear FP16 format")
    assert of(Inputs=skip)["dtype"] == "int8"  # a float branch added at the end changes nothing


def test_a_product_of_unclear_inputs_is_told_by_its_tactic_or_not_at_all():
    mixed = {"LayerType": "gemm", "ParameterType": "", "Weights": None, "Inputs": inputs("Half", "Int8")}
    named = of(**mixed, TacticName="sm80_xmma_gemm_i8f16_i8i32_f32_nn_n_tilesize32x32x64")
    unnamed = of(**mixed, TacticName="0xf2543c36")
    assert named["dtype"] == "int8"
    assert unnamed["dtype"] is None and "several types: float16, int8" in unnamed["why"] and float_layers([unnamed]) == [unnamed]


@pytest.mark.parametrize("told", ["N/A due to dynamic shapes", "Unknown format", ""])
def test_a_type_that_is_not_told_is_none_with_the_reason(told):
    layer = of(Inputs=inputs(told))
    assert layer["dtype"] is None and "not told" in layer["why"] and float_layers([layer]) == [layer]
    assert of(Inputs=[])["dtype"] is None and of(Inputs=None)["dtype"] is None


@pytest.mark.parametrize(
    "changes",
    [{"LayerType": "Myelin"}, {"Name": "{ForeignNode[Conv_0...Relu_1]}", "LayerType": "Unknown"},
     {"LayerType": "kgen", "Name": "_gemm_mha_v2_myl0_4"}],
)  # fmt: skip
def test_a_part_compiled_as_one_may_hold_a_convolution_and_counts(changes):
    layer = of(**{"ParameterType": "", **changes})
    assert layer["op"] == "Myelin" and layer["dtype"] is None and float_layers([layer]) == [layer]


def test_control_characters_between_fused_names_are_readable():
    joined = "[ONNX Layer: /a/Conv]\x1e[ONNX Layer: /a/Relu]\x1f[ONNX Layer: /b/Add]"
    text = json.dumps({"Layers": [{"Name": "a\x1eb", "LayerType": "gemm", "Inputs": inputs("Half"), "Metadata": "META"}]})
    for written in (json.dumps(joined), f'"{joined}"'):  # escaped, or raw as 8.6 writes them
        (layer,) = read_layers(text.replace('"META"', written), "jetson")
        assert layer["onnx"] == ["/a/Conv", "/a/Relu", "/b/Add"] and layer["name"] == "a + b"
    assert read_profile('[{"count": 2}, {"name": "a\x1eb", "averageMs": 1.5}]', "jetson") == [("a + b", 1.5)]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"Layers": []}', '{"Layers": [1]}', '{"Layers": [{}]}', '{"Layers": {}', "x"])
def test_a_file_that_lists_no_layers_is_refused(text):
    with pytest.raises(DeviceError) as refused:
        read_layers(text, "jetson: build")
    assert refused.value.where == "jetson: build" and refused.value.seen and refused.value.fix


@pytest.mark.parametrize(
    "text",
    ["", "{}", "[]", '[{"count": 3}]', '[{"count": 3}, {"name": "a"}]', '[{"name": "a", "averageMs": nan}]', "[3]",
     '[{"name": "a", "averageMs": -1}]', '[{"name": "a", "averageMs": true}]', '[{"name": "a", "averageMs": 1}'],
)  # fmt: skip
def test_a_profile_without_times_is_refused(text):
    with pytest.raises(DeviceError):
        read_profile(text, "jetson")
