"""What image files look like in the wild: each kind either is a picture, the one expected here, or has to be refused in words."""

import io
import os
import socket
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, PngImagePlugin

SIZE = 16
_rows, _columns = np.mgrid[0:SIZE, 0:SIZE]
PICTURE = np.stack([_columns * 15, _rows * 15, 255 - _rows * 7 - _columns * 7], axis=-1).astype(np.uint8)  # [16, 16, 3], smooth
GREY = np.repeat(PICTURE[..., :1], 3, axis=-1)


class Kind(NamedTuple):
    """write: puts the file at a path. expected: its pixels, uint8 [16, 16, 3], or what the refusal must say. name: the file's."""

    write: Callable[[Path], object]
    expected: np.ndarray | str
    name: str = "odd.png"


def encoded(image, kind="PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def content(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def refused(data: bytes, name: str = "odd.png", why: str = "not a readable image") -> Kind:
    return Kind(content(data), why, name)


def tiff_of(pixels: np.ndarray) -> bytes:
    return encoded(Image.fromarray(pixels), "TIFF")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_claiming(width: int, height: int) -> bytes:
    """A PNG that says it is this large, and holds a few bytes."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


def png_of_48_bits() -> bytes:
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in PICTURE.astype(np.uint16) * 257)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", SIZE, SIZE, 16, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def text_bomb() -> bytes:
    """A PNG whose comment is 64 MB once it is unpacked."""
    packed = chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(64 << 20)))
    return PNG[:33] + packed + PNG[33:]


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def oriented(orientation: int) -> bytes:
    """The picture lies on its side, and EXIF says so."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(RGB.transpose(Image.Transpose.ROTATE_90), exif=exif)


def sided(exif: bytes = b"", text: bytes = b"") -> bytes:
    """The picture on its side as a PNG, with this EXIF, or with this EXIF written as ImageMagick does, in a text."""
    lying, info = RGB.transpose(Image.Transpose.ROTATE_90), PngImagePlugin.PngInfo()
    if text:
        info.add_text("Raw profile type exif", f"\nexif\n{len(text):8d}\n{text.hex()}\n", zip=True)
    return encoded(lying, pnginfo=info, **({"exif": exif} if exif else {}))


def unreadable(path: Path) -> None:
    path.write_bytes(PNG)
    path.chmod(0)


def a_link(path: Path) -> None:
    elsewhere = path.parents[1].with_name("linked")
    elsewhere.write_bytes(PNG)
    path.symlink_to(elsewhere)


def a_socket(path: Path) -> None:
    """Bound by its bare name: the path of a socket may not be long."""
    here = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"/proc/self/fd/{here}/{path.name}")
    os.close(here)


RGB = Image.fromarray(PICTURE)
PNG, JPEG = encoded(RGB), encoded(RGB, "JPEG", quality=95, subsampling=0)
PROGRESSIVE = encoded(RGB, "JPEG", quality=95, subsampling=0, progressive=True)
WEBP, LOSSLESS = encoded(RGB, "WEBP"), encoded(RGB, "WEBP", lossless=True)
GIF, TIFF, BMP = encoded(RGB, "GIF"), encoded(RGB, "TIFF"), encoded(RGB, "BMP")
OTHER = Image.new("RGB", RGB.size, (200, 30, 60))
RED = np.full_like(PICTURE, (255, 0, 0))
_red = Image.new("RGB", RGB.size, (255, 0, 0))
_half = Image.new("1", RGB.size)
_half.paste(1, (8, 0, 16, 16))
_palette = Image.new("P", RGB.size, 1)
_palette.putpalette([0, 0, 0, 255, 0, 0])
_PIXELS = PNG.index(b"IDAT") + 20
_SIDE_6 = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x04\0\0\0\x01\0\0\0\x06\0\0\0\0"  # as a long number, the largest byte first
_XMP_6 = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
_SIDE_99 = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0c\0\0\0"
WITH_XMP = encoded(RGB, "JPEG", quality=95, subsampling=0, xmp=_XMP_6)

