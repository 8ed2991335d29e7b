"""The room's face: what it exports, and what it must never import."""

import json
import subprocess
import sys

import edgekd.recipe as room
from edgekd.recipe import STAGES, json_schema
from edgekd.recipe.distill import METHODS


def test_every_public_name_exists_and_is_listed_once():
    assert all(hasattr(room, name) for name in room.__all__)
    assert len(set(room.__all__)) == len(room.__all__)


def test_reading_a_recipe_loads_no_torch_and_no_numpy(good, tmp_path):
    (tmp_path / "a.yaml").write_text(good)
    code = "import sys; from edgekd.recipe import load; load('a.yaml'); print(*sorted({m.split('.')[0] for m in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not {"torch", "torchvision", "numpy", "onnx", "onnxruntime", "click", "rich"} & set(done.stdout.split())


def test_the_json_schema_knows_every_section_and_every_metric():
    schema = json_schema()
    assert json.loads(json.dumps(schema)) == schema
    assert set(schema["properties"]) == set(room.Recipe.model_fields)
    stages = schema["properties"]["gates"]["properties"]
    assert set(stages) == set(STAGES)
    latency = stages["benchmark"]["additionalProperties"]["properties"]["latency_ms"]
    assert (list(latency["properties"]), latency["additionalProperties"]) == (["p50", "p90", "p99"], False)
    methods = schema["properties"]["distill"]["discriminator"]["mapping"]
    assert set(methods) == {*METHODS}
