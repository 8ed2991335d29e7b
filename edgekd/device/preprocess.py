"""From any image to what the model eats: the one preprocessing of the project, for training, calibration, test and app alike.

spec: {"image_size": [h, w], "resize": {"shorter": n} | {"exact": [h, w]}, "interpolation": "bilinear", "mean": [r, g, b],
"std": [r, g, b]}; mean and std for pixels in 0..1. Geometry is that of torchvision's Resize and CenterCrop on Pillow images.
Transparent pixels are laid on white, as a page shows them. Needs Pillow and numpy, imported when first used.
"""

import contextlib
import io
import os
import stat
import struct
import zlib
from typing import TYPE_CHECKING, Any, Dict

from .arrays import NO_IMAGES_FIX
from .problem import Problem, one_line

if TYPE_CHECKING:
    import numpy

MOST_PIXELS = 1 << 26  # 67 megapixels; Pillow itself only warns above 89
WHITE = (255, 255, 255, 255)
_UNDO_ORIENTATION = {2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE", 6: "ROTATE_270",
                     7: "TRANSVERSE", 8: "ROTATE_90"}  # EXIF 2.32, tag 0x0112  # fmt: skip
_ORIENTATION_TAG = 0x0112
_XMP = ("xmp", "XML:com.adobe.xmp")  # where Pillow keeps it
# What Pillow raises on broken files; its warnings too, where an app turns them into errors.
_BROKEN = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OverflowError,
           struct.error, zlib.error, Warning)  # fmt: skip


def decode(source: Any, spec: Dict[str, Any]) -> "numpy.ndarray":
    """One image, resized and cropped: uint8 [h, w, 3], RGB, C-contiguous.

    source: a path, the bytes of a file, a binary file object, a Pillow image, or a uint8 array [H, W], [H, W, 3] or [H, W, 4].
    Raises Problem "input", naming the source: missing, empty, not an image, truncated, too many pixels, an unknown colour mode.
    A flipped bit is found where the format has checksums (PNG); in others it is a picture like any.
    """
    import numpy

    size, resized_by = _geometry(spec)
    name = _name(source)
    with contextlib.ExitStack() as files:
        if isinstance(source, (str, os.PathLike)):
            source = files.enter_context(_file(source, name))
        image = _to_rgb(_upright(_opened(source, name)), name)
    pixels = _resampled(image, size, _box(image.size, size, resized_by))
    return numpy.ascontiguousarray(numpy.asarray(pixels, dtype=numpy.uint8))


def normalize(images: "numpy.ndarray", spec: Dict[str, Any]) -> "numpy.ndarray":
    """uint8 [N, H, W, 3] to float32 [N, 3, H, W], C-contiguous: (x / 255 - mean) / std, rounded once from float64.

    Raises Problem "input": another dtype or shape.
    """
    import numpy

    if getattr(images, "dtype", None) != numpy.uint8 or images.ndim != 4 or images.shape[3] != 3:
        seen = "%s %s" % (getattr(images, "dtype", type(images).__name__), getattr(images, "shape", ""))
        raise Problem("input", "images must be a uint8 array [N, H, W, 3]", seen=seen)
    mean, std = _three(spec, "mean"), _three(spec, "std")
    if min(std) <= 0:
        raise Problem("input", "std must be above 0", where="preprocessing", seen=str(std))
    levels = numpy.arange(256, dtype=numpy.float64) / 255
    out = numpy.empty((images.shape[0], 3) + images.shape[1:3], numpy.float32)
    for channel in range(3):
        table = ((levels - mean[channel]) / std[channel]).astype(numpy.float32)
        out[:, channel] = table[images[..., channel]]
    return out


