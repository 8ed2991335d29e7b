"""All that ever runs on a device: preprocessing, the onnxruntime backend, the timing loop, the bundle loader, the agent.

Python 3.6 syntax, standard library and itself; numpy, Pillow and onnxruntime are imported inside the functions that need them.
Sent to a device, and put into a bundle, as one zipapp.
"""

from .archive import build_zipapp
from .loader import Bundle, load
from .preprocess import decode, normalize
from .probe import flavour_for
from .problem import Problem
from .proof import examine, verify

__all__ = ["Bundle", "Problem", "build_zipapp", "decode", "examine", "flavour_for", "load", "normalize", "verify"]
