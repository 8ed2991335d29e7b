"""A connected Jetson: its engine is built there, measured there, and in the bundle; on stand-ins for TensorRT and the GPU,
everything else real: the chain, ssh, the agent, Python's calls of TensorRT and CUDA."""

import json
import os
import subprocess

import fake_gpu
import jetson_root
import pytest
from small_chain import RECIPE, document_of, edgekd, statuses
from sshd import NAME

pytestmark = pytest.mark.skipif(not os.environ.get("EDGEKD_LONG"), reason="a whole chain, 100 s: EDGEKD_LONG=1 asks for it")
PATH = "models/jetson/student.int8-fp16.engine"


@pytest.fixture
def board(tmp_path):
    """A Jetson with TensorRT 10.3: its interpreter."""
    if fake_gpu.COMPILER is None:
        pytest.skip(fake_gpu.NO_COMPILER)
    gpu = fake_gpu.FakeGpu(fake_gpu.compiled(tmp_path), tmp_path)
    jetson_root.orin_nano_super(gpu.root)
    jetson_root.tegrastats(gpu.root)
    return gpu.python(FAKE_CUDA_CAPABILITY="87")


def test_an_engine_goes_from_the_device_into_the_bundle_and_proves_itself_there(tmp_path, sshd, board):
    (tmp_path / "small.yaml").write_text(RECIPE)
    words = ("--host", f"jetson={NAME}", "--ssh-config", sshd.config, "--set", f"targets.jetson.python={board}")
    finished = edgekd("pipeline", "small.yaml", "--smoke", "--json", *words, cwd=tmp_path)
    document = document_of(finished)
    assert finished.returncode == 4, finished.stdout + finished.stderr  # as every smoke run
    assert {statuses(document)[name] for name in ("jetson/build", "jetson/benchmark", "bundle")} == {"done"}

    run = next(
        path.parent for path in tmp_path.rglob("bundle") if (path / "manifest.json").exists() and ".store" not in path.parts
    )
    (engine,) = json.loads((run / "bundle/manifest.json").read_text())["engines"]
    assert (engine["path"], engine["tensorrt"][:6], engine["compute_capability"]) == (PATH, "10.3.0", "8.7")
    assert (run / "bundle" / PATH).read_bytes() == (run / "jetson/build/student.int8-fp16.engine").read_bytes()

    here = edgekd("bundle", "verify", run / "bundle", cwd=tmp_path)
    assert here.returncode == 0 and f"{PATH} was NOT run here" in here.stdout
    there = subprocess.run([board, run / "bundle/edgekd.pyz", "verify"], capture_output=True, text=True, timeout=60, check=False,
                           env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert (there.returncode, there.stdout) == (0, f"{run / 'bundle'}: every file and every golden case agree\n"), there.stderr