def _geometry(spec):
    """(h, w) and ("shorter", n) or ("exact", (h, w)); refuses a spec that cannot be followed."""
    try:
        height, width = (int(n) for n in spec["image_size"])
        ((kind, to),) = spec["resize"].items()
        to = int(to) if kind == "shorter" else tuple(int(n) for n in to)
        interpolation = spec["interpolation"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Problem("input", "the preprocessing cannot be read", where="preprocessing", seen=one_line(repr(error)))
    least = (to, to) if kind == "shorter" else to
    if interpolation != "bilinear" or kind not in ("shorter", "exact") or len(least) != 2:
        raise Problem("input", "resize must be shorter or exact, interpolation bilinear", where="preprocessing", seen=str(spec))
    if not (0 < height <= least[0] and 0 < width <= least[1] and least[0] * least[1] <= MOST_PIXELS):
        seen = "image_size %dx%d, resize %s" % (height, width, to)
        raise Problem("input", "image_size must be positive and fit into the resized image", where="preprocessing", seen=seen)
    return (height, width), (kind, to)


def _three(spec, key):
    try:
        values = [float(value) for value in spec[key]]
    except (KeyError, TypeError, ValueError) as error:
        raise Problem("input", "%s must be three numbers" % key, where="preprocessing", seen=one_line(repr(error)))
    if len(values) != 3 or not all(abs(value) < 1e6 for value in values):
        raise Problem("input", "%s must be three finite numbers" % key, where="preprocessing", seen=str(values))
    return values


def _name(source):
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return str(getattr(source, "name", None) or getattr(source, "filename", None) or "image (%s)" % type(source).__name__)


def _file(path, name):
    """The file, open. Nothing but a plain one is: a pipe or a device could keep us waiting without end."""
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISREG(kind) or stat.S_ISDIR(kind):
            return open(path, "rb")
        why = "it is a pipe, a socket or a device"
    except OSError as error:
        why = error.strerror
    except ValueError as error:  # a NUL in the name
        why = one_line(error)
    raise Problem("input", "cannot open the image: %s" % why, where=name, fix="give the path of an image file")


def _opened(source, name):
    """A loaded Pillow image."""
    try:
        from PIL import Image
    except ImportError:
        raise Problem("environment", "Pillow is not installed", fix=NO_IMAGES_FIX)
    if hasattr(source, "__array_interface__") and not isinstance(source, Image.Image):
        return _from_array(source, name)
    try:
        image = source if isinstance(source, Image.Image) else _checked(source)
        if image.size[0] * image.size[1] > MOST_PIXELS:
            _too_large(name, "%d x %d" % image.size)
        image.load()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        _too_large(name, one_line(error))
    except _BROKEN as error:
        fix = "replace or remove the file; an image viewer will likely refuse it too"
        raise Problem("input", "not a readable image (corrupt, truncated, or no image at all)", name, one_line(error), fix)
    if not image.size[0] * image.size[1]:
        raise Problem("input", "the image has no pixels", where=name, seen="%d x %d" % image.size)
    return image


def _checked(source):
    """A Pillow image of bytes or of a binary file, not yet loaded; of a PNG, every checksum compared, which load() does not."""
    from PIL import Image

    file = io.BytesIO(source) if isinstance(source, (bytes, bytearray)) else source
    if not getattr(file, "seekable", bool)():
        file = io.BytesIO(file.read())
    image = Image.open(file)
    if image.format == "PNG":
        image.verify()  # leaves the image unusable
        image = Image.open(file)
    return image


def _too_large(name, seen):
    fix = "make it smaller first; the most is %d megapixels" % (MOST_PIXELS // 1000000)
    raise Problem("input", "the image has too many pixels", where=name, seen=seen, fix=fix)


def _from_array(array, name):
    import numpy
    from PIL import Image

    array = numpy.asarray(array)
    if array.dtype != numpy.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))) or not array.size:
        seen = "%s %s" % (array.dtype, array.shape)
        raise Problem("input", "an image array must be uint8, [H, W], [H, W, 3] or [H, W, 4]", where=name, seen=seen)
    return Image.fromarray(numpy.ascontiguousarray(array))


def _upright(image):
    """Turned as its EXIF orientation says. Unreadable EXIF is ignored, as viewers do: the pixels are whole.

    XMP is not asked, as newer releases of Pillow do where EXIF says nothing: every device would need the same release.
    """
    from PIL import Image

    aside = {name: image.info.pop(name) for name in _XMP if name in image.info}
    try:
        method = _UNDO_ORIENTATION.get(image.getexif().get(_ORIENTATION_TAG)) if hasattr(image, "getexif") else None
    except _BROKEN:
        method = None
    finally:
        image.info.update(aside)
    return image.transpose(getattr(Image, method)) if method else image


def _to_rgb(image, name):
    """Any mode to RGB: 16-bit grey is scaled by 257, transparency is laid on white, the rest as Pillow converts it."""
    import numpy
    from PIL import Image

    if image.mode == "I" or image.mode.startswith("I;16"):
        grey = numpy.asarray(image).astype(numpy.int64)
        if grey.min() < 0 or grey.max() > 65535:
            seen = "%d to %d" % (grey.min(), grey.max())
            raise Problem("input", "grey values outside 0..65535", where=name, seen=seen, fix="save it with 8 or 16 bits")
        return Image.fromarray(((grey + 128) // 257).astype(numpy.uint8)).convert("RGB")
    if image.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image).convert("RGB")
    if image.mode not in ("RGB", "RGBX", "L", "1", "P", "CMYK", "YCbCr", "HSV"):
        raise Problem("input", "this colour mode has no one meaning as RGB", name, image.mode, "save it as 8-bit RGB")
    return image.convert("RGB")


def _box(image_size, size, resized_by):
    """The part of the image, in its own pixels, that resizing and centre-cropping keeps.

    Resampling only this box gives the pixels of resize-then-crop, and cannot be made to build a huge intermediate image.
    """
    width, height = image_size
    kind, to = resized_by
    if kind == "exact":
        resized_h, resized_w = to
    elif width <= height:
        resized_h, resized_w = int(to * height / width), to
    else:
        resized_h, resized_w = to, int(to * width / height)
    top, left = int(round((resized_h - size[0]) / 2.0)), int(round((resized_w - size[1]) / 2.0))
    x, y = float(width) / resized_w, float(height) / resized_h
    return left * x, top * y, min(width, (left + size[1]) * x), min(height, (top + size[0]) * y)


def _resampled(image, size, box):
    """The box of the image at (height, width) size, antialiased: the same pixels from every version of Pillow.

    Pillow makes two passes and rounds after each. Up to 12 rows come first; 13 begins with the columns of an image that loses
    much more height than width. This asks for the order of 13 in so many words, for no device has the Pillow of its host.
    """
    from PIL import Image

    width, height = image.size
    if height > size[0] and height - size[0] > 2 * (width - size[1]):
        image = image.resize((width, size[0]), Image.BILINEAR, (0, box[1], width, box[3]))
        box = (box[0], 0, box[2], size[0])
    return image.resize((size[1], size[0]), Image.BILINEAR, box)
