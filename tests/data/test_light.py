from __future__ import annotations

import subprocess
import sys

from edgekd import data

_DESCRIBE = """
import sys
from types import SimpleNamespace
from edgekd import data
section = SimpleNamespace(source="digits", path=None, image_size=8, split_seed=0, hflip=None, train_per_class=None)
data.describe(section, root=None)
assert data.open_dataset(section, root=None).test.images.shape == (359, 8, 8, 3)
assert not {"torch", "torchvision", "sklearn"} & set(sys.modules)
"""


def test_describing_and_opening_load_no_torch() -> None:
    subprocess.run([sys.executable, "-c", _DESCRIBE], check=True, timeout=60)


def test_every_public_name_exists() -> None:
    assert all(getattr(data, name) is not None for name in data.__all__)
    assert not hasattr(data, "no_such_name")
