"""Numpy array files: written aside and hashed, read without pickles."""

from .integrity import write_aside
from .problem import Problem, one_line


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
