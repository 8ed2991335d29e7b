"""An engine is found again only whole and only under exactly what it was built from; killed builds leave nothing that is one."""

import fcntl
import json
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgekd.device import engine_cache, engine_space
from edgekd.device.files import Files
from edgekd.device.problem import Problem

SIDECAR = {"schema": 1, "tensorrt": "10.3.0.30", "compute_capability": "8.7", "module": "p3767-0005", "power_mode": "15W",
           "onnx_sha256": "a" * 64, "words": ["--int8"]}  # fmt: skip
PLAN = b"ftrt" + bytes(60)


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "ö cache"))
    return tmp_path / "ö cache/edgekd/engines"


def built(sidecar=SIDECAR, plan=PLAN, key=1):
    with engine_cache.building(key, 1000) as folder:
        for name, content in ((engine_cache.ENGINE, plan), (engine_cache.LOG, b"log"), (engine_cache.LAYERS, b"{}")):
            Path(folder, name).write_bytes(content)
        reply = engine_cache.keep(folder, sidecar, key, 12.5, work())
    return SimpleNamespace(reply=reply, found=engine_cache.find(sidecar))


def work():
    return Files(str(Path(os.environ["XDG_CACHE_HOME"]).parent))


@pytest.mark.parametrize("key", SIDECAR)
def test_an_engine_is_found_only_when_all_of_its_sidecar_matches(key):
    built()
    assert engine_cache.find(dict(SIDECAR)) and not engine_cache.find({**SIDECAR, key: "other"})
    assert not engine_cache.find({name: value for name, value in SIDECAR.items() if name != key})


