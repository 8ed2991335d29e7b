"""Tensors inside a file: exposing them changes nothing, and they are what the simulation in torch has at the same sites."""

import hard_nets
import numpy as np
import pytest
import tiny_models as TINY
import torch

from edgekd import export, quant
from edgekd.core import InputError
from edgekd.export.inner import outputs
from edgekd.export.sessions import session
from edgekd.stages.torch_waterfall import waterfalls

IMAGES = hard_nets.images(4, seed=9).numpy()


@pytest.fixture(scope="module", params=["Residual", "Inverted", "Shuffled"])
def files(request, exported, tmp_path_factory):
    quantized, marked = exported(request.param)
    folder = tmp_path_factory.mktemp(request.param)
    return quantized, export.write(marked, quantized.state_dict(), quantized.sites, folder, ("ort", "trt"))


@pytest.mark.parametrize("optimised", [False, True])
def test_the_integers_of_every_site_can_be_read_and_the_logits_stay_as_they_were_to_the_bit(files, optimised):
    quantized, paths = files
    content = paths["ort"].read_bytes()
    names = [f"{one['name']}.quantized" for one in quantized.sites["sites"]]
    plain = session(content, optimised=optimised).run(None, {"input": IMAGES})
    opened = session(content + outputs(names), optimised=optimised).run(None, {"input": IMAGES})
    assert len(opened) == 1 + len(names) and np.array_equal(plain[0], opened[0])
    assert {one.dtype for one in opened[1:]} == {np.dtype("u1")}


@pytest.mark.parametrize("flavour", ["ort", "trt"])
def test_a_site_of_the_file_has_the_values_it_has_in_torch(files, flavour):
    """To one step of its grid, on nearly all values: the same sums in another order now and then round to the next integer."""
    quantized, paths = files
    rounded = quantized.trainable().eval()
    quant.use(rounded, flavour)
    in_torch = quant.inner_sites(rounded)(IMAGES[:1])
    in_file = export.inner_sites(paths[flavour], optimised=False)(IMAGES[:1])
    wanted = {one["name"]: one for one in quantized.sites["sites"] if flavour in one["flavours"]}
    assert set(in_file) == set(wanted) <= set(in_torch)
    step = "scale" if flavour == "ort" else "trt_scale"
    for name in set(wanted) - {"input"}:
        off = np.abs(in_file[name] - in_torch[name]) / wanted[name][step]
        assert off.max() < 1.5 and (off > 0.5).mean() < 0.02, name


def test_a_tensor_that_is_not_there_and_a_file_that_is_none_are_refused_in_words(tmp_path):
    model = TINY.float_model(tmp_path / "a.onnx")
    with pytest.raises(InputError, match="onnxruntime refuses"):
        export.inner_tensors(model, ["no such tensor"], optimised=False)
    model.write_bytes(b"no network")
    with pytest.raises(InputError, match="onnxruntime refuses"):
        export.inner_tensors(model, [], optimised=False)


def test_the_waterfall_of_a_file_names_the_tensor_that_lost_most_at_each_step(files):
    quantized, paths = files
    inputs = hard_nets.images(20, seed=9)
    with torch.no_grad():
        answers = {"fp32": quantized.floating()(inputs).numpy()}
        answers |= {flavour: quantized.simulate(flavour)(inputs).numpy() for flavour in paths}
    answers |= {f"{one}.onnx": export.run_onnx(path, inputs.numpy(), optimised=False) for one, path in paths.items()}
    made, kept = waterfalls(quantized, paths, answers, inputs.numpy(), answers["fp32"].argmax(1))
    assert [(one["flavour"], len(one["steps"]), len(one["hops"])) for one in made] == [("ort", 4, 3), ("trt", 3, 2)]
    for one in made:
        assert (one["images"], one["n"], one["steps"][0]) == ("held-out", 20, {"name": "fp32 in torch", "top1": 1.0})
        rounding, *runtimes = one["hops"]
        assert rounding["sqnr_db"] < min(hop["sqnr_db"] for hop in runtimes)  # of a sound file
        for hop, inner in zip(one["hops"], kept[one["flavour"]], strict=True):
            assert len(inner) >= 4 and inner[hop["worst"]["tensor"]] == min(inner.values()) == round(hop["worst"]["sqnr_db"], 2)
