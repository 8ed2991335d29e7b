"""Who a device is (identity: does not change between two runs) and how it is doing (conditions: may change any second).

System files are read below EDGEKD_DEVICE_ROOT when that is set. What cannot be read is absent or None, never guessed.
"""

import glob
import hashlib
import os
import platform
import re
import sys
import time
from typing import Any, Dict

from . import sensors
from .system import below_root, read

# Instruction sets that decide which int8 kernels onnxruntime has; names as Linux prints them in /proc/cpuinfo.
RELEVANT_ISA = ("avx", "avx2", "avx_vnni", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_int8",
                "amx_bf16", "f16c", "fma", "asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "neon")  # fmt: skip
_PRECISE_INT8 = ("avx512_vnni", "avx_vnni", "amx_int8")
_X86 = ("x86_64", "amd64", "AMD64", "i686", "i386")
_PACKAGES = {
    "onnxruntime": r"onnxruntime(?:[_-]gpu|[_-]openvino|[_-]directml|[_-]jetson)?",
    "numpy": "numpy",
    "pillow": "[Pp]illow",
    "tensorrt": r"tensorrt(?:_cu[0-9]+)?",
}


def identity(packages=()):
    """What tells this device from others, in JSON values; machine is a hashed id. packages: more of which the version counts."""
    cpu = parse_cpuinfo(read("/proc/cpuinfo"))
    return {
        "machine": _machine(),
        "arch": read("/proc/sys/kernel/arch").strip() or platform.machine(),
        "cpu": cpu["model"],
        "cpus": len(os.sched_getaffinity(0)),
        "isa": [name for name in RELEVANT_ISA if name in cpu["flags"]],
        "memory_mb": parse_meminfo(read("/proc/meminfo")).get("MemTotal", 0) // 1024 or None,
        "governor": _governor(),
        "versions": dict(installed_versions(packages), python=platform.python_version()),
    }


def _governor():
    """Who sets the CPU's clock; None where the kernel does not tell, as in most virtual machines."""
    return read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip() or None


def conditions():
    """How the device is doing now. Counters (cpu_*_s, throttle_count) only mean something as a difference between two calls.

    mhz: highest current CPU clock. cpu_busy_s, cpu_steal_s: seconds all CPUs together worked, or were taken away by the
    hypervisor, since boot; own_cpu_s: seconds of this process and of its children that have ended. clock_s: the monotonic time
    of this sample. gpu_mhz: what the GPU runs at, between gpu_min_mhz and gpu_max_mhz, which are the same when its clock is
    locked. trips_c: where each zone of temperatures_c begins to slow the device down. processes: CPU seconds of others, by "PID
    name".
    """
    stat, memory = parse_stat(read("/proc/stat")), parse_meminfo(read("/proc/meminfo"))
    own, gpus, temperatures = os.times(), sensors.gpu_clocks().values(), sensors.temperatures()
    return {
        "clock_s": round(time.monotonic(), 3),
        "governor": _governor(),
        "mhz": _highest("/sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq", 1e-3),
        "temperature_c": max(temperatures.values(), default=None),
        "throttle_count": _highest("/sys/devices/system/cpu/cpu[0-9]*/thermal_throttle/*_throttle_count", 1),
        "load_1m": _number(read("/proc/loadavg").split(" ")[0]),
        "memory_available_mb": memory.get("MemAvailable", 0) // 1024 or None,
        "swap_used_mb": (memory["SwapTotal"] - memory["SwapFree"]) // 1024 if {"SwapTotal", "SwapFree"} <= set(memory) else None,
        "disk_free_mb": _disk_free_mb(),
        "cpu_busy_s": stat.get("busy_s"),
        "cpu_steal_s": stat.get("steal_s"),
        "own_cpu_s": round(sum(own[:4]), 2),
        "gpu_mhz": min((one["cur"] / 1e6 for one in gpus), default=None),
        "gpu_min_mhz": min((one["min"] / 1e6 for one in gpus), default=None),
        "gpu_max_mhz": min((one["max"] / 1e6 for one in gpus), default=None),
        "temperatures_c": temperatures,
        "trips_c": sensors.passive_trips(),
        "cooling": sensors.cooling(),
        "oc_counts": sensors.overcurrent_counts(),
        "processes": sensors.processes(),
    }


def _disk_free_mb():
    """Where engines are kept: in the home folder."""
    try:
        disk = os.statvfs(os.path.expanduser("~"))
    except OSError:
        return None
    return disk.f_bavail * disk.f_frsize // 10**6


def needs_seven_bit_weights(arch, isa):
    """True on x86 without VNNI or AMX: there u8 x s8 products are summed in 16 bits that saturate (pmaddubsw)."""
    return arch in _X86 and not any(name in isa for name in _PRECISE_INT8)


def flavour_for(device_identity: Dict[str, Any]) -> str:
    """Which int8 ONNX flavour is fast and right on a device, from its identity: "ort" or "ort-w7"."""
    return "ort-w7" if needs_seven_bit_weights(device_identity["arch"], device_identity["isa"]) else "ort"


def parse_cpuinfo(text):
    """{"model": str or None, "flags": set} of /proc/cpuinfo; flags that every processor has (x86 flags, Arm Features)."""
    model, part, flags = None, {}, None
    for line in text.split("\n"):
        key, colon, value = line.partition(":")
        key, value = key.strip(), value.strip()
        if not colon:
            continue
        if key in ("flags", "Features"):
            flags = set(value.split()) if flags is None else flags & set(value.split())
        elif key == "model name" and model is None:
            model = value or None
        elif key in ("CPU implementer", "CPU part"):
            part.setdefault(key, value)
    if model is None and len(part) == 2:
        model = "Arm implementer %s part %s" % (part["CPU implementer"], part["CPU part"])
    return {"model": model, "flags": flags or set()}


def parse_meminfo(text):
    """{name: kB} of /proc/meminfo or /proc/self/status."""
    found = re.findall(r"^(\w+):[ \t]*([0-9]{1,18}) kB", text, re.MULTILINE | re.ASCII)
    return {name: int(value) for name, value in found}


def parse_stat(text):
    """{"busy_s", "steal_s"} from the first line of /proc/stat; {} when it is not there. Guests are counted in user already."""
    match = re.match(r"cpu +((?:[0-9]{1,18} ?){4,10})", text, re.ASCII)
    if not match:
        return {}
    ticks = [int(n) for n in match.group(1).split()]
    user, nice, system, _idle, _iowait, irq, softirq, steal = (ticks + [0] * 8)[:8]
    hertz = float(os.sysconf("SC_CLK_TCK"))
    return {"busy_s": (user + nice + system + irq + softirq) / hertz, "steal_s": steal / hertz}


def installed_versions(packages=()):
    """{package: version} of _PACKAGES and these, read from the names of their metadata folders: importing takes longer."""
    patterns = dict({name: re.sub("[-_.]+", "[-_.]+", name) for name in packages}, **_PACKAGES)
    found = {}
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            for package, pattern in patterns.items():
                match = re.match(pattern + r"-([^-]+)(?:-.*)?\.(?:dist|egg)-info$", name)
                if match:
                    found.setdefault(package, match.group(1))
    return found


def peak_memory_mb():
    """The most memory this process has held (VmHWM), in MB of 1e6 bytes; None where the kernel does not tell."""
    kilobytes = parse_meminfo(read("/proc/self/status")).get("VmHWM")
    return None if kilobytes is None else round(kilobytes * 1024 / 1e6, 1)


def _machine():
    """A hash of the serial number or machine id: tells machines apart without giving the id away."""
    for path in ("/sys/firmware/devicetree/base/serial-number", "/etc/machine-id", "/var/lib/dbus/machine-id"):
        known = read(path).strip(" \n\0")
        if known:
            return hashlib.sha256(("edgekd " + known).encode()).hexdigest()[:16]
    return None


def _highest(pattern, unit):
    values = [_number(read(path[len(below_root("")) :])) for path in glob.glob(below_root(pattern))]
    known = [value for value in values if value is not None]
    return round(max(known) * unit, 3) if known else None


def _number(text):
    try:
        return float(text)
    except ValueError:
        return None
