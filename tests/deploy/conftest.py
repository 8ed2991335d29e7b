"""A real small bundle with its loader, and an interpreter that has three packages and nothing of edgekd."""

import subprocess
import sys
from importlib import util
from pathlib import Path

import pytest
import tiny_models

from edgekd.device import build_zipapp, normalize, onnxrt

APP = Path(__file__).parents[2] / "deploy/python/classify.py"
RUN = """
import runpy, sys
sys.path.insert(0, sys.argv[1])
sys.argv[:] = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def bundle(tmp_path):
    def logits_of(path, pixels):
        return onnxrt.run(onnxrt.open_session(path), normalize(pixels, tiny_models.SPEC))

    made = tiny_models.bundle(tmp_path / "bündle 1", logits_of)
    (made / "edgekd.pyz").write_bytes(build_zipapp())
    tiny_models.seal(made)
    return made


@pytest.fixture
def packages(tmp_path):
    """A folder that stands in for site-packages: numpy, Pillow and onnxruntime by link."""
    folder = tmp_path / "packages"
    folder.mkdir()
    for name in ("numpy", "PIL", "onnxruntime"):
        source = Path(util.find_spec(name).origin).parent
        (folder / name).symlink_to(source)
        for libraries in source.parent.glob(f"{'pillow' if name == 'PIL' else name}.libs"):
            (folder / libraries.name).symlink_to(libraries)
    return folder


@pytest.fixture
def classify(packages, tmp_path):
    """Run the app in a new, isolated interpreter without site-packages but ours."""

    def run(*words, app=APP):
        command = [sys.executable, "-I", "-S", "-c", RUN, packages, app, *words]
        return subprocess.run(list(map(str, command)), cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    return run
