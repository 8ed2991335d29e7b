"""A stage that trains, in several processes: torchrun starts them, one for each device, and all run the stage's function.

worker ── torchrun ── rank 0, rank 1, …      What each of them has to say at its end lies in a folder of the worker's; progress of
the node's first one comes through a pipe that is everybody's stdout. Everybody's stdin is a pipe that only the worker holds open:
whoever sees it end, ends. On several nodes the same command runs on each, and the processes meet here.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgekd.core import EdgekdError, EnvironmentProblem, Interrupted, Outcome
from edgekd.core.files import write_atomic
from edgekd.recipe import Nothing, Recipe
from edgekd.stages.context import Context
from edgekd.stages.stop import STOP

NODES = "EDGEKD_TORCHRUN"  # arguments of torchrun that say which nodes take part, and where they meet
_LOST = ("gloo", "NCCL", "Connection closed by peer", "Connection reset")  # how a process says that another one has gone


def trains(stage: str, recipe: Recipe) -> bool:
    """Does the stage of this name train, or may it?"""
    training = {
        "teacher": recipe.teacher.epochs > 0,
        "distill": not isinstance(recipe.distill, Nothing),
        "quantize": recipe.quantize.mode != "ptq",
    }
    return training.get(stage, False)


def several(entry: str, recipe: Recipe) -> bool:
    """Does the stage of this entry of the chain run in more than one process?"""
    stage = entry.removeprefix("edgekd.stages.").removesuffix(":run")
    return trains(stage, recipe) and (recipe.compute.devices > 1 or bool(os.environ.get(NODES)))


def run(request: Mapping[str, Any], devices: int, say: Callable[[Mapping[str, Any]], None]) -> Outcome:
    """Run the stage of a worker's request in ``devices`` processes on this node; returns what the first of them made.

    Raises what the first process that failed raised; EnvironmentProblem: one was killed, or none could be started; Interrupted.
    """
    where = request["entry"]
    with tempfile.TemporaryDirectory(prefix="edgekd-") as folder:
        Path(folder, "request.json").write_text(json.dumps(request))
        command = [sys.executable, "-m", "edgekd.stages.parallel", "torchrun", folder, str(devices)]
        environment = {**os.environ, "PYTHONSAFEPATH": "1"}  # the user's folder must not shadow a library
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        ) as process:
            threading.Thread(target=_let_go_after, args=(process,), daemon=True).start()
            with STOP.waits(then=process.terminate):
                for line in process.stdout or ():
                    say(json.loads(line))
                process.wait()
        started = len(list(Path(folder).glob("rank*")))
        words = [json.loads(path.read_bytes()) for path in Path(folder).glob("word*.json")]
    outcomes = [word["outcome"] for word in words if "outcome" in word and word["rank"] == 0]
    if process.returncode == 0 and outcomes:
        return Outcome.from_json(outcomes[0])
    on_another_node = process.returncode == 0 and any("interrupted" in word for word in words)
    if STOP.asked or on_another_node:
        raise Interrupted(STOP.asked or signal.SIGTERM)
    errors = sorted((word for word in words if "error" in word), key=lambda word: word["time"])
    for word in errors:
        if not word["lost"]:
            sys.stderr.write(word["traceback"] or "")
            raise EdgekdError.from_json(word["error"])
    raise _death(started, devices, where)


def _death(started: int, devices: int, where: str) -> EdgekdError:
    fix = "worker.log in the run's folder has torchrun's own words"
    if started < devices:
        seen = f"{NODES}={os.environ[NODES]}" if os.environ.get(NODES) else None
        return EnvironmentProblem("torchrun did not start the processes that train together", where=where, seen=seen, fix=fix)
    what = f"one of the {devices} processes that train together was killed, or one on another node ended"
    return EnvironmentProblem(what, where=where, fix=f"{fix}; if memory ran out, a smaller batch_size or image_size")


def _let_go_after(process: subprocess.Popen[str]) -> None:
    """When torchrun has ended, however it did, nobody has a reason to stay."""
    process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _torchrun(folder: str, devices: str) -> None:
    """The process that starts the others and watches over them; as ``torchrun`` from a shell, but it ends with its worker."""
    from torch.distributed import run as torchrun

    def watch() -> None:
        sys.stdin.read()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    nodes = shlex.split(os.environ.get(NODES, "")) or ["--standalone"]
    own = ["--nproc-per-node", devices, "--log-dir", str(Path(folder, "torchrun"))]
    torchrun.main([*own, *nodes, "--module", "edgekd.stages.parallel", "rank", folder])


def _rank(folder: Path) -> None:
    """One of the processes."""
    from edgekd.stages.worker import call_stage, context_from_json

    STOP.listen()
    threading.Thread(target=_read_until_the_worker_dies, daemon=True).start()
    told = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print
    rank = int(os.environ["LOCAL_RANK"])
    own = folder / f"rank{rank}"
    own.mkdir()

    def say(event: Mapping[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):  # the worker has died, and stdin says so too
            told.write(json.dumps(dict(event)) + "\n")

    def end(code: int, **word: Any) -> None:
        write_atomic(folder / f"word{rank}.json", json.dumps({"rank": rank, "time": time.time(), **word}))
        sys.stderr.flush()
        os._exit(code)  # without waiting for the others, who may wait for this one

    request = json.loads((folder / "request.json").read_bytes())
    context = context_from_json(request, say if rank == 0 else lambda event: None)
    try:
        _meet(context)
        outcome = call_stage(request["entry"], context if rank == 0 else replace(context, folder=own))
        _part()
    except Interrupted:
        end(0, interrupted=True)
    except EdgekdError as error:
        lost = error.code == EdgekdError.code and any(words in str(error) for words in _LOST)
        trace = traceback.format_exc() if error.code == EdgekdError.code else None
        end(1, error=error.as_json(), lost=lost, traceback=trace)
    else:
        end(0, outcome=outcome.as_json())


def _meet(context: Context) -> None:
    """Wait for the others. Raises EnvironmentProblem: a GPU for each is wanted, and there are not so many."""
    import torch
    import torch.distributed as dist

    rank, processes = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    gpus = torch.cuda.device_count() if context.recipe.compute.device != "cpu" else 0
    if 0 < gpus < processes:
        fix = f"compute.devices: {gpus}, or compute.device: cpu"
        raise EnvironmentProblem("fewer GPUs than processes", where="compute.devices", seen=f"{gpus} for {processes}", fix=fix)
    if gpus:
        torch.cuda.set_device(rank)
    dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")


def _part() -> None:
    import torch.distributed as dist

    dist.barrier()  # the store of those who meet ends with the first process; nobody still needs it
    dist.destroy_process_group()


def _read_until_the_worker_dies() -> None:
    sys.stdin.read()
    STOP.now_or_soon()


if __name__ == "__main__":
    if sys.argv[1] == "torchrun":
        _torchrun(*sys.argv[2:])
    else:
        _rank(Path(sys.argv[2]))
