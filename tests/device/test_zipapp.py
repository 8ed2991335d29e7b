"""The device room travels as one file: same bytes for same sources, on any Python from 3.6 on, with nothing else installed."""

import ast
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgekd.device import archive, build_zipapp

SOURCES = sorted(Path(archive.__file__).parent.glob("*.py"))
OLD_PYTHONS = sorted(Path.home().glob(".pyenv/versions/3.[6-9].*/bin/python"))


@pytest.fixture
def zipapp(tmp_path):
    path = tmp_path / "edgekd.pyz"
    path.write_bytes(build_zipapp())
    return path


def run(command, **options):
    return subprocess.run(list(map(str, command)), capture_output=True, timeout=120, check=False, **options)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_sources_are_python_3_6(source):
    ast.parse(source.read_text(), feature_version=(3, 6))


def test_sources_and_sample_apps_use_nothing_of_python_that_came_after_3_6():
    apps = [Path(__file__).parents[2] / "deploy" / name for name in ("python/classify.py", "systemd/watch.py")]
    done = run([Path(sys.executable).with_name("vermin"), "-t=3.6-", "--violations", "--no-tips", *SOURCES, *apps])
    assert done.returncode == 0 and b"3.6" in done.stdout, done.stdout.decode()


def test_sources_import_only_the_standard_library_and_themselves_at_the_top():
    for source in SOURCES:
        for node in ast.parse(source.read_text()).body:
            if isinstance(node, ast.Import):
                names = {name.name.partition(".")[0] for name in node.names}
            else:
                names = {node.module.partition(".")[0]} if isinstance(node, ast.ImportFrom) and node.level == 0 else set()
            assert names <= sys.stdlib_module_names, source.name


def test_the_same_sources_give_the_same_bytes_also_from_within(zipapp):
    again = run([sys.executable, "-c", f"import sys; sys.path.insert(0, {str(zipapp)!r}); "
                 "from edgekd_device import build_zipapp; sys.stdout.buffer.write(build_zipapp())"])  # fmt: skip
    assert again.stdout == build_zipapp() == zipapp.read_bytes()


def test_the_archive_holds_every_module_and_no_time():
    with zipfile.ZipFile(io.BytesIO(build_zipapp())) as opened:
        assert sorted(opened.namelist()) == sorted(["__main__.py", *(f"edgekd_device/{path.name}" for path in SOURCES)])
        assert {entry.date_time for entry in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}


@pytest.mark.skipif(not OLD_PYTHONS, reason="no Python 3.6 to 3.9 below ~/.pyenv")
def test_it_probes_on_old_pythons_without_any_package(zipapp):
    for python in OLD_PYTHONS:
        done = run([python, "-I", zipapp, "agent", "probe", "--token", "t"], input=b'{"deadline_s": 60}')
        reply = json.loads(done.stdout.decode().split("EDGEKD-t-BEGIN\n")[1].split("\nEDGEKD-t-END")[0])
        assert reply["identity"]["versions"]["python"] in str(python) and done.stderr == b""


@pytest.mark.skipif(not OLD_PYTHONS, reason="no Python 3.6 to 3.9 below ~/.pyenv")
def test_without_packages_it_says_what_to_install(zipapp, bundle):
    done = run([OLD_PYTHONS[0], "-I", zipapp, "predict", "x.png", "--bundle", bundle])
    assert (done.returncode, done.stdout) == (5, b"") and b"try: apt install python3-numpy python3-pil" in done.stderr


def test_predict_beside_its_bundle(zipapp, bundle, tiny, tmp_path):
    (bundle / "edgekd.pyz").write_bytes(zipapp.read_bytes())
    tiny.seal(bundle)
    Image.fromarray(np.load(bundle / "golden/inputs.npy")[0]).save(tmp_path / "ä 1.png")
    plain = run([sys.executable, "-I", bundle / "edgekd.pyz", "predict", "ä 1.png", "--top", "2"], cwd=tmp_path)
    told = run([sys.executable, "-I", bundle / "edgekd.pyz", "predict", "ä 1.png", "--json"], cwd=tmp_path)
    (one,) = json.loads(told.stdout)["predictions"]
    assert one["image"] == "ä 1.png" and plain.stdout.decode().startswith(f"ä 1.png: {one['label']} {one['probability']:.3f}, ")
    whole = run([sys.executable, "-I", bundle / "edgekd.pyz", "verify"], cwd=tmp_path)
    assert (whole.returncode, whole.stderr) == (0, b"") and b"agree" in whole.stdout


def test_it_prints_any_label_on_a_terminal_that_knows_only_ascii(zipapp, bundle, tmp_path):
    Image.fromarray(np.load(bundle / "golden/inputs.npy")[0]).save(tmp_path / "a.png")
    command = [sys.executable, zipapp, "predict", tmp_path / "a.png", "--bundle", bundle, "--top", "4"]
    done = run(command, env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert (done.returncode, done.stderr) == (0, b"") and b"K\\xe4fer" in done.stdout


@pytest.mark.parametrize(
    ("damage", "arguments", "status", "said"),
    [
        ("", ["predict", "missing.png"], 2, "No such file"), ("", ["predict"], 2, "usage"), ("", ["nothing"], 2, "usage"),
        ("", ["predict", "x.png", "--top", "0"], 2, "at least 1"), ("labels.json", ["verify"], 7, "1 differences"),
        ("labels.json", ["predict", "x.png"], 7, "damaged"), ("manifest.json", ["verify"], 7, "sha256"),
    ],
)  # fmt: skip
def test_failures_have_words_and_a_status(zipapp, bundle, tmp_path, damage, arguments, status, said):
    (bundle / damage).write_text("[]") if damage else None
    place = {"verify": [bundle], "predict": ["--bundle", bundle]}.get(arguments[0], [])
    done = run([sys.executable, zipapp, *arguments, *place], cwd=tmp_path)
    assert done.returncode == status and said in done.stderr.decode() and "Traceback" not in done.stderr.decode()


def test_an_answer_that_cannot_be_written_is_an_error(zipapp, bundle):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, zipapp, "verify", bundle], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (5, "the answer cannot be written: No space left on device\n")


def test_a_failure_is_json_when_asked_for(zipapp, bundle, tmp_path):
    done = run([sys.executable, zipapp, "predict", "no.png", "--json", "--bundle", bundle], cwd=tmp_path)
    assert (done.returncode, json.loads(done.stdout)["error"]["code"]) == (2, "input")
