"""Walk a toy chain in child processes that are killed at their N-th file operation, for every N until one comes through; after
each death walk again with the same command. One JSON line for each N goes to stdout.

    python tests/fakes/dies_at.py FOLDER

File operations: opening to write, fsync, rename, link, unlink, mkdir, rmdir, truncate. Killed right after it opened a file, a
process leaves that file half written.
"""

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "pipeline"))  # where toy_stages.py lies

from edgekd.cli import main
from edgekd.pipeline import Stage, Store, chain, keys

RECIPE = """\
edgekd: 1
name: toy
data: {source: digits, image_size: 8}
teacher: {model: resnet18, epochs: 1}
student: {model: mobilenet_v2}
distill: {method: label, epochs: 1}
targets:
  cpu: {device: local-cpu, runtime: onnxruntime, precision: int8}
"""
STAGES = (
    Stage("teacher", 1, "toy_stages:first", (), ("seed", "teacher"), ()),
    Stage("distill", 1, "toy_stages:second", ("teacher",), ("seed", "distill"), ()),
)
OPERATIONS = {"os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.fsync"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def use_toy_chain():
    chain.CHAIN = keys.CHAIN = STAGES
    chain.STAGES = {stage.name: stage for stage in STAGES}
    keys.source_digest = lambda stage: "toy"
    os.fsync = lambda handle: sys.audit("os.fsync", handle)  # a kill loses nothing the kernel has; without it this is fast


def die_at(last: int) -> None:
    """From now on count this process's file operations, and kill it before number ``last``."""
    done, opened = 0, None

    def watch(event: str, arguments: tuple) -> None:
        nonlocal done, opened
        opens = event == "open" and bool((arguments[2] or 0) & WRITING)
        if not opens and event not in OPERATIONS:
            return
        done += 1
        if done == last:
            if opened is not None and Path(opened).is_file():
                os.truncate(opened, Path(opened).stat().st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        opened = arguments[0] if opens and isinstance(arguments[0], (str, Path)) else None

    sys.addaudithook(watch)


def walk(folder: Path, dies_at: int | None = None) -> int:
    """The exit status of one walk in a forked child; negative: the signal that ended it."""
    pid = os.fork()
    if pid == 0:
        if dies_at is not None:
            die_at(dies_at)
        os._exit(walk_here(folder))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def walk_here(folder: Path) -> int:
    os.chdir(folder)
    try:
        main(["pipeline", "toy.yaml", "--until", "distill", "--quiet", "--json"])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 1


def new_folder(place: Path, name: str) -> Path:
    folder = place / name
    folder.mkdir()
    (folder / "toy.yaml").write_text(RECIPE)
    return folder


def results(folder: Path) -> dict[str, str]:
    """sha256 of each artifact of the run."""
    run = folder / "runs/toy"
    return {str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(run.glob("*/*.txt"))}


def half_objects(folder: Path) -> list[str]:
    """Steps that look finished and are not whole."""
    store = Store(folder / "runs/.store")
    found = [path.name for path in store.folder.glob("*") if path.is_dir() and not path.name.startswith(".")]
    return [name for name in found if store.peek(name) is None]


def left_over(folder: Path) -> list[str]:
    return [
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.name.endswith(".part") or ".damaged-" in path.name
    ]


def every(place: Path) -> None:
    answers = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the documents of the walks
    use_toy_chain()
    undisturbed = new_folder(place, "undisturbed")
    code = walk_here(undisturbed)  # in this process, so that what is loaded and compiled on the way is there in all children
    expected, number, died = results(undisturbed), 0, True
    while died:
        number += 1
        folder = new_folder(place, str(number))
        died = walk(folder, dies_at=number) == -signal.SIGKILL
        line = {"n": number, "died": died, "half": half_objects(folder), "same_exit": walk(folder) == code}
        line |= {"same_bytes": results(folder) == expected, "half_after": half_objects(folder), "left_over": left_over(folder)}
        os.write(answers, json.dumps({**line, "artifacts": len(expected)}).encode() + b"\n")


if __name__ == "__main__":
    every(Path(sys.argv[1]).resolve())
