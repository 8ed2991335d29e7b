"""An engine is used again only if everything it depends on is the same."""

import dataclasses
import json

import pytest

from edgekd.targets.tensorrt.sidecar import Sidecar

SIDECAR = Sidecar("10.3.0.30", "8.7", "jetson-orin-nano-8gb", "ab" * 32, ("--fp16", "--skipInference"), "25W")
OTHER = {
    "tensorrt": "10.3.0.26", "compute_capability": "7.2", "module": "jetson-agx-orin-64gb", "onnx_sha256": "cd" * 32,
    "words": ("--skipInference", "--fp16"), "power_mode": None,
}  # fmt: skip


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Sidecar)])
def test_another_value_of_any_field_is_another_sidecar(field):
    assert dataclasses.replace(SIDECAR, **{field: OTHER[field]}).as_json() != SIDECAR.as_json()


def test_the_same_is_the_same_though_it_was_written_and_read():
    assert json.loads(json.dumps(SIDECAR.as_json())) == SIDECAR.as_json()
