"""What a device's sensors tell without being root: GPU clocks, temperatures, throttling, power rails, busy processes.

Names are the kernel's own. What cannot be read, and what is no measurement (a rail that is switched off), is left out.
"""

import glob
import os
import re

from .system import below_root, read

# Orin and Nano "17000000.gpu", older ones by the chip's name, "17000000.gv11b"; Thor "gpu-gpc-0".
_GPU = re.compile(r"(?:[0-9a-f]+\.(?:gpu|g[a-z][0-9]{2}[a-z])|gpu-gpc-[0-9]+)$")
_GATED_C = -50.0  # such a zone reads -256
_DUMMY_C = (50.0, 100.0)  # what PMIC zones say, whatever the temperature
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD
_LEAST_CPU_S = 0.1
_trips = {}


def gpu_clocks():
    """{device: {"cur", "min", "max"}} in Hz, of the GPUs among the devfreq devices; min = max = cur when they are locked."""
    found = {}
    for path in _below("/sys/class/devfreq/*"):
        clocks = {key: _number(path + "/" + key + "_freq") for key in ("cur", "min", "max")}
        if _GPU.match(os.path.basename(path)) and None not in clocks.values():
            found[os.path.basename(path)] = clocks
    return found


def temperatures():
    """{thermal zone's type: °C}."""
    found = {}
    for path in _below("/sys/class/thermal/thermal_zone*"):
        zone, milli = read(path + "/type").strip() or os.path.basename(path), _number(path + "/temp")
        if milli is not None and milli / 1e3 > _GATED_C and not _is_dummy(zone, milli / 1e3):
            found[zone] = max(milli / 1e3, found.get(zone, milli / 1e3))
    return found


def passive_trips():
    """{thermal zone's type: °C of its first passive trip point, where the kernel begins to slow the device down}.

    Read once: they do not change, and are many files.
    """
    root = below_root("")
    if root not in _trips:
        found = {}
        for path in _below("/sys/class/thermal/thermal_zone*"):
            zone = read(path + "/type").strip()
            for trip in _below(path + "/trip_point_*_type"):
                milli = _number(trip[: -len("type")] + "temp")
                if zone and read(trip).strip() == "passive" and milli is not None and milli > 0:
                    found[zone] = min(milli / 1e3, found.get(zone, milli / 1e3))
        _trips[root] = found
    return dict(_trips[root])


def cooling():
    """{cooling device's name and type: state}: 0 when it does nothing. Fans are among them."""
    states = {}
    for path in _below("/sys/class/thermal/cooling_device*"):
        state = _number(path + "/cur_state")
        if state is not None:
            states["%s %s" % (os.path.basename(path)[len("cooling_device") :], read(path + "/type").strip())] = state
    return states


def overcurrent_counts():
    """{counter: events since boot} of the over-current and under-voltage watch of Orin and Thor."""
    counts = {path: _number(path) for path in _below("/sys/class/hwmon/hwmon*/oc*_event_cnt")}
    return {path: count for path, count in counts.items() if count is not None}


def rails():
    """{power rail: mW now}: from voltage and current of the INA3221, or from its driver of JetPack 4."""
    found = {}
    for label in _below("/sys/class/hwmon/hwmon*/in*_label"):
        folder, number = os.path.dirname(label), re.sub("[^0-9]", "", os.path.basename(label))
        millivolts, milliamps = _number("%s/in%s_input" % (folder, number)), _number("%s/curr%s_input" % (folder, number))
        if millivolts is not None and milliamps is not None:
            found[read(label).strip()] = round(millivolts * milliamps / 1e3)
    for name in _below("/sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_*"):
        milliwatts = _number("%s/in_power%s_input" % (os.path.dirname(name), name.rsplit("_", 1)[1]))
        if milliwatts is not None:
            found[read(name).strip()] = milliwatts
    return found


def processes():
    """{"PID name": CPU seconds since it began} of the processes that are neither ours nor the kernel's."""
    hertz, table = float(os.sysconf("SC_CLK_TCK")), {}
    for path in _below("/proc/[0-9]*/stat"):
        head, parenthesis, rest = read(path).rpartition(")")
        fields = rest.split()
        if parenthesis and len(fields) > 12 and not int(fields[6]) & _KERNEL_THREAD:
            pid, _, name = head.partition(" (")
            table[int(pid)] = (int(fields[1]), name, (int(fields[11]) + int(fields[12])) / hertz)
    ours = _family(table)
    return {"%d %s" % (pid, one[1]): one[2] for pid, one in table.items() if pid not in ours and one[2] >= _LEAST_CPU_S}


def _family(table):
    """This process, those that lead to it, and those it started."""
    up, pid = set(), os.getpid()
    while pid in table and pid not in up:
        up.add(pid)
        pid = table[pid][0]
    down, before = {os.getpid()}, 0
    while len(down) > before:
        before = len(down)
        down |= {pid for pid, one in table.items() if one[0] in down}
    return up | down


def _is_dummy(zone, celsius):
    return zone.upper().startswith("PMIC") and celsius in _DUMMY_C


def _below(pattern):
    """What lies there below the root, each named as on the device, in order."""
    return [path[len(below_root("")) :] for path in sorted(glob.glob(below_root(pattern)))]


def _number(path):
    try:
        return int(read(path))
    except ValueError:
        return None
