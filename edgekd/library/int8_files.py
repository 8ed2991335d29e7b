"""Int8Files: what ``edgekd.quantize`` gives back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekd.core import Measurement
from edgekd.core.files import make_folder, write_atomic, write_json


@dataclass(frozen=True)
class Int8Files:
    """The int8 files of a network and its float file, in memory until ``save``.

    files: ONNX content by flavour: "ort" for onnxruntime, "ort-w7" for it on x86 CPUs without VNNI, where sums of "ort" may
    saturate, "trt" for TensorRT, "fp32". sqnr_db, agreement: by int8 flavour, of the file in onnxruntime, every
    node as written, against the float network on calibration images: signal to noise of the logits, and the share of images with
    the same class. float_layers: [{"layer", "reason"}] left float on purpose. candidates: what was tried, and which was chosen.
    """

    files: Mapping[str, bytes]
    measurements: Sequence[Measurement]  # <flavour>.top1_agreement, .sqnr_db and .max_abs
    float_layers: Sequence[Mapping[str, str]]
    candidates: Sequence[Mapping[str, Any]]

    @property
    def sqnr_db(self) -> dict[str, float | None]:
        return self._values("sqnr_db")

    @property
    def agreement(self) -> dict[str, float | None]:
        return self._values("top1_agreement")

    def _values(self, name: str) -> dict[str, float | None]:
        found = [(one.name.rpartition("."), one.value) for one in self.measurements]
        return {flavour: value for (flavour, _, kind), value in found if kind == name}

    def save(self, folder: str | Path) -> dict[str, Path]:
        """Write model.<flavour>.onnx and quantization.json, which has all that stands here; gives the files' paths by flavour."""
        folder = Path(folder)
        make_folder(folder)
        paths = {flavour: folder / f"model.{flavour}.onnx" for flavour in self.files}
        for flavour, path in paths.items():
            write_atomic(path, self.files[flavour])
        write_json(folder / "quantization.json", {
            "files": {flavour: path.name for flavour, path in paths.items()},
            "measurements": [one.as_json() for one in self.measurements],
            "float_layers": list(self.float_layers),
            "candidates": list(self.candidates),
        })  # fmt: skip
        return paths

    def __str__(self) -> str:
        lines = [f"{flavour}: {db:.1f} dB, {self.agreement[flavour]:.3f} of the classes as in float"
                 for flavour, db in self.sqnr_db.items() if db is not None]  # fmt: skip
        return "\n".join([*lines, *(f"float: {one['layer']} ({one['reason']})" for one in self.float_layers)])
