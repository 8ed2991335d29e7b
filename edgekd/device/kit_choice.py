"""Which of a kit's scripts this device runs: by the version of its TensorRT, or by its CPU. Words were chosen on the host."""

from . import probe, tensorrt_found
from .problem import Problem


def chosen(kit, probed):
    """{"script": index into kit["scripts"], "backend"} for a device's probe. Raises Problem "environment": none is for it."""
    if kit["runtime"] == "onnxruntime":
        return {"script": kit["chosen_by"][probe.flavour_for(probed["identity"])], "backend": "onnxruntime"}
    version, backend = tensorrt_found.way(probed)
    newest = kit["newest"].get(str(version[0]))  # of a newer 10.x or 11.x the words of the newest that is known
    release = "%d.%d" % (version[0], min(version[1], newest) if newest is not None else version[1])
    if release not in kit["chosen_by"]:
        seen, fix = ".".join(map(str, version)), "it knows " + ", ".join(sorted(kit["chosen_by"]))
        raise Problem("environment", "this kit knows no words for this TensorRT", seen=seen, fix=fix)
    return {"script": kit["chosen_by"][release], "backend": backend}
