"""devices: what a person needs to choose one, and a start for an own profile that works as it is but for its names."""

import json

import pytest
from click.testing import CliRunner

from edgekd.cli import main
from edgekd.targets import profile, profiles


def edgekd(*words):
    return CliRunner().invoke(main, ["devices", *words])


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path))
    return tmp_path


def test_every_device_has_a_line_and_the_last_one_says_where_own_ones_go(own):
    lines = edgekd().stdout.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == [one.name for one in profiles()]
    assert lines[-1].startswith(f"your own: {own}/*.json")
    (nano,) = [line.split("  ") for line in lines if line.startswith("jetson-nano ")]
    told = [cell.strip() for cell in nano if cell.strip()]
    assert told == ["jetson-nano", "by ssh", "maxwell 5.3", "4 GiB", "no: use fp16", "tensorrt", "8.0.1 to 8.2.1", "MAXN, 5W"]
    assert max(map(len, lines[:-1])) <= 140


def test_json_is_one_document_with_every_profile(own):
    document = json.loads(edgekd("--json").stdout)
    assert (document["schema"], document["exit_code"], document["own_folder"]) == (1, 0, str(own))
    assert document["devices"] == [one.as_json() for one in profiles()]


def test_what_show_prints_is_the_start_of_an_own_profile(own):
    shown = edgekd("show", "p3767-0005")
    copied = {**json.loads(shown.stdout), "name": "shelf", "aliases": []}
    assert shown.exit_code == 0 and copied["soc"] == "tegra234"
    (own / "shelf.json").write_text(json.dumps(copied))
    assert profile("shelf").power_rails == ("VDD_IN",)
    assert edgekd().stdout.splitlines()[-2].split()[0] == "shelf"


def test_one_device_as_a_document_has_what_every_document_has():
    document = json.loads(edgekd("show", "rtx", "--json").stdout)
    assert document == {"schema": 1, "exit_code": 0, "device": profile("rtx-desktop").as_json()}
    unknown = json.loads(edgekd("show", "no-such", "--json").stdout)
    assert unknown["exit_code"] == 2 and unknown["error"]["what"] == "unknown device"


def test_an_unknown_name_gets_the_nearest_ones():
    result = edgekd("show", "jetson-orin-nono-8gb")
    assert result.exit_code == 2 and "jetson-orin-nano-8gb" in result.stderr and not result.stdout


def test_a_damaged_own_profile_is_named(own):
    (own / "a.json").write_text('{"nam": "x"}')
    result = edgekd("--json")
    assert result.exit_code == 2 and f"{own}/a.json: nam: unknown key" in result.stderr
    assert json.loads(result.stdout)["error"]["fix"] == "did you mean 'name'?"
