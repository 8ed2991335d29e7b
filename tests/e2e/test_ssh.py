"""A device behind a real ssh, through the whole chain by the command a user types: connected later, only its own steps run."""

import sys

import pytest
from small_chain import RECIPE, document_of, edgekd, statuses
from sshd import NAME

from edgekd.report import read

BOARD = f"  board: {{device: linux, runtime: onnxruntime, precision: int8, required: when-connected, python: {sys.executable}}}\n"
OF_BOARD = ["board/preflight", "board/build", "board/benchmark"]


@pytest.fixture
def pipeline(walked, sshd):
    """Run the small recipe with the device as another target, in a run of its own and the session's store."""
    folder, _ = walked
    (folder / "board.yaml").write_text(RECIPE.replace("name: small", "name: board").replace("gates:\n", BOARD + "gates:\n"))

    def run(*words, before="", ssh=True):
        reaching = ("--host", f"board={NAME}", "--ssh-config", sshd.config) if ssh else ()
        return edgekd("pipeline", "board.yaml", *words, *reaching, cwd=folder, before=before)

    run.folder = folder / "runs/board"
    return run


def done(document):
    return [name for name, status in statuses(document).items() if status == "done"]


def test_a_device_connected_later_runs_its_own_steps_and_one_that_is_gone_stops_the_run_until_it_is_back(pipeline, sshd):
    without = document_of(pipeline("--json", ssh=False))
    assert without["verdict"] == "PASS" and without["unmeasured"] == ["jetson", "board"]
    assert {statuses(without)[name] for name in OF_BOARD} == {"skipped"}
    assert next(one for one in without["targets"] if one["name"] == "board")["why"] == (
        "no host is given: --host board=[user@]HOST"
    )

    finished = pipeline("--json")
    document = document_of(finished)
    assert (finished.returncode, document["unmeasured"]) == (0, ["jetson"]), finished.stdout + finished.stderr
    assert done(document) == [*OF_BOARD, "bundle"]
    by_target = {
        target: next(s for s in document["stages"] if (s["name"], s.get("target")) == ("benchmark", target))
        for target in ("cpu", "board")
    }
    right = [next(m["value"] for m in by_target[target]["measurements"] if m["name"] == "top1") for target in ("cpu", "board")]
    assert right[0] == right[1]
    here, there = ((pipeline.folder / target / "benchmark/logits-int8.npy").read_bytes() for target in ("cpu", "board"))
    assert here == there

    names = [path for path in pipeline.folder.rglob("*") if path.is_file() and NAME.encode() in path.read_bytes()]
    assert names == [] and "--host board=HOST --ssh-config" in document["resume"]
    assert read(pipeline.folder).verdict == "PASS"

    sshd.stop()
    gone = pipeline()
    assert gone.returncode == 6
    assert "nothing listens at the device's ssh port" in gone.stdout + gone.stderr
    assert f"--host board={NAME} --ssh-config" in gone.stdout + gone.stderr
    assert not any(NAME.encode() in path.read_bytes() for path in pipeline.folder.rglob("*.json"))

    sshd.start()
    again = document_of(pipeline("--json"))
    assert (again["exit_code"], done(again)) == (0, [])
    assert not sshd.agents()
