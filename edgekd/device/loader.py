"""What an app uses: load a bundle, predict. Numpy, Pillow and onnxruntime only; and proof that a bundle is whole and right.

A bundle is a folder: manifest.json (+ .sha256), preprocessing.json, labels.json, models/, golden/inputs.npy (uint8 [K, H, W, 3])
and golden/logits-<flavour>.npy (float32 [K, classes]). load() trusts a file only after comparing it with the manifest.
"""

import json
import math
import os
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Tuple, Union

from . import integrity, onnxrt, preprocess
from .arrays import read_array
from .probe import flavour_for
from .problem import Problem, one_line

if TYPE_CHECKING:
    import numpy

# Golden logits on another CPU: integer sums are exact, only requantisation rounds otherwise. Two executions of one quantised
# net were measured 31 dB apart or more and 98 % agreeing; float differs by summation order alone.
LEAST_AGREEMENT = 0.98
LEAST_SQNR_DB = {"int8": 25.0, "fp32": 60.0}
_MOST_IMAGES_AT_ONCE = 64


def load(path: "Union[str, os.PathLike[str]]", flavour: Optional[str] = None, threads: int = 1) -> "Bundle":
    """Open the bundle in folder ``path``. flavour: "ort", "ort-w7" or "fp32"; None picks the int8 one that suits this CPU.

    Raises Problem: "input" (no bundle there, no such flavour), "integrity" (changed files), "environment" (no onnxruntime).
    """
    folder = os.fspath(path)
    manifest = integrity.read_manifest(folder)
    return Bundle(folder, manifest, _choose(manifest, flavour), threads)


def verify(path: "Union[str, os.PathLike[str]]") -> List[str]:
    """Every difference between a bundle and what it promises, one line each; [] when it is whole and its golden cases agree.

    First all files; the golden cases of every model are run only when the files are right. Raises Problem as load() does.
    """
    return examine(path)[0]


def examine(path: "Union[str, os.PathLike[str]]") -> "Tuple[List[str], Dict[str, Dict[str, Any]]]":
    """What verify() finds, and what Bundle.golden() gave: (lines, {flavour: result}); the second is {} when files differ."""
    folder = os.fspath(path)
    manifest = integrity.read_manifest(folder)
    lines, results = integrity.differences(folder, manifest), {}
    for model in [] if lines else manifest["models"]:
        results[model["flavour"]] = Bundle(folder, manifest, model, 1).golden()
        lines += _golden_differences(model, results[model["flavour"]])
    return lines, results


class Bundle:
    """A loaded bundle. labels: list of str; flavour: which model file runs; manifest: the parsed manifest.json."""

    def __init__(self, folder, manifest, model, threads):
        self.folder, self.manifest, self.flavour = folder, manifest, model["flavour"]
        self._described = {one["path"]: one for one in manifest["files"]}
        self.preprocessing = self._json("preprocessing.json")
        self.labels = self._json("labels.json")
        if not isinstance(self.labels, list) or len(self.labels) != manifest.get("classes"):
            seen = "%d labels, %s classes" % (len(self.labels), manifest.get("classes"))
            raise Problem("integrity", "labels and classes differ", os.path.join(folder, "labels.json"), seen)
        self._session = onnxrt.open_session(self._path(model["path"]), threads)

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
        logits = onnxrt.run(self._session, preprocess.normalize(pixels, self.preprocessing))
        if logits.shape[1] != len(self.labels):
            seen = "%d logits, %d labels" % (logits.shape[1], len(self.labels))
            raise Problem("integrity", "the model does not fit the labels", self.folder, seen)
        return logits

    def golden(self) -> Dict[str, Any]:
        """Run the golden cases: {"cases": n, "agree": n with the same argmax, "sqnr_db", "max_abs"} against the stored logits.

        sqnr_db: 10 log10(sum ref^2 / sum (ref - got)^2), None when every bit is equal.
        """
        import numpy

        expected = self._array("golden/logits-%s.npy" % self.flavour)
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
        """The place of a file of the manifest, after its bytes were compared with it."""
        described = self._described.get(path)
        difference = integrity.file_difference(self.folder, described) if described else "is not in the manifest"
        if difference:
            fix = "copy the bundle again; verify names every difference"
            raise Problem("integrity", "the bundle is damaged: %s %s" % (path, difference), self.folder, fix=fix)
        return os.path.join(self.folder, *path.split("/"))

    def _json(self, path):
        with open(self._path(path), "rb") as file:
            try:
                return json.loads(file.read().decode("utf-8"))
            except ValueError as error:
                raise Problem("integrity", "not JSON", os.path.join(self.folder, path), one_line(error))

    def _array(self, path):
        return read_array(self._path(path))


def _choose(manifest, flavour):
    """The entry of manifest["models"] to run: the flavour asked for, else this CPU's int8 file, else the first one."""
    models = manifest.get("models")
    needed = {"path", "flavour", "precision"}
    if not isinstance(models, list) or not all(isinstance(one, dict) and needed <= set(one) for one in models):
        raise Problem("integrity", "the manifest describes no models", where=integrity.MANIFEST)
    by_flavour = {one["flavour"]: one for one in models}
    wanted = [flavour] if flavour else [flavour_for(onnxrt.this_identity()), "ort", "ort-w7", "fp32"]
    for name in wanted:
        if name in by_flavour:
            return by_flavour[name]
    raise Problem("input", "the bundle has no model %s" % wanted[0], seen=flavour, fix="one of: " + ", ".join(sorted(by_flavour)))


def _golden_differences(model, result):
    lines, name = [], "golden cases of %s" % model["path"]
    if result["agree"] < LEAST_AGREEMENT * result["cases"]:
        lines.append("%s: %d of %d agree" % (name, result["agree"], result["cases"]))
    least = LEAST_SQNR_DB.get(model["precision"], LEAST_SQNR_DB["int8"])
    if result["sqnr_db"] is not None and result["sqnr_db"] < least:
        lines.append("%s: SQNR %.1f dB, must be at least %g" % (name, result["sqnr_db"], least))
    return lines


def _sqnr_db(signal, noise):
    if noise == 0:
        return None
    return 10 * math.log10(signal / noise) if signal and math.isfinite(noise) else -math.inf


def _many(images):
    """A list of images from one image or an iterable of them."""
    alone = isinstance(images, (str, bytes, bytearray, os.PathLike)) or hasattr(images, "read") or hasattr(images, "getexif")
    return [images] if alone or getattr(images, "ndim", 4) < 4 else list(images)
