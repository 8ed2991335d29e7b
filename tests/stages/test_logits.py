"""Logits that take a device long come in parts, each kept: what ended midway goes on where it was, and asks for no more."""

from pathlib import Path

import numpy as np
import pytest

from edgekd import data
from edgekd.core import DeviceError
from edgekd.recipe import loads
from edgekd.stages.logits import logits_of

RECIPE = """\
edgekd: 1
name: parts
data: {source: digits, image_size: 8}
teacher: {model: resnet18, epochs: 1}
student: {model: mobilenet_v2}
distill: {method: label, epochs: 1}
targets: {cpu: {device: local-cpu, runtime: onnxruntime}}
"""


class Device:
    """Gives each image's sum and its square; the connection is lost in call ``lost_in``."""

    def __init__(self, at_a_time=100, lost_in=None):
        self.at_a_time, self.lost_in, self.asked = at_a_time, lost_in, []

    def images_a_call(self):
        return self.at_a_time

    def infer(self, model, inputs, *, optimised):
        self.asked.append(len(inputs))
        if len(self.asked) == self.lost_in:
            raise DeviceError("the connection to the device was lost")
        sums = inputs.sum(axis=(1, 2, 3), dtype=np.float32)
        return np.stack([sums, sums**2], axis=1)


@pytest.fixture(scope="module")
def images():
    return data.open_dataset(loads(RECIPE, "parts.yaml", Path()).data, root=None)


@pytest.fixture
def ask(images, tmp_path):
    """(logits, sizes of the calls that were needed)"""

    def asked(device, name="student.fp16.engine", kept=tmp_path / "a b.checkpoint"):
        said = []
        test = images.test[:250]
        return logits_of(device, tmp_path / name, test, images.preprocessing, kept=kept, say=said.append), device.asked

    return asked


def test_a_lost_connection_loses_one_part_and_the_same_command_asks_the_rest(ask):
    whole, sizes = ask(Device(at_a_time=None), kept=None)
    assert sizes == [250]
    with pytest.raises(DeviceError):
        ask(Device(lost_in=3))
    resumed, sizes = ask(Device())
    assert sizes == [50] and np.array_equal(resumed, whole)
    assert ask(Device())[1] == [] and ask(Device(), name="student.fp32.engine")[1] == [100, 100, 50]


DAMAGE = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:90]),
    "empty": lambda path: path.write_bytes(b""),
    "of fewer images": lambda path: np.save(path, np.zeros((99, 2), np.float32)),
    "not finite": lambda path: np.save(path, np.full((100, 2), np.nan, np.float32)),
    "objects": lambda path: np.save(path, np.array([{}] * 100, object), allow_pickle=True),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_part_is_asked_again(ask, tmp_path, damage):
    whole, _ = ask(Device())
    DAMAGE[damage](tmp_path / "a b.checkpoint/student.fp16.engine-100.npy")
    again, sizes = ask(Device())
    assert sizes == [100] and np.array_equal(again, whole)


def test_where_nothing_can_be_kept_the_parts_are_asked_all_the_same(ask, tmp_path):
    assert ask(Device(), kept=None)[1] == [100, 100, 50] and list(tmp_path.iterdir()) == []
