"""What a device says about itself, as it says it: raw texts, for the host to read. What it does not tell is absent.

Nothing here changes the device, needs a password or waits for one; everything is asked within a few seconds.
"""

import re

from . import engine_cache, sensors, trtexec
from .system import as_root, ask_all, below_root, gpu_index, program, read

_ASK_S = 15.0
_FILES = {
    "nv_tegra_release": ("/etc/nv_tegra_release",),
    "device_tree_model": ("/proc/device-tree/model", "/sys/firmware/devicetree/base/model"),
    "device_tree_compatible": ("/proc/device-tree/compatible", "/sys/firmware/devicetree/base/compatible"),
    "device_tree_source": ("/proc/device-tree/nvidia,dtsfilename",),  # up to JetPack 6
    "cuda": ("/usr/local/cuda/version.json", "/usr/local/cuda/version.txt"),
}
_PACKAGES = (
    "libnvinfer-bin",
    "libnvinfer[0-9]*",
    "python3-libnvinfer",
    "nvidia-l4t-core",
    "nvidia-jetpack",
    "cuda-cudart-[0-9]*",
)
_BUSY = 0.05  # of one CPU


def said(versions):
    """The raw texts, {what: text}. versions: {package: version} of the Python this runs in."""
    found = {name: next(filter(None, map(read, paths)), None) for name, paths in _FILES.items()}
    found.update(trtexec=trtexec.find(), tensorrt_python=versions.get("tensorrt"), engines=engine_cache.kept_here())
    before = sensors.processes()
    answers = {name: text.strip("\n") for name, (_, text) in ask_all(_questions(found["trtexec"]), _ASK_S).items()}
    found.update(answers, trtexec_banner=_banner(answers.get("trtexec_banner", "")))
    found.update(top=_busiest(before, sensors.processes()), devfreq=sensors.gpu_clocks(), trip_points=sensors.passive_trips(),
                 cooling=sensors.cooling(), oc_counts=sensors.overcurrent_counts(), rails=sensors.rails())  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _questions(own_trtexec):
    """{name: words} of the programs that are there."""
    words = {
        "nvpmodel": ["-q"],
        "jetson_clocks": ["--show"],
        "dpkg": ["--admindir=" + below_root("/var/lib/dpkg"), "-W", "-f", "${db:Status-Abbrev} ${Package} ${Version}\n"],
        "nvidia_smi": [
            "-i",
            gpu_index(),
            "--query-gpu=name,compute_cap,driver_version,memory.total",
            "--format=csv,noheader",
        ],
    }
    programs = {"dpkg": "dpkg-query", "nvidia_smi": "nvidia-smi"}
    found = {name: program(programs.get(name, name)) for name in words}
    questions = {name: [path] + words[name] for name, path in found.items() if path}
    if "dpkg" in questions:
        questions["dpkg"] += _PACKAGES
    if "jetson_clocks" in questions:
        questions["jetson_clocks"] = as_root(questions["jetson_clocks"])
    if own_trtexec:
        questions["trtexec_banner"] = [own_trtexec, "--help"]  # every version begins with its banner, and touches no GPU for this
    return questions


def _banner(text):
    line = re.search(r"^.*&&&& RUNNING.*$", text, re.MULTILINE)
    return line.group(0) if line else None


def _busiest(before, after):
    """["PID name", CPU seconds] of the five that worked most between two looks."""
    spent = [[name, round(seconds - before.get(name, 0.0), 2)] for name, seconds in after.items()]
    return sorted((one for one in spent if one[1] >= _BUSY), key=lambda one: -one[1])[:5]
