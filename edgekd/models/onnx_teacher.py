"""A teacher that is an ONNX file, of whatever framework: onnxruntime answers for it, and nothing of it can be trained.

The file holds data and standard operators only: no library of custom operators is ever registered, and weights in a second file
are refused. Shape suffixes in this file: B batch, C classes, H W picture, 1 3 a kept axis.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgekd.core import InputError
from edgekd.core.files import disk_problems, write_atomic
from edgekd.models.onnx_reading import REFUSALS, opened, read_whole, reason, shown

NORMALIZATION = "edgekd.normalization"  # key of the file's metadata; the value: {"mean": [r, g, b], "std": [r, g, b]}
_FLOATS = ("tensor(float)", "tensor(float16)", "tensor(double)")
_TRIED_IMAGES = 4


def adopt_onnx(
    source: Path, path: Path, *, normalization: tuple[tuple[float, float, float], tuple[float, float, float]] | None
) -> None:
    """Write ``source`` to ``path`` with what is to be done to its inputs in its metadata: (mean, std) for pixels in 0..1.

    None: it takes what the student sees. Raises InputError: no such file, one that onnxruntime refuses, weights elsewhere.
    """
    content, model = read_whole(source)
    opened(content, source, torch.device("cpu"))
    others = [entry for entry in model.metadata_props if entry.key != NORMALIZATION]
    del model.metadata_props[:]
    model.metadata_props.extend(others)
    if normalization is not None:
        mean, std = normalization
        model.metadata_props.add(key=NORMALIZATION, value=json.dumps({"mean": mean, "std": std}))
    write_atomic(path, model.SerializeToString(deterministic=True))


class OnnxTeacher(nn.Module):
    """Answers as a network does: images [B, 3, H, W] as the student sees them to logits [B, C], float32, on the images' device.

    It runs on the CPU, or on CUDA where ``device`` is one and this onnxruntime can; either way images and answers pass through
    the host. Of a file that ends in a softmax (``gives_probabilities``) the logarithms are taken, which are its logits but for a
    constant in each row.
    """

    scale: Tensor
    shift: Tensor

    def __init__(
        self,
        path: Path,
        *,
        classes: int,
        preprocessing: Mapping[str, Any],
        device: torch.device | str = "cpu",
        given: Path | None = None,
    ) -> None:
        """path: a file of ``adopt_onnx``. preprocessing: of the images it will be given: image_size, mean, std. given: what it
        was adopted from, which errors name.

        Raises InputError: not a classifier of one image input and one output [B, classes], for images of another size, answers
        that are no finite numbers.
        """
        super().__init__()
        self.given, self.classes = given or path, classes
        with disk_problems(path):
            content = path.read_bytes()
        self._session = opened(content, self.given, torch.device(device))
        self._name, self._batch = _image_input(self._session, preprocessing["image_size"], self.given)
        outputs = self._session.get_outputs()
        if len(outputs) != 1 or outputs[0].type not in _FLOATS:
            fix = "export it with the logits as its one output"
            raise InputError(
                "an ONNX teacher has one output of real numbers", where=str(self.given), seen=shown(outputs), fix=fix
            )
        own = json.loads(self._session.get_modelmeta().custom_metadata_map.get(NORMALIZATION, "{}"))
        (mean_13, std_13), (own_mean_13, own_std_13) = (
            [torch.tensor(one[key], dtype=torch.float64)[None, :, None, None] for key in ("mean", "std")]
            for one in (preprocessing, own or preprocessing)
        )
        self.register_buffer("scale", (std_13 / own_std_13).float().to(device))
        self.register_buffer("shift", ((mean_13 - own_mean_13) / own_std_13).float().to(device))
        self.gives_probabilities = False
        tried = np.random.default_rng(0).standard_normal((_TRIED_IMAGES, 3, *preprocessing["image_size"]), np.float32)
        answers_BC = self._answers(tried)
        self.gives_probabilities = bool((answers_BC >= 0).all() and np.allclose(answers_BC.sum(1), 1.0, atol=1e-2))

    def __deepcopy__(self, memo: object) -> OnnxTeacher:
        """Itself: nothing of it is ever trained, and onnxruntime copies no session."""
        return self

    def forward(self, images_B3HW: Tensor) -> Tensor:
        """Never with a gradient. Raises InputError: an answer is not finite."""
        with torch.no_grad():
            seen_B3HW = (images_B3HW.float() * self.scale + self.shift).contiguous()
        answers_BC = self._answers(seen_B3HW.cpu().numpy())
        if self.gives_probabilities:
            answers_BC = np.log(answers_BC.clip(min=np.finfo(np.float32).tiny))
        return torch.from_numpy(answers_BC).to(images_B3HW.device)

    def _answers(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """The file's own output. A fixed batch is filled up with the last image."""
        step = self._batch or len(images)
        rows = []
        for start in range(0, len(images), step):
            part = images[start : start + step]
            filled = np.concatenate([part, *[part[-1:]] * (step - len(part))])
            rows.append(self._run(filled)[: len(part)])
        answers_BC = np.concatenate(rows).astype(np.float32)
        if answers_BC.shape != (len(images), self.classes):
            seen = f"{list(answers_BC.shape)} for {len(images)} images"
            fix = "use a teacher of the same classes, in the same (sorted) order"
            what = f"an ONNX teacher answers with one row of {self.classes} numbers, one a class, an image"
            raise InputError(what, where=str(self.given), seen=seen, fix=fix)
        if not np.isfinite(answers_BC).all():
            seen = f"{int((~np.isfinite(answers_BC)).any(1).sum())} of {len(images)} rows"
            fix = "look whether teacher.normalization is what the file was trained with"
            raise InputError("the ONNX teacher's answers are not all finite numbers", where=str(self.given), seen=seen, fix=fix)
        return answers_BC

    def _run(self, images: NDArray[np.float32]) -> NDArray[Any]:
        try:
            answers: NDArray[Any] = self._session.run(None, {self._name: images})[0]
        except REFUSALS as error:
            raise InputError("onnxruntime cannot run the ONNX teacher", where=str(self.given), seen=reason(error)) from error
        return answers


def _image_input(session: onnxruntime.InferenceSession, image_size: Sequence[int], path: Path) -> tuple[str, int | None]:
    """Name of the one image input, and its batch if that is fixed."""
    inputs = session.get_inputs()
    one = inputs[0] if len(inputs) == 1 else None
    if one is None or one.type != "tensor(float)" or len(one.shape) != 4 or not _takes(one.shape[1:2], (3,)):
        fix = "export it for images of three channels, channels first, as float32"
        raise InputError("an ONNX teacher has one float32 input [N, 3, H, W]", where=str(path), seen=shown(inputs), fix=fix)
    if not _takes(one.shape[2:], image_size):
        fix = "set data.image_size to the teacher's, or export it with a free height and width"
        what = f"the ONNX teacher takes images of another size than data.image_size, {image_size[0]} × {image_size[1]}"
        raise InputError(what, where=str(path), seen=shown(inputs), fix=fix)
    return one.name, one.shape[0] if isinstance(one.shape[0], int) else None


def _takes(axes: Sequence[int | str | None], sizes: Sequence[int]) -> bool:
    """An axis without a fixed size takes any."""
    return all(not isinstance(axis, int) or axis == size for axis, size in zip(axes, sizes, strict=True))
