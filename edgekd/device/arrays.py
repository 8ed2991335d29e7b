"""Numpy array files: written aside and hashed, read without pickles, and, where it must be, without numpy."""

import ast
import os
import struct

from .integrity import write_aside
from .problem import Problem, one_line

NO_IMAGES_FIX = "apt install python3-numpy python3-pil, or: pip install numpy pillow"  # what an app needs beside its runtime


def require_numpy():
    """Raises Problem "environment" where numpy cannot be imported."""
    try:
        import numpy  # noqa: F401
    except ImportError as error:
        raise Problem("environment", "numpy cannot be imported", seen=one_line(error), fix=NO_IMAGES_FIX)


def read_array(path):
    """The array of a .npy file. Raises Problem "integrity": no such file, another format, cut short, or Python objects inside."""
    import numpy

    try:
        with open(path, "rb") as file:
            return numpy.lib.format.read_array(file, allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TypeError, MemoryError) as error:
        raise Problem("integrity", "not a numpy array file", where=str(path), seen=one_line(error))


def write_array(path, array):
    """Write a .npy file, whole or not at all. Returns its sha256."""
    import numpy

    return write_aside(path, lambda file: numpy.lib.format.write_array(file, array, allow_pickle=False))


def raw_rows(path):
    """The bytes of each row of a .npy file of little-endian float32, without numpy. Raises Problem "integrity" for another."""
    with open(path, "rb") as file:
        try:
            start = file.read(10)
            header = ast.literal_eval(file.read(struct.unpack("<H", start[8:])[0]).decode("latin1"))
            shape, plain = header["shape"], header["descr"] == "<f4" and not header["fortran_order"]
            row = 4
            for size in shape[1:]:
                row *= size
            whole = os.path.getsize(path) == file.tell() + row * shape[0]
        except (ValueError, SyntaxError, KeyError, TypeError, IndexError, struct.error) as error:
            raise Problem("integrity", "not a numpy array file", where=str(path), seen=one_line(error))
        if start[:8] != b"\x93NUMPY\x01\x00" or not plain or not whole:
            raise Problem("integrity", "not an array of little-endian float32, whole", where=str(path), seen=str(header))
        for _ in range(shape[0]):
            yield file.read(row)
