"""What an app imports: load a bundle and predict. Needs numpy, Pillow, and onnxruntime or the TensorRT of one of its
engines; never torch.

``edgekd.runtime.load("runs/mine/bundle").predict(["photo.jpg"])[0]["label"]`` names what is in the photo.
"""

from edgekd.device import Bundle, Problem, load, verify

__all__ = ["Bundle", "Problem", "load", "verify"]
