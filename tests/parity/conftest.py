"""Which networks the parity suite asks: the families of tests/fakes/families.py, or a user's own.

    pytest tests/parity                                               what runs by default, in under a minute
    EDGEKD_LONG=1 pytest tests/parity                                 every family
    pytest tests/parity --model mine.onnx --images photos/val         a float ONNX file of one's own
    pytest tests/parity --model mypackage.nets:make --size 96         or a function that makes a torch network

A user's images are preprocessed as in a bundle (``--preprocessing preprocessing.json``), else as for ImageNet; without images
there are stripes and noise, on which a trained network is near no decision, so that only SQNR tells.
"""

import importlib
import os
from pathlib import Path
from types import SimpleNamespace

import families
import numpy as np
import pytest
import torch
from healthy import gratings, healthy

from edgekd import export, models, quant
from edgekd.pipeline.parity_images import images_for

torch.set_num_threads(1)

INT8 = ("ort", "ort-w7", "trt")
SIZE, FITTED, CALIBRATED, JUDGED = 32, 192, 32, 96  # pixels; images
# One of each hard case; the deeper ones and their like take minutes, and run with EDGEKD_LONG.
BY_DEFAULT = (
    "ResNet", "VGG bn", "MobileNetV2", "MobileNetV3", "ShuffleNetV2", "EfficientNet", "SqueezeNet", "GoogLeNet", "DenseNet",
    "ConvNeXt", "own",
)  # fmt: skip


def pytest_addoption(parser):
    group = parser.getgroup("parity")
    group.addoption("--model", help="a float ONNX file, or module:function of a torch network")
    group.addoption("--images", help="a folder of images for --model")
    group.addoption("--preprocessing", help="how they are made inputs: a bundle's preprocessing.json")
    group.addoption("--size", type=int, default=224, help="pixels of a torch network's input; an ONNX file says its own")


def pytest_generate_tests(metafunc):
    if "walked" in metafunc.fixturenames:
        own = metafunc.config.getoption("--model", None)
        names = [own] if own else families.FAMILIES if os.environ.get("EDGEKD_LONG") else BY_DEFAULT
        metafunc.parametrize("walked", names, indirect=True, scope="session")


@pytest.fixture(scope="session")
def exported(request, tmp_path_factory):
    """By name: a network quantized and exported; ``quantized``, ``marked``, ``paths``, ``images`` float32 [N,C,H,W] to judge."""
    made = {}

    def of(name, flavours=("fp32", *INT8), oldest_tensorrt=None):
        key = (name, flavours)
        if key not in made:
            network, calibration, judged = _asked(name, request.config)
            quantized = quant.quantize(network, calibration.split(16), INT8)
            marked = export.float_export(quantized.for_export(), quantized.image_size, judged.shape[1])
            folder = tmp_path_factory.mktemp("parity")
            paths = export.write(marked, quantized.state_dict(), quantized.sites, folder, flavours, oldest_tensorrt)
            made[key] = SimpleNamespace(quantized=quantized, marked=marked, paths=paths, images=judged.numpy())
        return made[key]

    return of


@pytest.fixture(scope="session")
def walked(request, exported):
    return exported(request.param)


def _asked(name, config):
    """The network, images to calibrate on and images to judge by."""
    if name in families.FAMILIES:
        images, labels = gratings(FITTED + JUDGED, SIZE)
        network = healthy(families.make(name), images[:FITTED], labels[:FITTED])
        return network, images[:CALIBRATED], images[FITTED:]
    network, images = _users(name, config)
    return network, images[:CALIBRATED], images[-JUDGED:]


def _users(model, config):
    """The network and its images, float32 [N,C,H,W]."""
    if model.endswith(".onnx"):
        channels, height, width = models.image_shape(Path(model))
        shape = (channels, height or config.getoption("--size"), width or config.getoption("--size"))
    else:
        shape = (3, config.getoption("--size"), config.getoption("--size"))
    folder, spec = (config.getoption(name) for name in ("--images", "--preprocessing"))
    if folder:
        given = images_for(shape, Path(folder), None, Path(spec) if spec else None)
        images = np.concatenate(list(given.some(CALIBRATED + JUDGED)))
    else:
        images = gratings(CALIBRATED + JUDGED, shape[1:])[0].numpy()[:, :1].repeat(shape[0], 1)
    if model.endswith(".onnx"):
        return models.from_onnx(Path(model), images), torch.from_numpy(images)
    module, _, function = model.partition(":")
    return getattr(importlib.import_module(module), function)().eval(), torch.from_numpy(images)
