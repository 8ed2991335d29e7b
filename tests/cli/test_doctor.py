"""doctor: a table whatever is broken, here or on a device behind a real ssh, with what mends it; never a traceback."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jetson_root
import nvidia_smi
import pytest
import trtexec
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sshd import NAME

from edgekd.cli import main
from edgekd.targets.doctor import Check, here, tensorrt, there, worst_code
from edgekd.targets.doctor.shell import Told, _questions


@pytest.fixture(autouse=True)
def nothing_is_asked_here(request, monkeypatch):
    """What this machine says is another test's; starting its programs takes seconds."""
    if "really" not in request.fixturenames:
        monkeypatch.setattr(here, "_asked", lambda words: (0, ""))


@pytest.fixture
def really():
    """Ask this machine."""


def doctor(*words):
    result = CliRunner().invoke(main, ["doctor", *(str(word) for word in words)])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def looked_at(*words):
    """(exit code, document, {what: check} of the device)"""
    result = doctor(*words, "--json")
    document = json.loads(result.stdout)
    assert document["exit_code"] == result.exit_code
    return result.exit_code, document, {one["name"]: one for one in document["checks"] if one["where"] == "there"}


@pytest.fixture
def board(sshd, tmp_path):
    """A device; ``root``: below which its files are; ``ask``: doctor's words for it."""
    root = tmp_path / "root"
    root.mkdir()
    jetson_root.write(root, "/proc/meminfo", "MemTotal: 8000000 kB\nMemAvailable: 4000000 kB\n")

    def ask(python=sys.executable, **environment):
        sshd.restart(environment={**sshd.environment, "EDGEKD_DEVICE_ROOT": str(root), **environment})
        return looked_at("--host", NAME, "--ssh-config", sshd.config, "--python", python)

    return SimpleNamespace(root=root, ask=ask, sshd=sshd)


@pytest.fixture
def jetson(board):
    jetson_root.orin_nano_super(board.root)
    jetson_root.tegrastats(board.root)
    trtexec.install(board.root, "10.3")
    return board


