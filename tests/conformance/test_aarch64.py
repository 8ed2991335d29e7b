"""What travels to a device, on an Arm processor that qemu plays: Debian's Python, the wheels that Arm boards install. Opt-in.

    EDGEKD_DOWNLOAD=1 pytest tests/conformance/test_aarch64.py      downloads some 80 MB by apt-get and pip, installs nothing

Seen with qemu 7.2: onnxruntime 1.20.1 and 1.23.2 run; 1.31.1 ends in a segmentation fault when it is imported.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import tiny_models
from PIL import Image

from edgekd.device import build_zipapp, decode, load, normalize, onnxrt

TOOLS = all(map(shutil.which, ("apt-get", "dpkg-deb")))
pytestmark = [
    pytest.mark.skipif(not os.environ.get("EDGEKD_DOWNLOAD"), reason="downloads packages: EDGEKD_DOWNLOAD=1 asks for it"),
    pytest.mark.skipif(not TOOLS, reason="not a Debian: no apt-get and dpkg-deb"),
    pytest.mark.timeout(1800),
]
WHEELS = ("numpy", "pillow", "onnxruntime==1.20.1")
# Of its own, so that the system's package lists stay as they are.
APT = """
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Install-Recommends "false";
Dir::State "{0}/state";
Dir::State::status "{0}/state/status";
Dir::Cache "{0}/cache";
"""
CPUINFO = "processor\t: 0\nFeatures\t: fp asimd aes asimdhp cpuid asimdrdm asimddp\nCPU implementer\t: 0x41\nCPU part\t: 0xd42\n"


def done(*words, **environment):
    ended = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=1200, check=False,
                           env={**os.environ, **environment})  # fmt: skip
    assert ended.returncode == 0, ended.stdout[-1000:] + ended.stderr[-2000:]
    return ended.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The command that starts an Arm Python with numpy, Pillow and onnxruntime."""
    place = tmp_path_factory.mktemp("arm")
    for folder in ("state/lists/partial", "cache/archives/partial", "root", "qemu", "site"):
        (place / folder).mkdir(parents=True)
    (place / "state/status").touch()
    (place / "apt.conf").write_text(APT.format(place))
    for words in (["update"], ["install", "-y", "--download-only", "python3", "libstdc++6", "libgomp1"]):
        done("apt-get", *words, APT_CONFIG=str(place / "apt.conf"))
    for package in (place / "cache/archives").glob("*.deb"):
        done("dpkg-deb", "-x", package, place / "root")
    subprocess.run(["apt-get", "download", "qemu-user-static"], cwd=place / "qemu", capture_output=True, timeout=600, check=True)
    done("dpkg-deb", "-x", *(place / "qemu").glob("*.deb"), place / "qemu")
    emulated = [place / "qemu/usr/bin/qemu-aarch64-static", "-L", place / "root"]
    interpreter = (place / "root/usr/bin/python3").resolve()
    version = done(*emulated, interpreter, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    platforms = [f"--platform=manylinux{one}_aarch64" for one in ("2014", "_2_17", "_2_27", "_2_28")]
    done(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", f"--python-version={version}", *platforms,
         "-d", place / "wheels", *WHEELS)  # fmt: skip
    for wheel in (place / "wheels").glob("*.whl"):
        zipfile.ZipFile(wheel).extractall(place / "site")
    return [*emulated, "-E", f"PYTHONPATH={place / 'site'}", "-E", "OMP_NUM_THREADS=1", interpreter, "-B"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """With an int8 model of weights in the full range, which sums exactly on Arm; its golden logits are those of this machine."""

    def logits_of(path, pixels):
        return onnxrt.run(onnxrt.open_session(path), normalize(pixels, tiny_models.SPEC))

    folder = tiny_models.bundle(tmp_path_factory.mktemp("bundle") / "b", logits_of)
    tiny_models.int8_model(folder / "models/tiny.ort.onnx", 127, **{"edgekd.flavour": "ort", "edgekd.weight_bits": "8"})
    np.save(folder / "golden/logits-ort.npy", logits_of(folder / "models/tiny.ort.onnx", np.load(folder / "golden/inputs.npy")))
    models = json.loads((folder / "manifest.json").read_text())["models"]
    int8 = {"path": "models/tiny.ort.onnx", "flavour": "ort", "precision": "int8", "weight_bits": 8, "for": "Arm"}
    (folder / "edgekd.pyz").write_bytes(build_zipapp())
    tiny_models.seal(folder, models=[int8, *(one for one in models if one["flavour"] == "fp32")])
    return folder


@pytest.fixture
def board(tmp_path, monkeypatch):
    """System files of an Arm board; qemu would show those of this machine."""
    (tmp_path / "root/proc/sys/kernel").mkdir(parents=True)
    (tmp_path / "root/proc/cpuinfo").write_text(CPUINFO)
    (tmp_path / "root/proc/sys/kernel/arch").write_text("aarch64\n")
    monkeypatch.setenv("EDGEKD_DEVICE_ROOT", str(tmp_path / "root"))


def test_the_agent_probes_there(python, bundle, board):
    command = [*map(str, python), str(bundle / "edgekd.pyz"), "agent", "probe", "--token", "t"]
    ended = subprocess.run(command, input='{"deadline_s": 600}\n', capture_output=True, text=True, timeout=900, check=False)
    reply = json.loads(ended.stdout.split("EDGEKD-t-BEGIN\n")[1].split("\nEDGEKD-t-END")[0])
    identity = reply["identity"]
    assert (identity["arch"], identity["cpu"]) == ("aarch64", "Arm implementer 0x41 part 0xd42") and "asimddp" in identity["isa"]
    assert {"python", "numpy", "pillow", "onnxruntime"} <= set(identity["versions"])


def test_every_byte_and_every_golden_case_of_a_bundle_agree_there(python, bundle, board):
    assert "every file and every golden case agree" in done(*python, bundle / "edgekd.pyz", "verify", bundle)


SCRIPT = """
import hashlib, json, sys
sys.path.insert(0, sys.argv[1] + "/edgekd.pyz")
from edgekd_device import decode, load, normalize
bundle = load(sys.argv[1])
hashes = [hashlib.sha256(decode(image, bundle.preprocessing).tobytes()).hexdigest() for image in sys.argv[2:]]
print(json.dumps({"flavour": bundle.flavour, "hashes": hashes, "logits": bundle.logits(sys.argv[2:]).tolist()}))
"""


def test_odd_photos_become_the_same_pixels_there_and_the_int8_model_says_the_same(python, bundle, board, tmp_path):
    random, images = np.random.default_rng(1), []
    for width, height in ((8, 8), (17, 31), (31, 17), (225, 301), (90, 200), (1, 1), (640, 480)):
        images.append(str(tmp_path / f"{width}x{height}.png"))
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(images[-1])
    there = json.loads(done(*python, "-c", SCRIPT, bundle, *images))
    here = load(bundle, "ort")
    assert there["flavour"] == "ort"
    assert there["hashes"] == [hashlib.sha256(decode(image, tiny_models.SPEC).tobytes()).hexdigest() for image in images]
    assert np.array_equal(np.array(there["logits"], np.float32), here.logits(images))  # sums of integers
