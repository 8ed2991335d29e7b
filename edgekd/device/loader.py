"""What an app uses: load a bundle, predict. Needs numpy, Pillow, and onnxruntime or the TensorRT of one of the bundle's engines.

A bundle is a folder: manifest.json (+ .sha256), preprocessing.json, labels.json, models/, golden/inputs.npy (uint8 [K, H, W, 3])
and golden/logits-<flavour>.npy (float32 [K, classes]). load() trusts a file only after comparing it with the manifest.
"""

import json
import math
import os
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Union

from . import choice, engines, integrity, onnxrt, preprocess
from .arrays import read_array, require_numpy
from .problem import Problem, one_line

if TYPE_CHECKING:
    import numpy

_MOST_IMAGES_AT_ONCE = 64


def load(path: "Union[str, os.PathLike[str]]", flavour: Optional[str] = None, threads: int = 1) -> "Bundle":
    """Open the bundle in folder ``path``. flavour: "tensorrt" (the engine built on such a machine), "ort", "ort-w7" or "fp32".

    None: the engine that fits this machine's TensorRT and GPU, else the int8 file that suits this CPU. threads: of onnxruntime.
    Raises Problem: "input" (no bundle there, no such flavour, no engine for this machine), "integrity" (changed files),
    "environment" (no runtime for anything in it, no numpy), "device" (the GPU or a runtime refuses).
    """
    folder = os.fspath(path)
    manifest = integrity.read_manifest(folder)
    require_numpy()
    engine, refused = engines.own(folder, manifest) if flavour in (None, engines.FLAVOUR) else (None, {})
    if engine is None and flavour == engines.FLAVOUR and refused:
        raise choice.no_engine(folder, refused)
    try:
        return Bundle(folder, manifest, engine or choice.chosen(manifest, flavour), threads)
    except Problem as problem:
        if problem.code != "environment" or not refused:
            raise
        raise choice.nothing_runs(folder, problem, refused)


class Bundle:
    """A loaded bundle. labels: list of str; flavour: which model file runs, "tensorrt" for any engine; path: that file's, in the
    bundle; manifest: the parsed manifest.json."""

    def __init__(self, folder, manifest, model, threads):
        self.folder, self.manifest, self.path = folder, manifest, model["path"]
        self.flavour = engines.FLAVOUR if model in engines.listed(manifest) else model["flavour"]
        self._golden = "golden/logits-%s.npy" % model["flavour"]
        self.preprocessing = self._json("preprocessing.json")
        self.labels = self._json("labels.json")
        if not isinstance(self.labels, list) or len(self.labels) != manifest.get("classes"):
            seen = "%d labels, %s classes" % (len(self.labels), manifest.get("classes"))
            raise Problem("integrity", "labels and classes differ", os.path.join(folder, "labels.json"), seen)
        self._run = _runner(self._path(self.path), self.flavour, threads)

    def predict(self, images: Any, top: int = 1) -> List[Dict[str, Any]]:
        """One prediction an image, in order: {"label", "index", "probability", "top": [{"label", "index", "probability"}, ...]}.

        images: one or an iterable of what preprocess.decode takes (paths, bytes, Pillow images, uint8 arrays [H, W, 3]).
        probability: softmax of the logits, 0..1. top: how many of the likeliest classes to list.
        Raises Problem "input" naming the image that cannot be read.
        """
        return [self._prediction(row, top) for row in self.logits(images)]

    def logits(self, images: Any) -> "numpy.ndarray":
        """float32 [N, classes] of images as in predict()."""
        import numpy

        rows, images = [], _many(images)
        for start in range(0, len(images), _MOST_IMAGES_AT_ONCE):
            part = [preprocess.decode(image, self.preprocessing) for image in images[start : start + _MOST_IMAGES_AT_ONCE]]
            rows.append(self.logits_of_pixels(numpy.stack(part)))
        return numpy.concatenate(rows) if rows else numpy.zeros((0, len(self.labels)), numpy.float32)

    def logits_of_pixels(self, pixels: "numpy.ndarray") -> "numpy.ndarray":
        """float32 [N, classes] of images already at the model's size: uint8 [N, H, W, 3]."""
        logits = self._run(preprocess.normalize(pixels, self.preprocessing))
        if logits.shape[1] != len(self.labels):
            seen = "%d logits, %d labels" % (logits.shape[1], len(self.labels))
            raise Problem("integrity", "the model does not fit the labels", self.folder, seen)
        return logits

    def golden(self) -> Dict[str, Any]:
        """Run the golden cases: {"cases": n, "agree": n with the same argmax, "sqnr_db", "max_abs"} against the stored logits.

        sqnr_db: 10 log10(sum ref^2 / sum (ref - got)^2), None when every bit is equal.
        """
        import numpy

        expected = self._array(self._golden)
        got = self.logits_of_pixels(self._array("golden/inputs.npy"))
        if expected.shape != got.shape or not len(got) or not numpy.isfinite(expected).all():
            seen = "%s expected, %s computed" % (expected.shape, got.shape)
            raise Problem("integrity", "the golden cases do not fit the model", self.folder, seen)
        reference = expected.astype(numpy.float64)
        signal, noise = float((reference**2).sum()), float(((reference - got) ** 2).sum())
        return {
            "cases": len(got),
            "agree": int((expected.argmax(1) == got.argmax(1)).sum()),
            "sqnr_db": _sqnr_db(signal, noise),
            "max_abs": float(numpy.abs(expected - got).max()),
        }

    def _prediction(self, logits, top):
        import numpy

        logits = logits.astype(numpy.float64)
        shares = numpy.exp(logits - logits.max())
        shares /= shares.sum()
        order = numpy.argsort(-shares, kind="stable")[: max(1, top)]
        best = [{"label": self.labels[i], "index": int(i), "probability": float(shares[i])} for i in order]
        return dict(best[0], top=best)

    def _path(self, path):
        return integrity.checked(self.folder, self.manifest, path)

    def _json(self, path):
        with open(self._path(path), "rb") as file:
            try:
                return json.loads(file.read().decode("utf-8"))
            except ValueError as error:
                raise Problem("integrity", "not JSON", os.path.join(self.folder, path), one_line(error))

    def _array(self, path):
        return read_array(self._path(path))


def _runner(path, flavour, threads):
    """A function that gives the logits, float32 [N, classes], of float32 [N, 3, H, W]."""
    if flavour == engines.FLAVOUR:
        return engines.opened(path)
    session = onnxrt.open_session(path, threads)
    return lambda inputs: onnxrt.run(session, inputs)


def _sqnr_db(signal, noise):
    if noise == 0:
        return None
    return 10 * math.log10(signal / noise) if signal and math.isfinite(noise) else -math.inf


def _many(images):
    """A list of images from one image or an iterable of them."""
    alone = isinstance(images, (str, bytes, bytearray, os.PathLike)) or hasattr(images, "read") or hasattr(images, "getexif")
    return [images] if alone or getattr(images, "ndim", 4) < 4 else list(images)
