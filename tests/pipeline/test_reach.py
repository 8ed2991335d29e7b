"""Where devices are: asked by flag, environment or recipe; said to the person who asked, and kept nowhere."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgekd.cli import main
from edgekd.core import DeviceError, RecipeError
from edgekd.pipeline import Store, chain, make_plan, reach_of
from edgekd.pipeline.keys import Keys
from edgekd.recipe import loads

pytestmark = pytest.mark.parametrize("toy_chain", [False], indirect=True, ids=["in the parent"])
BOARD = "  board: {device: linux, runtime: onnxruntime, required: when-connected}\n"


@pytest.fixture
def command(walk, toy_chain, monkeypatch):
    """The toy chain with a step on the device, by command line."""
    stages = (*chain.CHAIN, chain.Stage("benchmark", 1, "toy_stages:timed", ("distill",), (), (), per_target=True))
    monkeypatch.setattr(chain, "CHAIN", stages)
    monkeypatch.setattr(chain, "STAGES", {stage.name: stage for stage in stages})
    monkeypatch.setattr(Keys, "_identity", asked_of)
    monkeypatch.setattr("signal.signal", lambda number, handler: None)
    monkeypatch.chdir(walk.folder)
    (walk.folder / "toy.yaml").write_text(walk.recipe.replace("gates:\n", f"{BOARD}gates:\n"))
    return lambda *words: CliRunner().invoke(main, list(words))


def asked_of(keys, target):
    """Who the device is; one at a host called gone does not answer."""
    host = keys.reach.hosts.get(target)
    if host is not None and host.name == "gone":
        by_hand = f"ssh {host.address}"
        raise DeviceError("nothing listens", where=f"{target}: connect", seen=f"{by_hand}: refused", fix=by_hand)
    return {"machine": "toy"}


def test_a_host_makes_a_target_measured_and_the_command_to_go_on_repeats_it_on_the_screen_alone(command):
    without = json.loads(command("pipeline", "toy.yaml", "--json").stdout)
    assert without["unmeasured"] == ["board"]
    words = ("--host", "board=nano@10.7.7.7:2222")
    found = json.loads(command("pipeline", "toy.yaml", "--json", *words).stdout)
    assert found["unmeasured"] == [] and found["resume"] == "edgekd pipeline toy.yaml --host board=HOST"
    by_recipe = command("pipeline", "toy.yaml", "--json", "--set", "targets.board.host=nano@10.7.7.7").stdout
    assert "targets.board.host=HOST" in json.loads(by_recipe)["resume"] and "10.7.7.7" not in by_recipe
    failed = command("pipeline", "toy.yaml", "--remeasure", "--host", "board=nano@gone")
    assert failed.exit_code == 6
    assert "--host board=nano@gone" in failed.stdout and "ssh nano@gone" in failed.stdout
    for name in ("report.json", "report.html"):
        kept = Path("runs/toy", name).read_text()
        assert "gone" not in kept and "10.7.7.7" not in kept and "HOST" in kept


def test_check_asks_a_device_whose_host_is_given_who_it_is(command):
    assert "not measured" in command("check", "toy.yaml").stdout
    assert "not measured" not in command("check", "toy.yaml", "--host", "board=here").stdout
    assert command("pipeline", "toy.yaml", "--until", "distill").exit_code == 0
    gone = command("check", "toy.yaml", "--host", "board=gone")
    assert gone.exit_code == 6


@pytest.mark.parametrize(
    "words", [("--host", "cpu=here"), ("--host", "boart=here"), ("--host", "board=-v"), ("--ssh-config", "nowhere")], ids=" ".join
)
def test_a_host_that_is_none_is_bad_input(command, words):
    for name in ("pipeline", "check"):
        assert command(name, "toy.yaml", *words).exit_code == 2


def test_a_host_of_the_recipe_is_used_and_not_written_down(command, walk):
    recipe = loads((walk.folder / "toy.yaml").read_text(), "toy.yaml", walk.folder, ["targets.board.host=nano@10.7.7.7"])
    assert str(reach_of(recipe).hosts["board"]) == "nano@10.7.7.7"
    assert "10.7.7.7" not in json.dumps(recipe.as_json())
    plan = make_plan(recipe, Store(walk.folder / "store").folder)
    assert {step.status for step in plan.steps} == {"to do"}


def test_a_host_in_the_recipe_that_is_none_is_told_with_its_line(command, walk):
    text = (walk.folder / "toy.yaml").read_text().replace("when-connected}", "when-connected, host: -oProxyCommand=x}")
    with pytest.raises(RecipeError, match="no place of a device") as refused:
        reach_of(loads(text, "toy.yaml", walk.folder))
    assert refused.value.where.startswith("toy.yaml:9:")


def test_what_a_lost_device_had_answered_is_there_for_the_next_run_until_the_step_is_done(command, monkeypatch):
    lossy = [replace(one, entry="toy_stages:timed_in_parts") if one.name == "benchmark" else one for one in chain.CHAIN]
    monkeypatch.setattr(chain, "CHAIN", tuple(lossy))
    monkeypatch.setattr(chain, "STAGES", {stage.name: stage for stage in lossy})
    words = ("pipeline", "toy.yaml", "--host", "board=here")
    assert command(*words).exit_code == 6
    (kept,) = Path("runs/.store").glob("*.checkpoint/part")
    assert kept.read_text() == "one"
    assert command(*words).exit_code == 0 and not kept.parent.exists()
