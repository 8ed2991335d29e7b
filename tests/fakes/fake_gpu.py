"""A GPU that is none: the stand-in for CUDA's runtime, compiled here, and the stand-in for TensorRT's Python module."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
COMPILER = shutil.which("cc") or shutil.which("gcc")
NO_COMPILER = "no C compiler here (cc or gcc): the stand-in for CUDA's runtime cannot be built"
MODULE = HERE / "tensorrt_module"
VERSIONS = ("8.5.2", "8.6.1", "10.0.1", "10.3.0", "10.13.3", "10.16.0", "11.1.0")
PLACE = "usr/local/cuda/lib64/libcudart.so"


def compiled(folder: Path) -> Path:
    """The library, compiled with every warning an error."""
    library = folder / "libcudart.so"
    words = [str(COMPILER), "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    subprocess.run([*words, "-o", str(library), str(HERE / "cudart/cudart.c")], check=True, timeout=120)
    return library


class FakeGpu:
    """A device's root with the library in it, a copy of its own: nothing is shared with other tests' copies in this process."""

    def __init__(self, library: Path, folder: Path) -> None:
        self.root, self._log = folder / "device root", folder / "cuda.log"
        self.library = self.root / PLACE
        self.library.parent.mkdir(parents=True)
        shutil.copyfile(library, self.library)

    def environment(self, tensorrt: str = "10.3.0", **settings: str) -> dict[str, str]:
        """Variables for a process that shall find all this. settings: of cudart.c and the fake tensorrt module."""
        return {"EDGEKD_DEVICE_ROOT": str(self.root), "FAKE_CUDART": str(self.library), "FAKE_CUDA_LOG": str(self._log),
                "FAKE_TENSORRT_VERSION": tensorrt, **settings}  # fmt: skip

    def python(self, tensorrt: str = "10.3.0", **settings: str) -> Path:
        """An interpreter that has TensorRT installed, as a device's own one has: a virtual environment with the packages of this
        one. Its processes have the variables, wherever they were started from."""
        folder, paths = Path(tempfile.mkdtemp(prefix="python-", dir=self.root.parent)), sysconfig.get_paths()
        site = folder / Path(paths["purelib"]).relative_to(sys.prefix)
        (site / f"tensorrt-{tensorrt}.dist-info").mkdir(parents=True)
        variables = self.environment(tensorrt, **settings)
        first = f"import os, sys; os.environ.update({variables!r}); sys.dont_write_bytecode = True"
        (site / "device.pth").write_text("\n".join((first, paths["purelib"], str(MODULE), str(HERE))) + "\n")
        (folder / "bin").mkdir()
        base = Path(sys._base_executable)  # type: ignore[attr-defined]
        (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\n")
        (folder / "bin/python").symlink_to(base)
        return folder / "bin/python"

    def calls(self, name: str | None = None) -> list[str]:
        """What the library was called for, or complained of, in order; of one name alone."""
        lines = self._log.read_text().split("\n")[:-1] if self._log.exists() else []
        return [line for line in lines if name is None or line == name]

    def complaints(self) -> list[str]:
        """Cut or foreign handles, things released out of order or, as of now, not at all."""
        ctypes.CDLL(str(self.library)).fake_leaks()
        return [line for line in self.calls() if line.startswith(("no such", "never released", "released "))]
