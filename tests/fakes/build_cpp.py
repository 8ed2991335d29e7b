"""Builds deploy/cpp as a user does, by cmake: against the installed wheel's onnxruntime, and a stand-in for TensorRT."""

from __future__ import annotations

import shutil
import subprocess
from importlib import util
from pathlib import Path

HERE = Path(__file__).parent / "cpp"
SOURCES = HERE.parents[2] / "deploy/cpp"
MISSING = [name for name in ("cmake", "g++") if not shutil.which(name)]
MISSING += [name for name in ("png.h", "jpeglib.h") if not (Path("/usr/include") / name).exists()]


def run(*words, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300, check=False, **options)


def onnxruntime_root(folder: Path) -> Path:
    """Laid out as onnxruntime's release archive: the wheel has the library, the header here is a stand-in."""
    (library,) = (Path(util.find_spec("onnxruntime").origin).parent / "capi").glob("libonnxruntime.so.*")
    (folder / "lib").mkdir(parents=True)
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / "lib" / name).symlink_to(library)
    (folder / "include").symlink_to(HERE / "headers/onnxruntime")
    return folder


def build(folder: Path, *settings: str) -> Path:
    """The program, with both back ends."""
    fake = folder / "libfake_tensorrt.so"
    headers = HERE / "headers/tensorrt"
    made = run("g++", "-std=c++17", "-O0", "-shared", "-fPIC", f"-I{headers}", HERE / "fake_tensorrt.cpp", "-o", fake)
    assert made.returncode == 0, made.stderr
    tensorrt = {"TENSORRT_INCLUDE": headers, "TENSORRT_LIBRARY": fake, "CUDART_INCLUDE": headers, "CUDART_LIBRARY": fake}
    given = {"ONNXRUNTIME_ROOT": onnxruntime_root(folder / "onnxruntime"), "CMAKE_BUILD_TYPE": "Debug", **tensorrt}
    words = [f"-D{name}={value}" for name, value in given.items()]
    made = run("cmake", "-S", SOURCES, "-B", folder / "build", "-DCMAKE_CXX_FLAGS=-Werror -O0 -g0", *words, *settings)
    assert made.returncode == 0, made.stderr
    made = run("cmake", "--build", folder / "build", "--parallel", "2")
    assert made.returncode == 0, made.stdout + made.stderr
    return folder / "build/edgekd-classify"


def build_check(program: Path) -> Path:
    """The small program of cpp/check.cpp, from the objects of the built one."""
    objects = [program.parent / f"CMakeFiles/edgekd-classify.dir/{name}.cpp.o" for name in
               ("bundle", "cpu", "files", "json", "plan_header", "sha256")]  # fmt: skip
    made = run("g++", "-std=c++17", "-O0", f"-I{SOURCES}", HERE / "check.cpp", *objects, "-o", program.with_name("check"))
    assert made.returncode == 0, made.stderr
    return program.with_name("check")
