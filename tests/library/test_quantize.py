"""edgekd.quantize: a trained network of one's own as int8 files for both runtimes, in three lines."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn

import edgekd
from edgekd.core import EdgekdError, InputError
from edgekd.library.calibration import calibration_images

IMAGES = np.random.default_rng(0).standard_normal((48, 3, 12, 16)).astype("f4")
SPEC = {"image_size": [12, 16], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]}
FLAVOURS = {"ort", "ort-w7", "trt", "fp32"}


class Own(nn.Module):
    """Nobody's architecture; the reflected padding of one layer has no integer kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.block = nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect")
        self.head = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        return self.head(torch.relu(x + self.block(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    own = Own().eval()
    nn.init.normal_(own.head.weight)
    return own


@pytest.fixture(scope="module")
def made(network):
    return edgekd.quantize(network, IMAGES)


def logits(content, images=IMAGES):
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    fixed = session.get_inputs()[0].shape[0] == 1
    parts = np.split(images, len(images)) if fixed else [images]
    return np.concatenate([session.run(None, {"input": part})[0] for part in parts])


def test_both_runtimes_get_a_file_that_answers_as_the_network(made, network):
    with torch.no_grad():
        expected = network(torch.from_numpy(IMAGES)).numpy()
    assert made.files.keys() == FLAVOURS
    assert np.allclose(logits(made.files["fp32"]), expected, atol=1e-5)
    for flavour in FLAVOURS - {"fp32"}:
        assert made.sqnr_db[flavour] > 20 and made.agreement[flavour] > 0.9
    ops = {flavour: {node.op_type for node in onnx.load_from_string(made.files[flavour]).graph.node} for flavour in FLAVOURS}
    assert "QuantizeLinear" in ops["ort"] & ops["trt"] and "QuantizeLinear" not in ops["fp32"]


def test_what_stays_float_is_told_with_its_reason(made):
    assert [(one["layer"], "reflect" in one["reason"]) for one in made.float_layers if "reflect" in one["reason"]] == [
        ("block", True)
    ]
    assert "block" in str(made)


def test_the_numbers_are_those_of_the_files(made, network):
    """Every node as written, on the calibration images."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    found = onnxruntime.InferenceSession(made.files["ort"], options).run(None, {"input": IMAGES})[0]
    with torch.no_grad():
        expected = network(torch.from_numpy(IMAGES)).numpy()
    noise = ((found - expected) ** 2).sum()
    assert made.sqnr_db["ort"] == pytest.approx(10 * np.log10((expected**2).sum() / noise), abs=0.01)
    assert made.agreement["ort"] == (found.argmax(1) == expected.argmax(1)).mean()


def test_saved_files_are_the_ones_in_memory_with_their_numbers(made, tmp_path):
    paths = made.save(tmp_path / "a folder" / "int8")
    assert {flavour: path.read_bytes() for flavour, path in paths.items()} == made.files
    told = json.loads((tmp_path / "a folder" / "int8" / "quantization.json").read_text())
    assert told["files"]["trt"] == "model.trt.onnx" and told["float_layers"] == list(made.float_layers)
    assert {one["name"]: one["value"] for one in told["measurements"]}["trt.sqnr_db"] == made.sqnr_db["trt"]


def test_an_onnx_file_of_any_framework_is_quantized_too(network, tmp_path):
    """As Keras spells it: weights of the last layer transposed, a bias added, probabilities."""
    draw = np.random.default_rng(1)
    weights = {"w": draw.standard_normal((8, 3, 3, 3)), "v": draw.standard_normal((8, 5)), "b": draw.standard_normal(5)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[0, 0, 1, 1], strides=[2, 2]),
        helper.make_node("Clip", ["c", "low", "high"], ["r"], "relu6"),
        helper.make_node("ReduceMean", ["r"], ["m"], "mean", axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["m", "v"], ["d"], "dense"),
        helper.make_node("Add", ["d", "b"], ["s"], "bias"),
        helper.make_node("Softmax", ["s"], ["y"], "softmax"),
    ]
    constants = {**weights, "low": 0.0, "high": 6.0}
    held = [numpy_helper.from_array(np.asarray(value, "f4"), name) for name, value in constants.items()]
    ends = [
        helper.make_tensor_value_info(*end)
        for end in (("x", TensorProto.FLOAT, [1, 3, 12, 16]), ("y", TensorProto.FLOAT, [1, 5]))
    ]
    graph = helper.make_graph(nodes, "keras", ends[:1], ends[1:], held)
    path = tmp_path / "theirs.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), path)
    made = edgekd.quantize(str(path), IMAGES)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = np.concatenate([session.run(None, {"x": IMAGES[row : row + 1]})[0] for row in range(len(IMAGES))])
    assert np.allclose(logits(made.files["fp32"]), expected, atol=1e-5)
    assert min(made.sqnr_db.values()) > 20
    assert [one["layer"] for one in made.float_layers] == ["softmax"]


BATCHES = {
    "an array": lambda: IMAGES,
    "a tensor": lambda: torch.from_numpy(IMAGES).double(),
    "batches": lambda: np.split(IMAGES, 4),
    "a loader of pairs": lambda: [(torch.from_numpy(part), torch.zeros(len(part))) for part in np.split(IMAGES, 4)],
    "a data set of single images": lambda: ((image, 3) for image in torch.from_numpy(IMAGES)),
}


@pytest.mark.parametrize("form", BATCHES)
def test_images_come_in_any_form(form):
    found = calibration_images(BATCHES[form](), None, None)
    assert found.dtype == np.float32 and np.array_equal(found, IMAGES)


def test_of_many_images_no_more_than_512_are_read():
    many = np.arange(2000, dtype="f4").reshape(2000, 1, 1, 1)
    spread = calibration_images(many, None, None)[:, 0, 0, 0]
    assert len(spread) == 512 and (spread[0], spread[-1]) == (0, 1999)

    def endless():
        while True:
            yield IMAGES

    assert len(calibration_images(endless(), None, None)) == 512


def test_a_folder_of_images_is_prepared_as_an_app_does(tmp_path):
    from edgekd.device import decode, normalize

    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    found = calibration_images(tmp_path, SPEC, None)
    whole = {**SPEC, "resize": {"exact": [12, 16]}, "interpolation": "bilinear"}
    expected = np.stack([decode(path, whole) for path in sorted(tmp_path.iterdir())])
    assert np.array_equal(found, normalize(expected, whole))
    sized = {key: SPEC[key] for key in ("mean", "std")}
    assert np.array_equal(calibration_images(str(tmp_path), sized, (12, 16)), found)


WRONG = {
    "no images": (lambda: [], None, "no calibration images"),
    "channels last": (lambda: IMAGES.transpose(0, 2, 3, 1), None, "channels first"),
    "pixels": (lambda: np.zeros((2, 3, 8, 8), np.uint8), None, "not pixels"),
    "not finite": (lambda: np.full((2, 3, 8, 8), np.nan, "f4"), None, "finite"),
    "several sizes": (lambda: [IMAGES, IMAGES[:, :, :8]], None, "change size"),
    "no array": (lambda: ["photo.jpg"], None, "no array"),
    "nothing": (lambda: 7, None, "no calibration images"),
    "preprocessing of an array": (lambda: IMAGES, SPEC, "for a folder"),
    "a folder alone": (lambda: Path(__file__).parent, None, "own preprocessing"),
    "no such folder": (lambda: "no/such/folder", SPEC, "no such folder"),
}


@pytest.mark.parametrize("name", WRONG)
def test_images_that_cannot_be_meant_are_refused_with_what_to_do(name):
    given, preprocessing, why = WRONG[name]
    with pytest.raises(InputError) as refused:
        calibration_images(given(), preprocessing, None)
    assert why in f"{refused.value} {refused.value.fix}" and refused.value.fix


def test_what_is_no_network_is_refused():
    with pytest.raises(InputError, match="no network"):
        edgekd.quantize(7, IMAGES)
    with pytest.raises(EdgekdError, match="no such"):
        edgekd.quantize("no_such.onnx", IMAGES)


def test_importing_edgekd_loads_nothing_heavy():
    loaded = "{'torch', 'numpy', 'onnx', 'onnxruntime', 'pydantic'} & set(sys.modules)"
    code = f"import sys, edgekd; assert not {loaded}; assert callable(edgekd.quantize) and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_without_the_extra_the_line_to_install_is_told():
    code = (
        "import sys; sys.modules['torch'] = None; import edgekd\n"
        "try: edgekd.quantize(1, 2)\n"
        "except edgekd.core.EnvironmentProblem as problem: print(problem.fix)"
    )
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "edgekd[train]" in told