def test_this_machine_is_looked_at_without_importing_torch(really):
    code = "import sys; from edgekd.cli import main\ntry: main(['doctor', '--json'])\nexcept SystemExit: pass\n"
    code += (
        "print(sorted({name.split('.')[0] for name in sys.modules} & {'torch', 'numpy', 'onnxruntime', 'onnx'}), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    checks = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
    assert done.stderr.splitlines()[-1] == "[]"
    assert all(checks[name]["state"] == "ok" for name in ("python", "numpy", "onnxruntime", "pillow"))
    assert {"training", "gpu", "ssh", "disk", "devices"} <= set(checks)


def test_a_package_that_is_not_installed_is_missing_with_its_command(monkeypatch):
    version = here._version
    monkeypatch.setattr(here, "_version", lambda name: None if name in ("numpy", "torch") else version(name))
    result = doctor()
    assert result.exit_code == 5 and "-m pip install numpy" in result.stdout and "pip install 'edgekd[train]'" in result.stdout
    last = result.stdout.splitlines()[-1]
    assert "needed and not there: here numpy (exit 5)" in last and "it does without here training" in last


def test_the_packages_are_those_of_the_project_file():
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    lists = {key: re.search(rf"^{key} = \[(.*?)\]", project, re.M | re.S)[1] for key in ("dependencies", "train")}
    named = {key: re.findall(r'"([a-z0-9.]+)[>=]', text) for key, text in lists.items()}
    assert sorted(named["dependencies"]) == sorted([*here._LIGHT, *here._OTHERS])
    assert sorted(named["train"]) == sorted(here._TRAINING)


def test_other_packages_that_are_missing_are_named_and_the_rest_is_told(monkeypatch):
    version = here._version
    monkeypatch.setattr(here, "_version", lambda name: None if name in ("platformdirs", "rich") else version(name))
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    monkeypatch.delenv("EDGEKD_DEVICES", raising=False)
    result = doctor()
    assert result.exit_code == 5 and "-m pip install platformdirs rich" in result.stdout and "disk" in result.stdout


def test_a_package_that_ends_the_process_that_imports_it_is_wrong_and_the_rest_is_told(really, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert here._package("numpy", "numpy").state == "wrong"
    assert "--force-reinstall numpy" in here._package("numpy", "numpy").fix


def test_a_broken_profile_of_ones_own_is_told_and_stops_nothing(tmp_path, monkeypatch):
    (tmp_path / "a.json").write_text("{")
    monkeypatch.setenv("EDGEKD_DEVICES", str(tmp_path))
    result = doctor()
    assert result.exit_code == 5 and "a.json" in result.stdout and "disk" in result.stdout


def test_training_alone_does_not_count(monkeypatch):
    monkeypatch.setattr(here, "_TRAINING", ("no-such-package",))
    assert doctor().exit_code == 0


def test_without_an_ssh_here_no_device_is_asked(monkeypatch):
    monkeypatch.setattr(here.shutil, "which", lambda name: None)
    code, document, there = looked_at("--host", "board")
    assert (code, there) == (5, {}) and "openssh-client" in json.dumps(document)
    assert doctor().exit_code == 0


def test_a_jetson_is_known_and_its_runtime_power_clocks_and_rails_told(jetson):
    code, document, there = jetson.ask()
    assert (code, document["device"], document["error"]) == (0, "jetson-orin-nano-super", None)
    assert there["tensorrt"]["seen"].startswith("10.3.0") and "driven by trtexec" in there["tensorrt"]["seen"]
    assert (
        "JetPack 6.2" in there["device"]["seen"]
        and "device: jetson-orin-nano-super, runtime: tensorrt" in there["device"]["seen"]
    )
    assert there["power mode"]["seen"] and there["clocks"]["seen"].startswith("not locked")
    assert "VDD_IN" in there["tegrastats"]["seen"] and there["memory"]["seen"] == "4,000 MB free"
    assert {"ssh", "host key", "python", "agent", "numpy", "onnxruntime", "groups", "disk"} <= set(there)


def test_how_much_its_engines_take_is_told(jetson):
    assert jetson.ask()[2]["engines"]["seen"] == "none kept yet"
    kept = jetson_root.write(jetson.sshd.home, ".cache/edgekd/engines/0a/engine.plan", "x" * 3_000_000)
    seen = jetson.ask()[2]["engines"]["seen"]
    assert kept.exists() and seen.startswith("1 kept in ~/.cache/edgekd/engines, 3 MB of at most 2,147; ")


def test_a_jetson_without_tensorrt_gets_the_command_and_the_rest_of_the_table(jetson):
    (jetson.root / "usr/src/tensorrt/bin/trtexec").unlink()
    (jetson.root / "usr/bin/dpkg-query").unlink()
    (jetson.root / "usr/bin/tegrastats").unlink()
    code, document, there = jetson.ask()
    assert code == 5 and there["tensorrt"]["state"] == "missing" and "apt-get install" in there["tensorrt"]["fix"]
    assert document["error"]["where"] == "there: tensorrt" and there["tegrastats"]["state"] == "missing"
    assert there["device"]["state"] == there["disk"]["state"] == "ok"


def test_trtexec_gone_with_its_package_left_is_told(jetson):
    (jetson.root / "usr/src/tensorrt/bin/trtexec").unlink()
    code, _, there = jetson.ask()
    assert (
        code == 5
        and "neither trtexec nor its Python module" in there["tensorrt"]["seen"]
        and "libnvinfer-bin" in there["tensorrt"]["fix"]
    )


def test_a_device_without_python_still_says_who_it_is(jetson):
    code, document, there = jetson.ask(python="/no/such/python3")
    assert code == 6 and there["python"]["state"] == "missing" and "--python" in there["python"]["fix"]
    assert document["device"] == "jetson-orin-nano-super" and document["error"]["where"] == "there: python"
    assert there["agent"]["state"] == there["tensorrt"]["state"] == "unknown" and "VDD_IN" in there["tegrastats"]["seen"]


NO_NUMPY = """#!/bin/sh
for word; do
    case $word in *'import numpy'*) echo "ModuleNotFoundError: No module named 'numpy'" >&2; exit 1 ;; esac
done
"""


def test_a_board_without_numpy_gets_the_command(board):
    python = jetson_root.write(board.root, "python", NO_NUMPY + f'exec {sys.executable} "$@"\n', 0o755)
    code, document, there = board.ask(python=str(python))
    assert code == 5 and there["numpy"]["state"] == "missing" and f"{python} -m pip install numpy" in there["numpy"]["fix"]
    assert document["device"] == "linux" and there["onnxruntime"]["state"] == there["agent"]["state"] == "ok"
    assert "tensorrt" not in there and "tegrastats" not in there


def test_a_full_disk_and_a_refusing_agent_leave_the_rest_of_the_table(board):
    file = jetson_root.write(board.root, "a file", "")
    code, _, there = board.ask(XDG_CACHE_HOME=str(file))
    assert code == 6 and there["agent"]["state"] == "wrong" and "work folder" in there["agent"]["seen"]
    assert there["python"]["state"] == there["numpy"]["state"] == there["disk"]["state"] == "ok"


@pytest.mark.parametrize("key", ["unknown", "changed"])
def test_a_host_key_is_never_accepted_and_the_way_to_is_told(board, key):
    board.sshd.know(*([board.sshd.folder / "other_key.pub"] if key == "changed" else []))
    known = (board.sshd.folder / "known_hosts").read_text()
    code, document, there = board.ask()
    assert code == 6 and there["host key"]["state"] == {"unknown": "missing", "changed": "wrong"}[key]
    assert (" true" if key == "unknown" else "ssh-keygen") in there["host key"]["fix"] and document["device"] is None
    assert (board.sshd.folder / "known_hosts").read_text() == known
    assert any(one["where"] == "here" for one in document["checks"])


def test_where_nobody_listens_the_way_to_look_is_told(board):
    board.sshd.stop()
    code, _, there = looked_at("--host", NAME, "--ssh-config", board.sshd.config)
    assert code == 6 and there["ssh"]["state"] == "wrong" and "systemctl status ssh" in there["ssh"]["fix"]


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", ""])
def test_what_is_no_host_is_bad_input(host):
    assert doctor(f"--host={host}").exit_code == 2


@pytest.mark.skipif(os.getuid() != 0, reason="whose groups are not looked at")
def test_who_may_not_use_the_gpu_is_told_the_command(jetson):
    tools = jetson.root / "tools"
    jetson_root.program(tools, "id", '#!/bin/sh\ncase "$1" in -un) echo nano;; *) echo nano sudo;; esac\n')
    jetson_root.program(tools, "getent", "#!/bin/sh\necho video:x:44:\necho render:x:104:\n")
    code, _, there = jetson.ask(PATH=f"{tools}:{os.environ['PATH']}")
    assert code == 6 and there["groups"]["fix"].startswith("there: sudo usermod -a -G video,render nano")


def test_the_exit_code_is_that_of_the_first_needed_thing():
    rows = [Check("here", "a", "missing"), Check("there", "b", "wrong", code=6), Check("there", "c", "missing", code=5)]
    assert (worst_code(rows), worst_code(rows[:1]), worst_code([])) == (6, 0, 0)


QUESTIONS = _questions("python3")
GARBAGE = st.text() | st.sampled_from(
    ["3.11.2", "MemAvailable: 99999999999999999999 kB", "/dev/x 1 2 3 4% /", "nvidia,tegra234", "\x1b[2J"]
)


@given(st.dictionaries(st.sampled_from(sorted(QUESTIONS)), st.builds(Told, st.sampled_from([0, 1, 124, 126, 127, 132]), GARBAGE)))
def test_whatever_a_device_says_there_is_a_table(told):
    checks, name = there._judged(told, {}, [there._python(told.get("python", there._NOBODY), "python3")], "python3")
    assert {"python", "numpy", "onnxruntime", "device", "memory", "disk"} <= {one.name for one in checks}
    assert all(one.state in ("ok", "missing", "wrong", "unknown") for one in checks) and (name is None or name == name.lower())


@pytest.fixture
def desktop(tmp_path, monkeypatch):
    """This machine with a GPU, as nvidia-smi tells it."""
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(tensorrt.shutil, "which", lambda name: str(tmp_path / "usr/bin" / name))
    nvidia_smi.install(tmp_path)
    return tmp_path


def here_of(document):
    return {one["name"]: one for one in document["checks"] if one["where"] == "here"}


def test_a_local_tensorrt_is_looked_at_as_one_elsewhere_is(desktop):
    trtexec.install(desktop, "10.3", capability="8.9")
    (desktop / ".cache/edgekd/engines/0a").mkdir(parents=True)
    (desktop / ".cache/edgekd/engines/0a/engine.plan").write_bytes(b"x" * 2_000_000)
    code, document, _ = looked_at()
    checks = here_of(document)
    assert code == 0 and checks["tensorrt"]["seen"].startswith("10.3.0, driven by trtexec")
    gpu = checks["tensorrt gpu"]["seen"]
    assert gpu.startswith("NVIDIA GeForce RTX 4080 SUPER, compute capability 8.9; driver 595.71")
    assert gpu.endswith("in a recipe: device: rtx-desktop, runtime: tensorrt") and "1 kept" in checks["engines"]["seen"]


def test_a_gpu_here_without_tensorrt_gets_the_command_and_fails_nothing(desktop):
    code, document, _ = looked_at()
    checks = here_of(document)
    assert code == 0 and checks["tensorrt"]["state"] == "missing" and "pip install tensorrt" in checks["tensorrt"]["fix"]
    assert not checks["tensorrt"]["needed"] and checks["tensorrt gpu"]["state"] == "ok"


def test_a_tensorrt_here_whose_gpu_nothing_tells_of_is_told(desktop):
    trtexec.install(desktop, "10.3")
    jetson_root.program(desktop, "/usr/bin/nvidia-smi", "#!/bin/sh\necho NVIDIA-SMI has failed; exit 9\n")
    checks = here_of(looked_at()[1])
    assert checks["tensorrt gpu"]["state"] == "wrong" and checks["tensorrt gpu"]["seen"] == "NVIDIA-SMI has failed"


def test_where_there_is_neither_gpu_nor_tensorrt_nothing_is_said_of_them(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(tmp_path))
    monkeypatch.setattr(tensorrt.shutil, "which", lambda name: None if name in ("nvidia-smi", "trtexec") else "/bin/true")
    assert "tensorrt" not in here_of(looked_at()[1])
