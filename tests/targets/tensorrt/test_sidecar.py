"""An engine is used again only if everything it depends on is the same."""

import dataclasses
import hashlib
import json

import pytest

from edgekd.targets.tensorrt import Sidecar, differences

SIDECAR = Sidecar("10.3.0.30", "8.7", "jetson-orin-nano-8gb", "ab" * 32, ("--fp16", "--skipInference"), "25W")
OTHER = {
    "tensorrt": "10.3.0.26", "compute_capability": "7.2", "module": "jetson-agx-orin-64gb", "onnx_sha256": "cd" * 32,
    "words": ("--skipInference", "--fp16"), "power_mode": None,
}  # fmt: skip


@pytest.mark.parametrize("field", OTHER)
def test_another_value_of_any_field_is_another_engine_and_is_named(field):
    found = dataclasses.replace(SIDECAR, **{field: OTHER[field]})
    assert found.digest() != SIDECAR.digest()
    (told,) = differences(SIDECAR, found.as_json())
    assert told.startswith(f"{field}: ")


def test_every_field_is_tried_above():
    assert set(OTHER) == {field.name for field in dataclasses.fields(Sidecar)}


def test_the_same_is_the_same_though_it_was_written_and_read():
    found = json.loads(json.dumps(SIDECAR.as_json()))
    assert differences(SIDECAR, found) == []
    assert SIDECAR.digest() == dataclasses.replace(SIDECAR).digest()


def test_the_digest_is_that_of_the_canonical_json_any_python_writes():
    written = json.dumps(SIDECAR.as_json(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert SIDECAR.canonical() == written
    assert SIDECAR.digest() == hashlib.sha256(written.encode()).hexdigest()


def test_a_field_too_many_or_none_at_all_is_a_difference():
    assert differences(SIDECAR, {**SIDECAR.as_json(), "dla": 0}) == ["dla: 0, not None"]
    assert len(differences(SIDECAR, {})) == 7
