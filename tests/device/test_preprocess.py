"""Any image becomes the same pixels everywhere, or a clear refusal that names it."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from edgekd.device import Problem, decode, normalize

SPEC = {"image_size": [4, 4], "resize": {"exact": [4, 4]}, "interpolation": "bilinear", "mean": [0.0] * 3, "std": [1.0] * 3}


def shorter(n, size):
    return {**SPEC, "image_size": size, "resize": {"shorter": n}}


def encoded(image, kind="PNG", **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def flat(mode, colour, size=(4, 4)):
    return Image.new(mode, size, colour)


def sixteen_bit_grey(value, kind="PNG"):
    return encoded(Image.fromarray(np.full((4, 4), value, np.uint16)), kind)


def palette(transparent):
    image = flat("P", 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    return encoded(image, **({"transparency": 1} if transparent else {}))


SAME_COLOUR = {
    "RGB": (encoded(flat("RGB", (10, 20, 30))), (10, 20, 30)),
    "grey": (encoded(flat("L", 77)), (77, 77, 77)),
    "one bit, white": (encoded(flat("1", 1)), (255, 255, 255)),
    "one bit, black": (encoded(flat("1", 0)), (0, 0, 0)),
    "16-bit grey, full": (sixteen_bit_grey(65535), (255, 255, 255)),
    "16-bit grey, middle": (sixteen_bit_grey(257 * 100), (100, 100, 100)),
    "16-bit grey, dark but not black": (sixteen_bit_grey(257), (1, 1, 1)),
    "16-bit grey TIFF": (sixteen_bit_grey(257 * 200, "TIFF"), (200, 200, 200)),
    "opaque RGBA": (encoded(flat("RGBA", (9, 8, 7, 255))), (9, 8, 7)),
    "invisible RGBA lies on white": (encoded(flat("RGBA", (9, 8, 7, 0))), (255, 255, 255)),
    "half transparent black": (encoded(flat("RGBA", (0, 0, 0, 128))), (127, 127, 127)),
    "grey with alpha": (encoded(flat("LA", (50, 255))), (50, 50, 50)),
    "invisible grey with alpha": (encoded(flat("LA", (50, 0))), (255, 255, 255)),
    "palette": (palette(False), (200, 100, 50)),
    "palette with a transparent colour": (palette(True), (255, 255, 255)),
    "RGB with a transparent colour": (encoded(flat("RGB", (1, 2, 3)), transparency=(1, 2, 3)), (255, 255, 255)),
    "CMYK": (encoded(flat("CMYK", (0, 0, 0, 0)), "TIFF"), (255, 255, 255)),
    "GIF": (encoded(flat("RGB", (255, 0, 0)), "GIF"), (255, 0, 0)),
    "BMP": (encoded(flat("RGB", (1, 2, 3)), "BMP"), (1, 2, 3)),
    "Pillow image": (flat("RGB", (4, 5, 6)), (4, 5, 6)),
    "file object": (io.BytesIO(encoded(flat("RGB", (4, 5, 6)))), (4, 5, 6)),
    "array": (np.full((9, 5, 3), 66, np.uint8), (66, 66, 66)),
    "grey array": (np.full((9, 5), 66, np.uint8), (66, 66, 66)),
    "array with alpha": (np.full((9, 5, 4), 255, np.uint8), (255, 255, 255)),
    "one pixel": (encoded(flat("RGB", (7, 7, 7), (1, 1))), (7, 7, 7)),
}


@pytest.mark.parametrize("name", SAME_COLOUR)
def test_every_mode_gives_the_colour_a_viewer_shows(name):
    source, colour = SAME_COLOUR[name]
    pixels = decode(source, SPEC)
    assert (pixels.dtype, pixels.shape, pixels.flags["C_CONTIGUOUS"]) == (np.uint8, (4, 4, 3), True)
    assert np.array_equal(pixels, np.broadcast_to(np.array(colour, np.uint8), (4, 4, 3)))


def png_that_claims(width, height):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def noise_jpeg():
    return encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)), "JPEG")


def broken_crc():
    content = bytearray(encoded(flat("RGB", (1, 2, 3))))
    content[content.index(b"IHDR") + 18] ^= 1
    return bytes(content)


BAD = {
    "empty": b"",
    "text": b"this is not an image at all",
    "HTML error page": b"<!DOCTYPE html><title>404</title>",
    "only a JPEG's first bytes": b"\xff\xd8\xff\xe0",
    "truncated JPEG": noise_jpeg()[:1500],
    "truncated PNG": encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)))[:600],
    "PNG without pixels": png_that_claims(4, 4),
    "PNG with a wrong checksum": broken_crc(),
    "PNG bomb, 900 megapixels": png_that_claims(30000, 30000),
    "PNG bomb, 100 megapixels": png_that_claims(10000, 10000),
    "PNG of 70 megapixels": png_that_claims(7000, 10000),
    "zip file": b"PK\x03\x04" + b"\0" * 40,
    "truncated BMP": encoded(flat("RGB", (1, 2, 3)), "BMP")[:40],
    "truncated GIF": encoded(flat("RGB", (1, 2, 3)), "GIF")[:12],
    "truncated TIFF": encoded(flat("RGB", (1, 2, 3), (64, 64)), "TIFF")[:30],
    "float TIFF": encoded(Image.fromarray(np.full((4, 4), 0.5, np.float32)), "TIFF"),
    "32-bit grey": encoded(Image.fromarray(np.full((4, 4), 1 << 20, np.int32)), "TIFF"),
    "negative grey": encoded(Image.fromarray(np.full((4, 4), -5, np.int32)), "TIFF"),
    "LAB": encoded(flat("LAB", (50, 0, 0)), "TIFF"),
    "float array": np.zeros((4, 4, 3), np.float32),
    "array of two channels": np.zeros((4, 4, 2), np.uint8),
    "batch as one image": np.zeros((2, 4, 4, 3), np.uint8),
    "array of no pixels": np.zeros((0, 4, 3), np.uint8),
    "Pillow image of no pixels": Image.new("RGB", (0, 4)),
    "nothing": None,
    "a number": 7,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_image_is_refused_in_words(name):
    with pytest.raises(Problem) as refused:
        decode(BAD[name], SPEC)
    assert refused.value.code == "input" and refused.value.where and "\n" not in refused.value.what


@pytest.mark.parametrize("content", [b"", b"no image"])
def test_the_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "Bild ä 1.jpg"
    path.write_bytes(content)
    with pytest.raises(Problem, match="not a readable image") as refused:
        decode(path, SPEC)
    assert refused.value.where == str(path)


@pytest.mark.parametrize(("path", "said"), [("missing.png", "No such file"), (".", "Is a directory")])
def test_a_path_that_is_no_file_is_named(tmp_path, path, said):
    with pytest.raises(Problem, match=said) as refused:
        decode(str(tmp_path / path), SPEC)
    assert refused.value.where == str(tmp_path / path)


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_bytes_give_pixels_or_a_problem(content):
    try:
        assert decode(content, SPEC).shape == (4, 4, 3)
    except Problem as problem:
        assert problem.code == "input"


@given(st.integers(0, 3000), st.integers(0, 255))
@settings(max_examples=80, deadline=None)
def test_a_flipped_byte_gives_pixels_or_a_problem(place, value):
    content = bytearray(noise_jpeg())
    content[place % len(content)] = value
    try:
        assert decode(bytes(content), SPEC).shape == (4, 4, 3)
    except Problem as problem:
        assert problem.code == "input"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_undone(orientation):
    picture = Image.fromarray(np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3) * 5)
    stored = {1: [], 2: [0], 3: [3], 4: [1], 5: [5], 6: [2], 7: [6], 8: [4]}[orientation]  # Pillow's own Transpose numbers
    turned = picture
    for method in stored:
        turned = turned.transpose(method)
    exif = Image.Exif()
    exif[0x0112] = orientation
    assert np.array_equal(decode(encoded(turned, exif=exif), SPEC), np.asarray(picture))


def test_unreadable_exif_does_not_cost_the_image():
    assert decode(encoded(flat("RGB", (1, 2, 3)), exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"), SPEC)[0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(("width", "height"), [(40, 30), (30, 40), (37, 91), (200, 33), (16, 16), (8, 500)])
@pytest.mark.parametrize(("n", "crop"), [(16, [16, 16]), (20, [16, 12])])
def test_box_resampling_equals_resize_then_centre_crop(width, height, n, crop):
    picture = Image.fromarray(np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8))
    scaled = (n, int(n * height / width)) if width <= height else (int(n * width / height), n)
    whole = np.asarray(picture.resize(scaled, Image.BILINEAR))
    top, left = round((whole.shape[0] - crop[0]) / 2), round((whole.shape[1] - crop[1]) / 2)
    expected = whole[top : top + crop[0], left : left + crop[1]]
    assert np.abs(decode(picture, shorter(n, crop)).astype(int) - expected).max() <= 1  # rounding of the coefficients


def test_a_sliver_does_not_build_a_huge_image():
    assert decode(np.zeros((1, 60000, 3), np.uint8), shorter(256, [224, 224])).shape == (224, 224, 3)


def test_normalize_by_hand_and_contiguous():
    images = np.array([[[[0, 51, 255]]]], np.uint8)  # one pixel: 0, 0.2, 1
    out = normalize(images, {**SPEC, "mean": [0.5, 0.1, 0.0], "std": [0.5, 0.1, 2.0]})
    assert (out.dtype, out.shape, out.flags["C_CONTIGUOUS"]) == (np.float32, (1, 3, 1, 1), True)
    assert out.ravel().tolist() == [-1.0, pytest.approx(1.0, abs=1e-7), 0.5]


def test_normalize_equals_the_formula_on_every_level():
    images = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    spec = {**SPEC, "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
    expected = (images.astype(np.float64) / 255 - spec["mean"]) / spec["std"]
    assert np.array_equal(normalize(images, spec), expected.astype(np.float32).transpose(0, 3, 1, 2))


@pytest.mark.parametrize(
    "images", [np.zeros((1, 4, 4, 3), np.float32), np.zeros((4, 4, 3), np.uint8), np.zeros((1, 3, 4, 4), np.uint8), []]
)
def test_normalize_refuses_other_arrays(images):
    with pytest.raises(Problem, match="uint8 array"):
        normalize(images, SPEC)


@pytest.mark.parametrize(
    "change",
    [
        {"image_size": [0, 4]}, {"image_size": [5, 4]}, {"image_size": "x"}, {"resize": {}}, {"resize": {"longer": 4}},
        {"resize": {"shorter": 3}}, {"resize": {"exact": [4]}}, {"interpolation": "nearest"}, {"resize": {"shorter": 1 << 20}},
    ],
)  # fmt: skip
def test_a_spec_that_cannot_be_followed_is_refused(change):
    with pytest.raises(Problem) as refused:
        decode(np.zeros((4, 4, 3), np.uint8), {**SPEC, **change})
    assert refused.value.where == "preprocessing"


@pytest.mark.parametrize("change", [{"mean": [0, 0]}, {"std": [1, 1, 0]}, {"std": [1, 1, "x"]}, {"mean": [float("nan")] * 3}])
def test_a_normalisation_that_cannot_be_followed_is_refused(change):
    with pytest.raises(Problem) as refused:
        normalize(np.zeros((1, 4, 4, 3), np.uint8), {**SPEC, **change})
    assert refused.value.code == "input"


def rows_first(image, size, resample, box=None):
    """Image.resize as Pillow did it up to version 12, made of single passes, whose result no version changes."""
    left, top, right, bottom = box or (0, 0, *image.size)
    across = PILLOWS_RESIZE(image, (size[0], image.height), resample, (left, 0, right, image.height))
    return PILLOWS_RESIZE(across, size, resample, (0, top, size[0], bottom))


PILLOWS_RESIZE = Image.Image.resize


@pytest.mark.parametrize("spec", [shorter(9, [7, 7]), shorter(40, [40, 40]), {**SPEC, "resize": {"exact": [11, 5]}}], ids=str)
def test_every_version_of_pillow_gives_the_same_pixels(monkeypatch, spec):
    """13 turned the order of its two passes around for tall images, and each of them rounds."""
    random = np.random.default_rng(0)
    images = [random.integers(0, 256, (height, width, 3), np.uint8)
              for width, height in ((17, 31), (31, 17), (20, 90), (9, 200), (60, 80), (80, 60), (225, 451))]  # fmt: skip
    here = [decode(image, spec) for image in images]
    monkeypatch.setattr(Image.Image, "resize", rows_first)
    for image, pixels in zip(images, here, strict=True):
        assert np.array_equal(decode(image, spec), pixels), image.shape
