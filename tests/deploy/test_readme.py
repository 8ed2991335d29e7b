"""Every command in deploy/README.md that can run here runs here, as it is written there."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import broken_images as zoo
import build_cpp
import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "deploy/README.md").read_text()


def block(name):
    return re.search(rf"```sh {name}\n(.*?)```", README, re.DOTALL)[1]


@pytest.fixture
def place(tmp_path, bundle):
    """A folder with what the commands name."""
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "BUNDLE").symlink_to(bundle)
    (tmp_path / "photo.png").write_bytes(zoo.PNG)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python3").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (tmp_path / "bin/python3").chmod(0o755)
    return tmp_path


def shell(text, place, **environment):
    path = f"{place / 'bin'}:{os.environ['PATH']}"
    return subprocess.run(["sh", "-eu", "-c", text], cwd=place, capture_output=True, text=True, timeout=60, check=False,
                          env={**os.environ, "PATH": path, **environment})  # fmt: skip


@pytest.mark.skipif(bool(build_cpp.MISSING), reason=f"not installed: {', '.join(build_cpp.MISSING)}")
def test_the_cpp_block_configures(place):
    """The building itself is test_cpp.py's."""
    build_cpp.onnxruntime_root(place / "onnxruntime")
    done = shell(block("cpp").splitlines()[0], place)
    assert done.returncode == 0 and "back ends: onnxruntime" in done.stdout, done.stderr
    alone = shell("cmake -S deploy/cpp -B nothing -DEDGEKD_ONNXRUNTIME=OFF -DEDGEKD_TENSORRT=OFF", place)
    assert alone.returncode != 0 and "neither onnxruntime nor TensorRT is found" in " ".join(alone.stderr.split())


def test_the_service_block_answers_and_stops(place):
    words = ["sh", "-c", f"exec {block('service').strip()}"]
    environment = {**os.environ, "PATH": f"{place / 'bin'}:{os.environ['PATH']}"}
    with subprocess.Popen(words, cwd=place, env=environment, stdout=subprocess.PIPE, text=True) as service:
        assert service.stdout.readline().startswith("ready: ")
        shutil.copy(place / "photo.png", place / "place/in/.p.png")
        (place / "place/in/.p.png").rename(place / "place/in/p.png")
        for _ in range(600):
            if (place / "place/done/p.png").exists():
                break
            time.sleep(0.05)
        service.terminate()
        assert service.wait(timeout=30) == 0
    assert json.loads((place / "place/out/p.png.json").read_text())["label"]


def test_the_jetson_block_looks_only_and_says_that_this_is_no_jetson(place):
    done = shell(block("jetson"), place, EDGEKD_DEVICE_ROOT=str(place / "empty"))
    assert (done.returncode, done.stdout) == (3, "") and "no Jetson" in done.stderr


def test_every_folder_is_in_the_table_and_every_path_is_there():
    folders = {path.name for path in (ROOT / "deploy").iterdir() if path.is_dir()}
    assert set(re.findall(r"^\| `(\w+)/`", README, re.MULTILINE)) == folders
    for path in re.findall(r"deploy/[\w./-]+\w", README):
        assert (ROOT / path).exists(), path
