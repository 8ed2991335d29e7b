"""The sample service, run for real: what is put into its folder is answered, and it stops when it is asked to."""

import ast
import configparser
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import broken_images as zoo
import numpy as np
import pytest
from PIL import Image

from edgekd.device import load

HERE = Path(__file__).parents[2] / "deploy/systemd"
SERVICE, UNIT = HERE / "watch.py", HERE / "edgekd-classify.service"


def until(true, seconds=30.0):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@pytest.fixture
def service(bundle, tmp_path):
    """The service, running, and what it told systemd so far."""
    place, told = tmp_path / "place", []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(f"\0edgekd-test-{os.getpid()}-{tmp_path.name}")
        systemd.settimeout(30)
        environment = {**os.environ, "NOTIFY_SOCKET": "@" + systemd.getsockname()[1:].decode()}
        process = subprocess.Popen([sys.executable, "-B", SERVICE, bundle, place], env=environment,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)  # fmt: skip
        process.place, process.told = place, lambda: told.append(systemd.recv(1000).decode()) or told
        try:
            assert process.told()[0].startswith("READY=1\n")
            yield process
        finally:
            process.kill()
            process.communicate()


def put(place, name, content):
    (place / "in" / f".{name}").write_bytes(content)
    (place / "in" / f".{name}").rename(place / "in" / name)


def test_images_are_answered_as_the_loader_answers_and_moved_away(service, bundle, tmp_path):
    place = service.place
    for number, pixels in enumerate(np.load(bundle / "golden/inputs.npy")):
        Image.fromarray(pixels).save(tmp_path / f"{number} ä.png")
        put(place, f"{number} ä.png", (tmp_path / f"{number} ä.png").read_bytes())
    put(place, "broken.jpg", zoo.JPEG[:200])
    put(place, "notes.txt", b"no image")
    put(place, "x" * 230 + ".png", zoo.PNG)
    (place / "in/.half.png").write_bytes(zoo.PNG)
    (place / "in/link.png").symlink_to("/etc/passwd")
    until(lambda: len(list((place / "done").iterdir())) == 7)
    for number, best in enumerate(load(bundle).predict(sorted(tmp_path.glob("*.png")))):
        answer = json.loads((place / f"out/{number} ä.png.json").read_text())
        assert {key: answer[key] for key in ("image", "label", "index", "probability")} == {
            "image": f"{number} ä.png", "label": best["label"], "index": best["index"], "probability": best["probability"],
        }  # fmt: skip
        assert answer["milliseconds"] > 0
    assert json.loads((place / "out/broken.jpg.json").read_text())["error"].startswith("not a readable image")
    assert sorted(path.name for path in (place / "in").iterdir()) == [".half.png", "link.png", "notes.txt", "x" * 230 + ".png"]
    assert len(list((place / "out").iterdir())) == 7


def test_an_answer_that_cannot_be_written_is_told_once_and_tried_again_until_it_can(service):
    place = service.place
    (place / "out").rename(place / "away")
    (place / "out").touch()
    put(place, "a.png", zoo.PNG)
    said = service.stderr.readline()
    assert "out" in said and "Not a directory; trying again every 2 s" in said and (place / "in/a.png").exists()
    (place / "out").unlink()
    (place / "away").rename(place / "out")
    until(lambda: (place / "done/a.png").exists())
    assert "label" in json.loads((place / "out/a.png.json").read_text())
    service.send_signal(signal.SIGTERM)
    assert (service.communicate(timeout=30)[1], service.returncode) == ("", 0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_asked_to_and_keeps_the_watchdog_quiet_until_then(service, number):
    assert "WATCHDOG=1" in service.told()
    service.send_signal(number)
    out, errors = service.communicate(timeout=30)
    assert (service.returncode, errors) == (0, "") and out.startswith("ready: ")
    until(lambda: service.told()[-1] == "STOPPING=1")


def test_a_damaged_bundle_or_none_is_refused_with_the_status_that_systemd_does_not_restart(bundle, tmp_path):
    def status(*words):
        done = subprocess.run([sys.executable, "-B", SERVICE, *words], capture_output=True, text=True, timeout=60, check=False)
        assert "Traceback" not in done.stderr and done.stderr.startswith("watch.py: ")
        return done.returncode

    never = unit()["Service"]["RestartPreventExitStatus"].split()
    (tmp_path / "file").touch()
    seen = [status(), status(tmp_path / "none", tmp_path), status(bundle, tmp_path / "file")]
    (bundle / "labels.json").write_text("[]")
    seen.append(status(bundle, tmp_path))
    (bundle / "edgekd.pyz").write_bytes(zoo.flipped((bundle / "edgekd.pyz").read_bytes(), 2000))
    seen.append(status(bundle, tmp_path))
    assert seen == [2, 2, 2, 7, 7] and {"2", "5", "7"} <= set(never)


def unit():
    parser = configparser.ConfigParser(strict=True, interpolation=None)
    parser.optionxform = str
    parser.read(UNIT)
    return parser


def test_the_unit_starts_this_program_notifies_and_is_shut_in():
    service = unit()["Service"]
    words = service["ExecStart"].split()
    assert words[:3] == ["/usr/bin/python3", "-B", "/opt/edgekd/watch.py"] and len(words) == 5
    assert service["Type"] == "notify" and service["WatchdogSec"] == "60"  # only because the program notifies
    assert service["Restart"] == "on-failure" and service["User"] == "edgekd"
    for name in (
        "NoNewPrivileges",
        "ProtectHome",
        "PrivateTmp",
        "PrivateNetwork",
        "RestrictNamespaces",
        "MemoryDenyWriteExecute",
    ):
        assert service[name] == "yes", name
    assert service["ProtectSystem"] == "strict" and service["CapabilityBoundingSet"] == ""


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd-analyze is not installed")
def test_systemd_finds_no_fault_in_the_unit(tmp_path):
    text = UNIT.read_text().replace("/usr/bin/python3", sys.executable)
    (tmp_path / UNIT.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", tmp_path / UNIT.name], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_service_is_python_3_6():
    ast.parse(SERVICE.read_text(), feature_version=(3, 6))