PICTURES = {
    "a PNG that is called JPEG": Kind(content(PNG), PICTURE, "odd.jpg"),
    "an ending in capitals": Kind(content(JPEG), PICTURE, "ODD.JPG"),
    "a progressive JPEG": Kind(content(PROGRESSIVE), PICTURE, "odd.jpg"),
    "a CMYK JPEG": Kind(content(encoded(RGB.convert("CMYK"), "JPEG", quality=95, subsampling=0)), PICTURE, "odd.jpg"),
    "a grey JPEG": Kind(content(encoded(RGB.getchannel(0), "JPEG", quality=95)), GREY, "odd.jpg"),
    "a JPEG with text after its end": Kind(content(JPEG + b"<html>"), PICTURE, "odd.jpg"),
    "a JPEG with zeros after its end": Kind(content(JPEG + bytes(512)), PICTURE, "odd.jpg"),
    "an animated GIF: its first frame": Kind(
        content(encoded(_red, "GIF", save_all=True, append_images=[OTHER, RGB])), RED, "odd.gif"
    ),
    "an animated PNG: its first frame": Kind(content(encoded(RGB, save_all=True, append_images=[OTHER])), PICTURE),
    "an animated WebP: its first frame": Kind(
        content(encoded(RGB, "WEBP", save_all=True, append_images=[OTHER], lossless=True)), PICTURE, "odd.webp"
    ),
    "a TIFF of several pages: its first": Kind(
        content(encoded(RGB, "TIFF", save_all=True, append_images=[OTHER])), PICTURE, "odd.tiff"
    ),
    "a TIFF packed by LZW": Kind(content(encoded(RGB, "TIFF", compression="tiff_lzw")), PICTURE, "odd.tif"),
    "a grey PNG of 16 bits": Kind(content(encoded(Image.fromarray(PICTURE[..., 0].astype(np.uint16) * 257))), GREY),
    "a colour PNG of 16 bits": Kind(content(png_of_48_bits()), PICTURE),
    "one bit a pixel": Kind(content(encoded(_half)), np.repeat(np.asarray(_half, np.uint8)[..., None] * 255, 3, axis=-1)),
    "a palette": Kind(content(encoded(_palette)), RED),
    "a palette with a transparent colour, on white": Kind(
        content(encoded(_palette, transparency=1)), np.full_like(PICTURE, 255)
    ),
    "transparent pixels of any colour, on white": Kind(
        content(encoded(Image.fromarray(np.dstack([PICTURE, np.zeros((SIZE, SIZE), np.uint8)])))), np.full_like(PICTURE, 255)
    ),
    "a picture on its side, and EXIF that says so": Kind(content(oriented(6)), PICTURE),
    "EXIF that says the side by a long number": Kind(content(sided(exif=b"Exif\0\0" + _SIDE_6)), PICTURE),
    "EXIF written as text": Kind(content(sided(text=b"Exif\0\0" + _SIDE_6)), PICTURE),
    "XMP that says a side, and no EXIF": Kind(content(WITH_XMP), PICTURE, "odd.jpg"),
    "EXIF that says a side there is not": Kind(content(encoded(RGB, exif=_SIDE_99)), PICTURE),
    "EXIF that cannot be read": Kind(content(encoded(RGB, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f")), PICTURE),
    "a colour profile that is none": Kind(content(encoded(RGB, icc_profile=b"\0\xff" * 99)), PICTURE),
    "a name that is no UTF-8": Kind(content(PNG), PICTURE, os.fsdecode(b"\xff\xfe.png")),
    "a name of 255 bytes": Kind(content(PNG), PICTURE, "x" * 251 + ".png"),
    "a name that steers terminals": Kind(content(PNG), PICTURE, "a\n\x1b[2J\x01.png"),
    "a link to a picture": Kind(a_link, PICTURE),
}  # fmt: skip

REFUSED = {
    "nothing": refused(b""),
    "text": refused(b"this is no image\n" * 40),
    "the page of a failed download": refused(b"<!DOCTYPE html><title>404</title>", "odd.jpg"),
    "a drawing (SVG)": refused(b'<svg xmlns="http://www.w3.org/2000/svg"/>'),
    "a film": refused(b"\0\0\0\x18ftypmp42" + bytes(200), "odd.jpg"),
    "zeros only": refused(bytes(5000), "odd.jpg"),
    "a JPEG of four bytes": refused(JPEG[:4], "odd.jpg"),
    "a JPEG cut in its tables": refused(JPEG[:200], "odd.jpg"),
    "a JPEG cut in its pixels": refused(JPEG[:-60], "odd.jpg"),
    "a JPEG without its last byte": refused(JPEG[:-1], "odd.jpg"),
    "a progressive JPEG cut after its first pass": refused(PROGRESSIVE[: len(PROGRESSIVE) // 2], "odd.jpg"),
    "a JPEG that became zeros half way": refused(JPEG[: len(JPEG) // 2] + bytes(len(JPEG) // 2), "odd.jpg"),
    "a PNG cut in its header": refused(PNG[:20]),
    "a PNG cut in its pixels": refused(PNG[:_PIXELS]),
    "a PNG without its end": refused(PNG[:-12]),
    "a PNG with a flipped bit in its header": refused(flipped(PNG, 18)),
    "a PNG with a flipped bit in its pixels": refused(flipped(PNG, _PIXELS)),
    "a PNG that became zeros": refused(PNG[:_PIXELS] + bytes(len(PNG) - _PIXELS)),
    "a PNG of no pixels": refused(png_claiming(0, 16)),
    "a PNG with fewer pixels than it says": refused(png_claiming(16, 16)),
    "a PNG that says 70 megapixels": refused(png_claiming(7_000, 10_000), "odd.png", "too many pixels"),
    "a PNG that says 900 megapixels": refused(png_claiming(30_000, 30_000), "odd.png", "too many pixels"),
    "a PNG with a comment that unpacks to 64 MB": refused(text_bomb()),
    "a WebP cut in its pixels": refused(WEBP[:-20], "odd.webp"),
    "a lossless WebP cut in its pixels": refused(LOSSLESS[:-20], "odd.webp"),
    "a GIF cut in its pixels": refused(GIF[:-40], "odd.gif"),
    "a TIFF cut before its pixels": refused(TIFF[:100], "odd.tif"),
    "a BMP cut in its pixels": refused(BMP[:100], "odd.bmp"),
    "grey of fractions": refused(tiff_of(np.full((16, 16), 0.5, np.float32)), "odd.tif", "no one meaning as RGB"),
    "grey of 32 bits": refused(tiff_of(np.full((16, 16), 1 << 20, np.int32)), "odd.tif", "outside 0..65535"),
    "colours of a laboratory": refused(encoded(Image.new("LAB", (16, 16)), "TIFF"), "odd.tif", "no one meaning as RGB"),
}  # fmt: skip

# Told before any image is decoded, by the pass that reads their bytes.
NO_FILES = {
    "a link to nothing": Kind(lambda path: path.symlink_to("nowhere.png"), "No such file"),
    "a link to itself": Kind(lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    "a pipe": Kind(os.mkfifo, "a pipe, a socket or a device"),
    "a socket": Kind(a_socket, "a pipe, a socket or a device"),
    "a device without end": Kind(lambda path: path.symlink_to("/dev/zero"), "a pipe, a socket or a device"),
    "a file one may not read": Kind(unreadable, "may not be read"),
}
