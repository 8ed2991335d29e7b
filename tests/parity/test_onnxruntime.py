"""Torch against onnxruntime, per family and flavour: each execution of a network gives what the one before it gave.

On networks that tell images apart: on random weights logits are chaotic, and a sound file disagrees with itself.
"""

import numpy as np
import pytest
import torch

from edgekd import export, quant
from edgekd.export.sessions import session
from edgekd.stages.apart import apart
from edgekd.stages.signal import sqnr

FLAVOURS = ("ort", "ort-w7", "trt")
# dB: floors of two executions of one int8 network. Families were at 28 and more as simulated, 23 and more as optimised; another
# network, or one wrong scale, is below 15.
LEAST_DB, LEAST_AGREEMENT = 20.0, 0.97


def _logits(module, images):
    with torch.no_grad():
        return np.concatenate([module(part).numpy() for part in torch.from_numpy(images).split(16)])


def _agreement(reference, other):
    """Share of equal classes on the half of the images with the larger margin: rounding may turn over what is nearly a tie."""
    ordered = np.sort(reference, axis=1)
    surest = np.argsort(ordered[:, -2] - ordered[:, -1])[: max(1, len(reference) // 2)]
    return float((reference.argmax(1) == other.argmax(1))[surest].mean())


def test_the_fp32_file_is_the_float_network(walked):
    reference = _logits(walked.quantized.floating(), walked.images)
    for optimised in (False, True):
        found = export.run_onnx(walked.paths["fp32"], walked.images, optimised=optimised)
        assert sqnr(reference, found) > 80 and (reference.argmax(1) == found.argmax(1)).mean() > 0.99


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_file_as_written_computes_what_torch_simulates(walked, flavour):
    simulated = _logits(walked.quantized.simulate(flavour), walked.images)
    found = export.run_onnx(walked.paths[flavour], walked.images, optimised=False)
    assert sqnr(simulated, found) >= LEAST_DB and _agreement(simulated, found) >= LEAST_AGREEMENT


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_what_a_file_rounds_first_has_the_values_it_has_in_torch(walked, flavour):
    """Behind the image's own rounding nothing has been turned over yet, so that this finds a wrong scale, pad or zero point that
    logits forgive."""
    rounded = walked.quantized.trainable().eval()
    quant.use(rounded, flavour)
    executions = [quant.inner_sites(rounded), export.inner_sites(walked.paths[flavour], optimised=False)]
    (found,) = apart(executions, (image[None] for image in walked.images[:4]))
    first = [name for name in found if name != "input"][:2]
    assert first and all(found[name] >= 35 for name in first), {name: found[name] for name in first}


@pytest.mark.parametrize("flavour", ["ort", "ort-w7"])
def test_optimising_changes_little(walked, flavour):
    reference = export.run_onnx(walked.paths[flavour], walked.images, optimised=False)
    found = export.run_onnx(walked.paths[flavour], walked.images, optimised=True)
    assert sqnr(reference, found) >= LEAST_DB and _agreement(reference, found) >= LEAST_AGREEMENT


def test_a_batch_of_one_gives_what_a_batch_of_many_gives(walked):
    some = walked.images[:5]
    running = session(walked.paths["ort"], optimised=True)
    if isinstance(running.get_inputs()[0].shape[0], int):
        pytest.skip("this network's batch cannot be free")
    together = export.run_onnx(walked.paths["ort"], some, optimised=True)
    alone = np.concatenate([export.run_onnx(walked.paths["ort"], one[None], optimised=True) for one in some])
    assert np.array_equal(together, alone)
