"""What an app imports: predictions from a bundle with numpy, Pillow and onnxruntime only."""

import json
import subprocess
import sys

import numpy as np
import pytest

import edgekd.runtime

APP = """
import json, sys

UNNEEDED = ("torch", "torchvision", "onnx", "pydantic", "click", "rich", "safetensors", "jinja2", "ruamel")

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in UNNEEDED:
            raise ImportError("blocked: " + name)

sys.meta_path.insert(0, Blocked())
import edgekd.runtime
assert "numpy" not in sys.modules and "onnxruntime" not in sys.modules and "PIL" not in sys.modules
import numpy
bundle = edgekd.runtime.load(sys.argv[1])
pixels = numpy.load(sys.argv[1] + "/golden/inputs.npy")
print(json.dumps({"predictions": bundle.predict(pixels), "differences": edgekd.runtime.verify(sys.argv[1]),
                  "rooms": sorted(name for name in sys.modules if name.startswith("edgekd.") and name.count(".") == 1)}))
"""


def test_an_app_needs_no_torch_and_no_other_room(bundle):
    done = subprocess.run([sys.executable, "-c", APP, str(bundle)], capture_output=True, text=True, timeout=120, check=False)
    assert done.stderr == ""
    told = json.loads(done.stdout)
    expected = np.load(bundle / "golden/logits-ort-w7.npy").argmax(1)  # both flavours of this bundle are the same net
    assert [one["index"] for one in told["predictions"]] == expected.tolist()
    assert (told["differences"], told["rooms"]) == ([], ["edgekd.device", "edgekd.runtime"])


def test_its_public_names_are_what_it_exports():
    assert sorted(edgekd.runtime.__all__) == ["Bundle", "Problem", "load", "verify"]
    assert all(hasattr(edgekd.runtime, name) for name in edgekd.runtime.__all__)


def test_an_app_can_catch_its_problems(tmp_path):
    with pytest.raises(edgekd.runtime.Problem) as refused:
        edgekd.runtime.load(tmp_path)
    assert (refused.value.code, refused.value.exit_code) == ("input", 2)
