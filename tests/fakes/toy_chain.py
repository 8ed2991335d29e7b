"""A chain of two toy stages in place of the real table, a recipe for it, and a way to walk it: fixtures for a conftest."""

import sys
from pathlib import Path

import pytest

from edgekd.pipeline import Control, Runner, Stage, Store, chain
from edgekd.recipe import load

RECIPE = """\
edgekd: 1
name: toy
data: {source: digits, image_size: 8}
teacher: {model: resnet18, epochs: 1}
student: {model: mobilenet_v2}
distill: {method: label, epochs: 1}
targets:
  cpu: {device: local-cpu, runtime: onnxruntime, precision: int8}
gates:
  teacher: {top1: {min: 0.8}}
  distill: {top1: {min: 0.7}}
"""


@pytest.fixture(params=[False, True], ids=["in the parent", "in the worker"])
def toy_chain(request, monkeypatch):
    """Both ways a stage can run: called in this process, or by the worker."""
    here = str(Path(__file__).parents[1] / "pipeline")  # where toy_stages.py lies
    monkeypatch.setenv("PYTHONPATH", here)
    monkeypatch.syspath_prepend(here)
    monkeypatch.delitem(sys.modules, "toy_stages", raising=False)
    torch = request.param
    stages = (
        Stage("teacher", 1, "toy_stages:first", (), ("seed", "teacher"), (), torch=torch),
        Stage("distill", 1, "toy_stages:second", ("teacher",), ("seed", "distill"), (), torch=torch),
    )
    monkeypatch.setattr(chain, "CHAIN", stages)
    monkeypatch.setattr(chain, "STAGES", {stage.name: stage for stage in stages})
    monkeypatch.setattr("edgekd.pipeline.keys.source_digest", lambda stage: "toy")
    return torch


@pytest.fixture
def walk(tmp_path, toy_chain):
    """Walk the toy recipe into tmp_path/run as ``asked`` (fields of Control); returns the Walk. ``calls`` of the returned
    function counts what really ran."""

    def run(*overrides, events=None, name="run", **asked):
        path = tmp_path / "toy.yaml"
        if not path.exists():
            path.write_text(RECIPE)
        recipe = load(path, overrides)
        listen = events.append if events is not None else lambda event: None
        return Runner(recipe, tmp_path / name, Store(tmp_path / "store"), listen, Control(**asked)).walk()

    def calls():
        path = tmp_path / "store" / "calls.txt"
        return path.read_text().split() if path.exists() else []

    run.calls = calls
    run.recipe = RECIPE
    run.folder = tmp_path
    return run
