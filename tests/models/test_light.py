from __future__ import annotations

import subprocess
import sys

from edgekd import models

_CHECK = """
import sys
from edgekd import models
models.check_model("resnet18", 0.5, where="teacher.model")
assert "mobilenet_v2" in models.known_models()
assert not {"torch", "torchvision"} & set(sys.modules)
"""


def test_a_models_name_is_checked_without_torch() -> None:
    subprocess.run([sys.executable, "-c", _CHECK], check=True, timeout=60)


def test_every_public_name_exists() -> None:
    assert all(getattr(models, name) is not None for name in models.__all__)
    assert not hasattr(models, "no_such_name")
