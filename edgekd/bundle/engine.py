"""An engine in a bundle: what built it, on what, and of which ONNX file; for a loader that must know whether it is its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.bundle.verify import told
from edgekd.core import InputError
from edgekd.core.files import sha256_of
from edgekd.device.plan_header import check as require_plan_of


@dataclass(frozen=True)
class Engine:
    """file: as it came from the device that built it. onnx, flavour: what it was built from, which the bundle holds too.

    target: its name in the recipe; device: that of its profile. tensorrt ("10.3.0.30"), compute_capability ("8.7") and module
    ("p3767-0005"): as the device told; None: it did not, and no loader will take the engine for its own.
    """

    file: Path
    onnx: Path
    flavour: str
    target: str
    device: str
    precision: str
    tensorrt: str
    compute_capability: str | None
    module: str | None

    @property
    def path(self) -> str:
        """In the bundle."""
        return f"models/{self.target}/student.{self.precision.replace('+', '-')}.engine"

    def described(self) -> dict[str, Any]:
        """Its entry in the manifest."""
        facts = ("target", "device", "module", "precision", "flavour", "tensorrt", "compute_capability")
        hashes = {"onnx": sha256_of(self.onnx), "sha256": sha256_of(self.file)}
        return {"path": self.path, **{name: getattr(self, name) for name in facts}, **hashes}

    def check(self, beside: Collection[Path]) -> None:
        """beside: the ONNX files of the bundle. Raises InputError: what it was built from is not among them. DeviceError: the
        file is no engine, or its header names another TensorRT."""
        if self.onnx not in beside:
            raise InputError("the bundle lacks the ONNX file of an engine", where=self.path, seen=self.onnx.name)
        with told():
            require_plan_of(str(self.file), tuple(int(one) for one in self.tensorrt.split(".")))
