"""The set-up script on made-up devices: it looks before it touches, and does nothing twice."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy/jetson/setup.sh"
RELEASES = {
    4: "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t210ref, EABI: aarch64, DATE: Sat Feb 19 17:05:08 UTC 2022",
    5: "# R35 (release), REVISION: 4.1, GCID: 33958178, BOARD: t186ref, EABI: aarch64, DATE: Tue Aug  1 19:57:35 UTC 2023",
    6: "# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic, EABI: aarch64, DATE: Wed Jan  8 01:49:37 UTC 2025",
    7: "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64, DATE: Fri Aug 22 00:55:42 UTC 2025",
}
POWER_MODES = """
< POWER_MODEL ID=0 NAME=15W >
< POWER_MODEL ID=1 NAME=7W >
  < POWER_MODEL ID=2 NAME=MODE_10W >
< PM_CONFIG DEFAULT=0 >
"""
NOTE = 'note() { echo "$*" >>"$STATE/changes.txt"; }; root=$EDGEKD_DEVICE_ROOT'
# What the device's commands do, in terms of files below $STATE. Whoever changes something notes it.
FAKES = {
    "id": 'case $1 in -u) echo ${FAKE_UID:-0};; -un) echo root;; -nG) cat "$STATE/groups";; *) [ "$1" = ana ];; esac',
    "dpkg-query": 'for last; do :; done; version=$(sed -n "s/^$last //p" "$STATE/packages"); [ -n "$version" ] || exit 1\n'
    'case "$*" in *Status*) printf "install ok installed";; *) printf %s "$version";; esac',
    "apt-get": 'shift 2; note "apt-get $*"; [ ! -e "$STATE/no-network" ] || { echo "E: no network"; exit 100; }\n'
    'case $1 in tensorrt) echo "libnvinfer10 10.3.0.30-1+cuda12.5" >>"$STATE/packages";; libnvinfer-bin) mkdir -p'
    ' "$root/usr/src/tensorrt/bin"; cp /bin/true "$root/usr/src/tensorrt/bin/trtexec";; esac\n'
    'echo "$1 1.0" >>"$STATE/packages"',
    "getent": 'case "$1 $2" in "group render") [ ! -e "$STATE/no-render" ];;'
    ' "passwd ana") echo "ana:x:1000:1000::$STATE/home:/bin/sh";; esac',
    "usermod": 'note "usermod $*"; printf " %s" "$3" >>"$STATE/groups"',
    "nvpmodel": 'case $1 in -q) printf "NV Fan Mode:cool\\nNV Power Mode: %s\\n0\\n" "$(cat "$STATE/mode")";;'
    ' -m) note "nvpmodel $*"; [ "$2" = 1 ] && echo 7W >"$STATE/mode" || echo MODE_10W >"$STATE/mode";; esac',
    "systemctl": 'case $1 in is-enabled) [ -e "$STATE/ssh" ];; enable) note "systemctl $*"; : >"$STATE/ssh";; esac',
    "dd": 'note "dd $*"; for word; do case $word in of=*) : >"${word#of=}";; esac; done',
    "mkswap": 'note "mkswap $*"',
    "swapon": 'note "swapon $*"; echo "/swapfile-edgekd file" >>"$root/proc/swaps"',
    "df": 'printf "Filesystem 1M-blocks Used Available Capacity Mounted\\n/dev/x 50000 1 %s 1%% /\\n" "${FAKE_FREE:-20000}"',
    "python3": 'case $1 in --version) echo Python 3.10.12;; *) exit 1;; esac',
    "jetson_clocks": 'note "jetson_clocks $*"',
}  # fmt: skip


@pytest.fixture
def device(tmp_path):
    """Make a device; returns a function that runs the script there: (status, stdout, stderr, what was changed)."""
    state, root, commands = tmp_path / "state", tmp_path / "a root", tmp_path / "bin"
    for folder in (state, commands, root / "etc", root / "proc/device-tree"):
        folder.mkdir(parents=True)
    for name, text in FAKES.items():
        (commands / name).write_text(f"#!/bin/sh\n{NOTE}\n{text}\n")
        (commands / name).chmod(0o755)
    (state / "packages").write_text("nvidia-l4t-core 36.4.3-20250107174145\n")
    (state / "groups").write_text("ana sudo")
    (state / "mode").write_text("15W\n")
    (root / "etc/nv_tegra_release").write_text(RELEASES[6] + "\n")
    (root / "etc/nvpmodel.conf").write_text(POWER_MODES)
    (root / "etc/fstab").write_text("/dev/root / ext4 defaults 0 1\n")
    (root / "proc/device-tree/model").write_bytes(b"NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super\0")
    (root / "proc/meminfo").write_text("MemTotal: 7802340 kB\nSwapTotal: 3901168 kB\n")

    def run(*words, **environment):
        before = (state / "changes.txt").read_text() if (state / "changes.txt").exists() else ""
        done = subprocess.run(
            ["/bin/sh", SCRIPT, "--user", "ana", *words], capture_output=True, text=True, timeout=60, check=False,
            env={"PATH": f"{commands}:/usr/bin:/bin", "STATE": str(state), "EDGEKD_DEVICE_ROOT": str(root), **environment},
        )  # fmt: skip
        after = (state / "changes.txt").read_text() if (state / "changes.txt").exists() else ""
        return done.returncode, done.stdout, done.stderr, after[len(before) :].splitlines()

    run.state, run.root = state, root
    return run


def snapshot(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_dry_run_changes_nothing_and_says_what_apply_would_do(device):
    before = snapshot(device.root), snapshot(device.state)
    status, said, errors, changed = device("--swap-mb", "2048", "--power-mode", "7W", FAKE_UID="1000")
    assert (status, errors, changed) == (1, "", []) and (snapshot(device.root), snapshot(device.state)) == before
    would = "".join(line for line in said.splitlines() if line.startswith("would"))
    for what in ("TensorRT", "trtexec", "group video", "group render", "swap file of 2048 MB", "from 15W to 7W", "ssh server"):
        assert what in would, what
    assert said.splitlines()[-1].endswith("setup.sh --apply --user 'ana' --swap-mb '2048' --power-mode '7W'")
    assert "Nothing was changed. To do it: sudo sh" in said and "Orin Nano" in said and "L4T 36.4.3, JetPack 6" in said


def test_apply_does_it_and_a_second_time_there_is_nothing_to_do(device):
    status, said, _, changed = device("--apply", "--swap-mb", "2048", "--power-mode", "7W")
    assert status == 0 and "would" not in said
    assert changed[:4] == ["apt-get tensorrt", "apt-get libnvinfer-bin", "usermod -a -G video ana", "usermod -a -G render ana"]
    assert changed[-3:] == ["nvpmodel -m 1", "apt-get openssh-server", "systemctl enable --now ssh"]
    assert [line.split()[0] for line in changed[4:-3]] == ["dd", "mkswap", "swapon"]
    assert (device.root / "etc/fstab").read_text().count("swapfile-edgekd") == 1
    before = snapshot(device.root)
    for words in (["--apply"], []):
        status, said, _, changed = device(*words, "--swap-mb", "2048", "--power-mode", "7W")
        assert (status, changed, snapshot(device.root)) == (0, [], before) and "done" not in said and "would" not in said


def test_the_line_of_the_swap_file_is_not_joined_to_one_without_an_end(device):
    """A root file system whose line is broken does not come up again."""
    (device.root / "etc/fstab").write_text("/dev/root / ext4 defaults 0 1")
    device("--apply", "--swap-mb", "2048")
    assert (device.root / "etc/fstab").read_text() == "/dev/root / ext4 defaults 0 1\n/swapfile-edgekd none swap sw 0 0\n"


def test_a_swap_file_that_the_disk_does_not_hold_leaves_nothing(device):
    (device.state.parent / "bin/dd").write_text(
        '#!/bin/sh\nfor word; do case $word in of=*) echo half >"${word#of=}";; esac; done; exit 1\n'
    )
    status, said, _, changed = device("--apply", "--swap-mb", "2048")
    assert status == 3 and "FAILED      make a swap file of 2048 MB" in said and not list(device.root.glob("swapfile*"))
    assert "swap" not in (device.root / "etc/fstab").read_text() + str(changed)


@pytest.mark.parametrize("mode", [[], ["--power-mode", "15W"]])
def test_the_power_mode_and_the_clocks_are_never_touched_unless_a_mode_is_named(device, mode):
    changed = device("--apply", *mode)[3]
    assert not [line for line in changed if line.startswith(("nvpmodel", "jetson_clocks"))]
    assert (device.state / "mode").read_text() == "15W\n"


def test_a_mode_is_found_by_name_also_without_its_prefix_and_an_unknown_one_is_refused_with_those_there_are(device):
    assert "nvpmodel -m 2" in device("--apply", "--power-mode", "10W")[3]
    status, said, _, changed = device("--apply", "--power-mode", "MAXN")
    assert (status, changed) == (3, []) and "there are: 15W 7W MODE_10W" in said


@pytest.mark.parametrize("jetpack", RELEASES)
def test_every_jetpack_is_recognised(device, jetpack):
    (device.root / "etc/nv_tegra_release").write_text(RELEASES[jetpack] + "\n")
    if jetpack == 4:
        (device.state / "no-render").touch()
        (device.state / "packages").write_text("libnvinfer8 8.2.1-1+cuda10.2\n")
    status, said, _, _ = device()
    assert status == 1 and f"JetPack {jetpack}\n" in said
    assert ("group render" in said, "TensorRT 8.2.1-1+cuda10.2 (libnvinfer8)" in said) == ((jetpack != 4), (jetpack == 4))


def test_without_the_release_file_the_package_tells_and_without_both_it_is_no_jetson(device):
    (device.root / "etc/nv_tegra_release").unlink()
    assert "L4T 36.4.3, JetPack 6" in device()[1]
    (device.state / "packages").write_text("")
    status, said, errors, _ = device("--apply")
    assert (status, said) == (3, "") and "this is no Jetson" in errors


def test_a_step_that_fails_is_told_with_its_words_and_the_rest_goes_on(device):
    (device.state / "no-network").touch()
    status, said, _, changed = device("--apply")
    assert status == 3 and "FAILED      install TensorRT" in said and "E: no network" in said
    assert "usermod -a -G video ana" in changed


@pytest.mark.parametrize(
    ("words", "environment", "status", "said"),
    [
        (["--apply"], {"FAKE_UID": "1000"}, 2, "--apply needs root"), (["--nothing"], {}, 2, "unknown word: --nothing"),
        (["--swap-mb", "4G"], {}, 2, "whole number"), (["--power-mode"], {}, 2, "needs a value"),
        (["--user", "-x"], {}, 2, "no such user"),
        (["--user", "nobody-here"], {}, 3, "there is no user nobody-here"),
        (["--apply"], {"FAKE_FREE": "900"}, 3, "only 900 MB free"),
    ],
)  # fmt: skip
def test_what_only_a_person_can_mend_is_told(device, words, environment, status, said):
    code, out, errors, _ = device(*words, **environment)
    assert code == status and said in out + errors


def test_help_is_the_scripts_own_head():
    done = subprocess.run(["/bin/sh", SCRIPT, "--help"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and "sudo sh setup.sh --apply" in done.stdout and "set -u" not in done.stdout


def test_shellcheck_finds_nothing():
    command = shutil.which("shellcheck", path=str(Path(sys.executable).parent)) or shutil.which("shellcheck")
    if not command:
        pytest.skip("shellcheck is not installed")
    done = subprocess.run([command, "-s", "sh", SCRIPT], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