def damaged(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "a flipped bit": lambda kept: damaged(kept / "engine.plan"),
    "cut": lambda kept: (kept / "engine.plan").write_bytes(PLAN[:20]),
    "no engine": lambda kept: (kept / "engine.plan").unlink(),
    "no sidecar": lambda kept: (kept / "sidecar.json").unlink(),
    "half a sidecar": lambda kept: (kept / "sidecar.json").write_bytes((kept / "sidecar.json").read_bytes()[:30]),
    "another's sidecar": lambda kept: (kept / "sidecar.json").write_text(
        json.dumps({**json.loads((kept / "sidecar.json").read_text()), "sidecar": {}})
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_engine_is_not_found_and_gives_way_to_a_new_one(home, damage):
    built()
    (kept,) = home.glob("[0-9a-f]*")
    DAMAGES[damage](kept)
    assert engine_cache.find(SIDECAR) is None
    built(plan=PLAN + b"new")
    assert (kept / "engine.plan").read_bytes() == PLAN + b"new" and engine_cache.find(SIDECAR)


def test_the_engine_that_was_there_first_stays():
    first = built()
    assert built(plan=PLAN + b"second").found == first.found


@pytest.mark.parametrize("content", [b"", b"ftrt", b"ftrt" + bytes(28), b"not an engine" + bytes(60)])
def test_what_does_not_begin_as_a_plan_is_no_engine(tmp_path, content):
    (tmp_path / "e").write_bytes(content)
    assert not engine_cache.is_engine(str(tmp_path / "e")) and not engine_cache.is_engine(str(tmp_path / "none"))


def test_a_build_that_ends_badly_leaves_nothing(home):
    with pytest.raises(RuntimeError), engine_cache.building(1, 1000) as folder:
        Path(folder, engine_cache.ENGINE).write_bytes(PLAN)
        raise RuntimeError
    assert list(home.iterdir()) == [] and engine_cache.find(SIDECAR) is None


def test_what_a_killed_build_left_is_removed_and_what_runs_is_not(home):
    for name in ("dead", "alive"):
        (home / f".building-{name}").mkdir(parents=True)
        (home / f".building-{name}/busy").touch()
    with (home / ".building-alive/busy").open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        built()
        assert [one.name for one in home.glob(".building-*")] == [".building-alive"]


def test_the_timing_cache_goes_from_build_to_build_of_the_same_device_only():
    with engine_cache.building("orin", 1000) as folder:
        Path(folder, engine_cache.ENGINE).write_bytes(PLAN)
        Path(folder, engine_cache.TIMING).write_bytes(b"learned")
        engine_cache.keep(folder, SIDECAR, "orin", 1.0, work())
    for key, there in (("orin", True), ("thor", False)):
        with engine_cache.building(key, 1000) as folder:
            assert Path(folder, engine_cache.TIMING).exists() == there


def test_too_little_disk_is_told_before_anything_is_built(home, monkeypatch):
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_bavail=100, f_frsize=1 << 20))
    with engine_cache.building(1, 9 << 20):
        pass
    with pytest.raises(Problem, match="too little disk") as refused, engine_cache.building(1, 10 << 20):
        pass
    assert refused.value.seen == "104 MB free, 109 MB wanted" and list(home.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_told(home):
    home.parent.mkdir(parents=True)
    home.write_text("a file where the folder should be")
    with pytest.raises(Problem, match="cannot be kept here"), engine_cache.building(1, 1000):
        pass


def test_what_is_handed_over_is_a_copy(tmp_path):
    found = built().found
    handed = engine_cache.handed_over(found, Files(str(tmp_path)))
    assert handed["build_s"] == 12.5 and handed["profile"] is None and handed["log"]["bytes"] == 3
    (tmp_path / handed["engine"]["path"]).write_bytes(b"")
    assert engine_cache.find(SIDECAR) == found


def of(name):
    return {**SIDECAR, "module": name}


def kept(*names):
    return [name for name in names if engine_cache.find(of(name))]


@pytest.fixture
def room_for_three(monkeypatch):
    """What three engines and a little more take."""
    built(of("measure"))
    monkeypatch.setattr(engine_space, "MOST_BYTES", int(3.5 * engine_cache.kept_here()["bytes"]))
    for name in ("a", "b"):
        built(of(name))


def test_what_was_used_least_recently_makes_room_and_what_went_is_told(room_for_three):
    assert engine_cache.reused(of("measure"), work())["engine"]
    before = engine_cache.kept_here()
    removed = built(of("c")).reply["removed"]
    assert kept("measure", "a", "b", "c") == ["measure", "b", "c"]
    assert removed["engines"] == 1 and removed["bytes"] == pytest.approx(before["bytes"] / 3, abs=9)
    assert engine_cache.kept_here()["engines"] == 3 and engine_cache.kept_here()["bytes"] <= engine_space.MOST_BYTES


def test_while_there_is_room_nothing_goes():
    assert [built(of(name)).reply["removed"] for name in ("a", "b")] == [{"engines": 0, "bytes": 0}] * 2


def test_the_order_of_use_holds_where_the_board_forgets_the_date(room_for_three, monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    built(of("after a power cut"))
    built(of("and again"))
    assert kept("measure", "a", "b", "after a power cut", "and again") == ["b", "after a power cut", "and again"]


def test_nothing_goes_while_somebody_reads_an_engine(room_for_three, home):
    reading = os.open(home, os.O_RDONLY)
    fcntl.flock(reading, fcntl.LOCK_SH)
    builder = threading.Thread(target=built, args=(of("c"),))
    builder.start()
    builder.join(0.3)
    assert builder.is_alive() and kept("measure", "a", "b") == ["measure", "a", "b"]
    os.close(reading)
    builder.join(20)
    assert kept("measure", "a", "b", "c") == ["a", "b", "c"]


def test_the_engine_just_built_stays_however_large_it_is(monkeypatch):
    monkeypatch.setattr(engine_space, "MOST_BYTES", 10)
    assert built(of("a")).found and built(of("b")).reply["removed"]["engines"] == 1 and kept("a", "b") == ["b"]


def test_a_timing_cache_nobody_used_goes_too(monkeypatch):
    with engine_cache.building("thor", 1000) as folder:
        for name in (engine_cache.ENGINE, engine_cache.TIMING):
            Path(folder, name).write_bytes(PLAN)
        engine_cache.keep(folder, of("a"), "thor", 1.0, work())
    monkeypatch.setattr(engine_space, "MOST_BYTES", 10)
    built(of("b"))
    with engine_cache.building("thor", 1000) as folder:
        assert not Path(folder, engine_cache.TIMING).exists()
