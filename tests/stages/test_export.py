"""Of the flavours' parity the worse one is judged; a number that is none is worst of all. Float16 ships where it holds."""

import json
import math
from pathlib import Path

import hard_nets
import numpy as np
import pytest
import torch
from small_chain import RECIPE as SMALL
from torch import nn

from edgekd import models, quant
from edgekd.core import InputError, Measurement, Outcome
from edgekd.recipe import loads
from edgekd.stages import Context, Input, build, export
from edgekd.stages.export import _worst, _yardstick
from edgekd.stages.images import open_images

RECIPE = """\
edgekd: 1
name: wide
data: {source: digits, image_size: 16}
teacher: {model: resnet18, epochs: 1}
student: {model: mobilenet_v2}
distill: {method: label, epochs: 1}
targets:
  jetson: {device: jetson-thor-t5000, runtime: tensorrt, precision: int8}
"""


def _exported(tmp_path, monkeypatch, net, recipe=RECIPE):
    """The export step of a small net on a few images, without onnxruntime's own tool beside it."""
    quantized = quant.quantize(net, [hard_nets.images(64)])
    monkeypatch.setattr(models, "load_saved", lambda path: net)
    monkeypatch.setattr(models, "load_state", lambda path: quantized.state_dict())
    monkeypatch.setattr(export, "_yardstick", lambda *_: ((), {}))
    folders = {name: tmp_path / name for name in ("before", "export", "jetson")}
    for folder in folders.values():
        folder.mkdir()
    recipe = loads(recipe, "wide.yaml", tmp_path)
    before = Context(recipe, folders["before"])
    (before.folder / "student").touch()
    given = Outcome((before.keep("student", before.folder / "student"), before.keep_json("sites", quantized.sites)))
    inputs = dict.fromkeys(("distill", "quantize"), Input(given, before.folder))
    outcome = export.run(Context(recipe, folders["export"], inputs, smoke=True))
    return Context(recipe, folders["jetson"], {"export": Input(outcome, folders["export"])}, "jetson")


def _wide_net(wide):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )
    with torch.no_grad():
        net[0].weight[2] *= wide
        net[2].weight[:, 2] /= wide
    return net.eval()


def test_a_network_that_overflows_float16_ships_no_float16_file_and_the_device_is_told_why(tmp_path, monkeypatch):
    context = _exported(tmp_path, monkeypatch, _wide_net(1e5))
    made = context.input("export").outcome
    assert {one.kind for one in made.artifacts} == {"fp32", "ort", "ort-w7", "trt", "fp32-b1", "layers", "lint", "waterfall"}
    assert "float16 ends at 65504" in made.notes["overflow"] and set(made.notes["parity"]) == {
        "fp32",
        "ort",
        "ort-w7",
        "trt",
        "fp32-b1",
    }
    kept = json.loads((tmp_path / "export/waterfall.json").read_text())
    assert kept["waterfalls"] == made.notes["waterfall"] and list(kept["inner"]) == ["ort", "ort-w7", "trt"]
    assert {one.kind for one in build.run(context).artifacts} == {"fp32-b1", "trt", "build", "commands"}
    text = (context.folder / "ENGINES.txt").read_text()
    assert "fp16.onnx" not in text and made.notes["overflow"] in text


def test_a_target_in_float16_is_refused_where_the_network_overflows_it(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="overflows float16") as refused:
        _exported(tmp_path, monkeypatch, _wide_net(1e5), RECIPE.replace("int8", "fp16"))
    assert refused.value.where == "targets.jetson.precision"


def test_the_parity_of_a_float16_file_is_that_of_arithmetic_in_half(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(
        export, "half_logits", lambda network, inputs: asked.append(len(inputs)) or np.full((len(inputs), 10), np.nan)
    )
    made = _exported(tmp_path, monkeypatch, _wide_net(1.0)).input("export").outcome
    assert asked == [32] and not np.isfinite(made.notes["parity"]["fp16"]["sqnr_db"] or np.nan)


@pytest.mark.parametrize(
    ("name", "values", "worst"),
    [
        ("parity.top1_agreement", (0.9, 1.0), 0.9),
        ("parity.sqnr_db", (40.0, 20.0), 20.0),
        ("parity.max_abs", (0.1, 0.5), 0.5),
        ("parity.sqnr_db", (40.0, math.nan), math.nan),
        ("parity.max_abs", (math.nan, 0.5), math.nan),
        ("parity.max_abs", (0.5, math.inf), math.inf),
        ("parity.top1_agreement", (1.0, None), None),
    ],
)
def test_the_worst_flavour_is_measured(name, values, worst):
    for order in (values, values[::-1]):
        found = _worst(tuple(Measurement(name, value, "1", 9) for value in order)).value
        assert found == worst or (math.isnan(found) and math.isnan(worst))


@pytest.mark.parametrize(("exact", "bits", "like"), [(True, 8, "ort"), (False, 7, "ort-w7")])
def test_the_yardstick_says_how_coarse_its_weights_are_on_this_cpu(tmp_path, monkeypatch, exact, bits, like):
    always_zero = np.eye(10, dtype="f4")[0]
    for name, fake in {
        "exact_sums": lambda: exact,
        "stock_int8": lambda fp32, images, path: path,
        "run_onnx": lambda path, inputs, optimised: np.tile(always_zero, (len(inputs), 1)),
    }.items():
        monkeypatch.setattr(f"edgekd.export.{name}", fake, raising=False)
    context = Context(loads(SMALL, "small.yaml", Path(), ("data.image_size=8",)), tmp_path)
    inputs = np.zeros((len(open_images(context).held_out), 3, 8, 8), "f4")
    measured, _ = _yardstick(context, tmp_path / "student.fp32.onnx", inputs)
    assert [(one.conditions["weight_bits"], one.conditions["like"]) for one in measured] == [(bits, like)] * 3
    assert all(("x64quantprecision" in one.conditions["ran"]) is not exact for one in measured)
