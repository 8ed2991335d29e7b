"""What trtexec of every version printed and wrote: see tests/fixtures/NOTICE.md for what is real and what was typed anew."""

from pathlib import Path

FOLDER = Path(__file__).parents[1] / "fixtures" / "trtexec"
RETYPED = FOLDER / "retyped"
RESNET = FOLDER / "resnet18_qat_a100"
VERSIONS = ("8.2.1", "8.5.2", "8.6.2", "10.3.0", "10.13.3", "11.0.0")
LOGS = tuple(sorted(FOLDER.rglob("*.log")))
FAILED = tuple(path for path in LOGS if path.stem.endswith("_rc1"))
PASSED = tuple(path for path in LOGS if path not in FAILED)
JSON = tuple(sorted(path for path in FOLDER.rglob("*.json") if "metadata" not in path.name))


def text(name, version=None):
    """Of a file by name; with a version, of the one retyped for it: text("run.log", "8.2.1")."""
    return (RETYPED / f"{version}_{name}" if version else FOLDER / name).read_text("utf-8")


def failed_as(what):
    """The logs of one kind of failure, of all versions that have it."""
    return [path for path in FAILED if path.stem.removeprefix("err_").partition("_")[2] == f"{what}_rc1"]
