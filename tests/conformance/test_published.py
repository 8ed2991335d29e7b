"""Our calls against what NVIDIA publishes. Opt-in, since it downloads some 12 MB; nothing of it is run, imported or kept.

    EDGEKD_DOWNLOAD=1 pytest tests/conformance
    EDGEKD_TENSORRT_SOURCE=CLONE pytest tests/conformance      the tables too: a git clone of NVIDIA/TensorRT with its tags

A bindings package is a shared library without stubs: its classes, members and argument names stand in it as strings. That shows
that a name exists, not where; where, and with which arguments, comes from the source of the same version (tables.py).
"""

import ctypes
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import tables

from edgekd.device import cuda

downloads = pytest.mark.skipif(not os.environ.get("EDGEKD_DOWNLOAD"), reason="downloads packages: EDGEKD_DOWNLOAD=1 asks for it")
CLONE = os.environ.get("EDGEKD_TENSORRT_SOURCE", "")
# 8.5 and older were never published there. The last one is newer than any table: of its own major version.
BINDINGS = [
    ("tensorrt-bindings==8.6.1", "8.6.1"), ("tensorrt-cu12-bindings==10.0.1", "10.0.1"),
    ("tensorrt-cu12-bindings==10.3.0", "10.3.0"), ("tensorrt-cu12-bindings==10.13.3.9", "10.13.3"),
    ("tensorrt-cu12-bindings==10.16.1.11", "10.16.0"),
    ("tensorrt-cu12-bindings==11.1.0.106", "11.1.0"), ("tensorrt-cu12-bindings==11.4.0.106", "11.1.0"),
]  # fmt: skip
HEADERS = [
    ("nvidia-cuda-runtime-cu11==11.8.89", 11),
    ("nvidia-cuda-runtime-cu12==12.6.77", 12),
    ("nvidia-cuda-runtime==13.0.96", 13),
]
PLATFORMS = [f"--platform=manylinux{one}_x86_64" for one in ("2014", "_2_17", "_2_27", "_2_28", "_2_31", "_2_35")]


def downloaded(requirement, folder):
    """The one wheel of a package, for x86_64 and Python 3.10, by pip. A version that is not to be had fails the test."""
    words = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version=3.10"]
    done = subprocess.run(
        [*words, *PLATFORMS, "-d", str(folder), requirement], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-800:]
    (wheel,) = folder.glob("*.whl")
    return zipfile.ZipFile(wheel)


@downloads
@pytest.mark.parametrize(("requirement", "version"), BINDINGS)
def test_the_published_library_holds_every_name_we_ask_for(requirement, version, tmp_path):
    with downloaded(requirement, tmp_path) as wheel:
        library = b"\0" + wheel.read("tensorrt_bindings/tensorrt.so")
        package = wheel.read("tensorrt_bindings/__init__.py").decode()
    assert f'__version__ = "{requirement.partition("==")[2]}' in package
    classes = tables.committed(version)["classes"]
    wanted = {kind for kind, _ in ours()} | {name for kind, name in ours() if name in classes.get(kind, {})}
    wanted |= {one.rstrip("=") for kind, name in ours() for one in classes.get(kind, {}).get(name) or ()}
    # A compiler may fold a string into the tail of a longer one ("path" into "module_path"): the end is what must match.
    missing = [name for name in sorted(wanted - {"", "__init__"}) if name.encode() + b"\0" not in library]
    assert missing == [] and len(wanted) > 60


@downloads
@pytest.mark.parametrize(("requirement", "version"), [one for one in BINDINGS if one[1] in ("8.6.1", "11.1.0")])
def test_the_published_library_lacks_what_the_table_says_is_gone(requirement, version, tmp_path):
    with downloaded(requirement, tmp_path) as wheel:
        library = wheel.read("tensorrt_bindings/tensorrt.so")
    gone = {"8.6.1": ["STRONGLY_TYPED", "node_operator"], "11.1.0": ["EXPLICIT_BATCH", "int8_calibrator", "supports_model"]}[
        version
    ]
    assert [name for name in gone if b"\0" + name.encode() + b"\0" in library] == []


@downloads
@pytest.mark.parametrize(("requirement", "major"), HEADERS)
def test_cudas_header_declares_every_function_as_it_is_typed_here(requirement, major, tmp_path):
    with downloaded(requirement, tmp_path) as wheel:
        (path,) = (name for name in wheel.namelist() if name.endswith("/cuda_runtime_api.h"))
        header = re.sub(r"/\*.*?\*/|//[^\n]*", "", wheel.read(path).decode("utf-8", "replace"), flags=re.DOTALL)
    instantiate = cuda._INSTANTIATE_SINCE_12 if major >= 12 else cuda._INSTANTIATE_BEFORE_12
    for name, typed in {**cuda._ARGUMENTS, "cudaGraphInstantiate": instantiate}.items():
        declared = re.findall(rf"CUDARTAPI {name}\(([^;]*)\);", header)
        assert declared, name
        assert [kind(one) for one in declared[0].split(",")] == [size(one) for one in typed], name


def kind(parameter):
    """ "pointer", or the C type of a number: every handle type of CUDA is a pointer to something incomplete."""
    text = re.sub(r"__dv\(.*|\bconst\b", "", parameter).strip()
    if "*" in text or re.match(r"cuda(Stream|Event|Graph|GraphExec|GraphNode)_t\b", text):
        return "pointer"
    if text.startswith("enum "):
        return "int"
    words = " ".join(text.split()[:-1])
    return "64 bits" if words in ("size_t", "unsigned long long") else words  # one type to ctypes


def size(typed):
    numbers = {ctypes.c_int: "int", ctypes.c_uint: "unsigned int", ctypes.c_size_t: "64 bits", ctypes.c_ulonglong: "64 bits"}
    return numbers.get(typed, "pointer")


@pytest.mark.skipif(not CLONE, reason="EDGEKD_TENSORRT_SOURCE names a clone of NVIDIA/TensorRT")
@pytest.mark.parametrize("version", tables.TAGS)
def test_the_tables_are_what_the_source_says(version):
    assert tables.derived(Path(CLONE), version) == tables.committed(version)


def ours():
    """{(class, name)} our code asks for; collected where the default tests check them."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "device"))
    import test_tensorrt_names

    return set(test_tensorrt_names.ASKED)
