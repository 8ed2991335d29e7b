"""A Jetson's system files and programs below a folder, for EDGEKD_DEVICE_ROOT: from the fixtures; the fakes note their calls."""

from pathlib import Path

FIXTURES = Path(__file__).parents[1] / "fixtures"
# jetson_clocks as the published scripts behave: it asks before it overwrites a store, splits paths at spaces, and ends with 0.
CLOCKS = """#!/bin/sh
echo "$@" >>{log}
case "$1" in
--show) cat {show} ;;
--store) [ -e $2 ] && { echo "File $2 already exists. Can I overwrite it? Y/N:"; read a; exit 1; }; cat {state} >$2 ;;
--restore) [ -e $2 ] || { echo "Error: $2 file not found !"; exit 1; }; cat $2 >{state} ;;
"") sleep {slow}; echo locked >{state} ;;
esac
exit 0
"""
TEGRASTATS = """#!/bin/sh
echo "$$ $@" >>{log}
while read -r line; do echo "$line"; sleep 0.05; done <{lines}
while :; do echo "$line"; sleep 0.05; done
"""


def text(*parts: str) -> str:
    return Path(FIXTURES, *parts).read_text(encoding="utf-8")


def write(root: Path, path: str, content: str, mode: int = 0o644) -> Path:
    file = root / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content)
    file.chmod(mode)
    return file


def program(root: Path, path: str, script: str, **places: object) -> Path:
    """A script there; {name} of ``places`` is filled in."""
    for name, value in places.items():
        script = script.replace("{" + name + "}", str(value))
    return write(root, path, script, 0o755)


def clocks(root: Path, state: str = "unlocked", slow: float = 0.0) -> Path:
    """A fake jetson_clocks, whose state is the text of the file returned; its calls are lines of jetson_clocks.log beside it."""
    file = write(root, "state", state + "\n")
    show = FIXTURES / "jetson/jetson_clocks/orin_nano_show_unlocked.txt"
    program(root, "/usr/bin/jetson_clocks", CLOCKS, log=root / "jetson_clocks.log", show=show, state=file, slow=slow)
    return file


def tegrastats(root: Path, fixture: str = "orin_nano_super_jp62_sudo.txt") -> Path:
    """A fake tegrastats that says the fixture's lines, then the last one for ever. Its PID and words are in the file returned."""
    log = root / "tegrastats.log"
    program(root, "/usr/bin/tegrastats", TEGRASTATS, log=log, lines=FIXTURES / "tegrastats" / fixture)
    return log


def orin_nano_super(root: Path) -> Path:
    """A whole one, as it answers a probe; returns the root."""
    write(root, "/etc/nv_tegra_release", text("jetson", "nv_tegra_release", "jp62.txt"))
    for name in ("model", "compatible"):
        write(root, f"/proc/device-tree/{name}", text("jetson", f"device_tree_{name}", "orin_nano_super.bin"))
    write(root, "/proc/sys/kernel/arch", "aarch64\n")
    write(root, "/usr/local/cuda/version.json", '{"cuda": {"name": "CUDA SDK", "version": "12.6.11"}}')
    program(root, "/usr/bin/nvpmodel", "#!/bin/sh\ncat {text}\n", text=FIXTURES / "jetson/nvpmodel/orin_nano_super_maxn.txt")
    program(root, "/usr/bin/dpkg-query", "#!/bin/sh\ncat {text}\n", text=FIXTURES / "jetson/dpkg/nvinfer_jp62.txt")
    banner = "&&&& RUNNING TensorRT.trtexec [TensorRT v100300] # trtexec --help"
    program(root, "/usr/src/tensorrt/bin/trtexec", "#!/bin/sh\necho '{banner}'\n", banner=banner)
    for key, hertz in (("cur", 306000000), ("min", 306000000), ("max", 1020000000)):
        write(root, f"/sys/class/devfreq/17000000.gpu/{key}_freq", f"{hertz}\n")
    zones = (("cpu-thermal", 50031), ("cv0-thermal", -256000), ("tj-thermal", 50250))
    for number, (zone, milli) in enumerate(zones):
        folder = f"/sys/class/thermal/thermal_zone{number}"
        write(root, f"{folder}/type", zone + "\n")
        write(root, f"{folder}/temp", f"{milli}\n")
        for trip, (kind, where) in enumerate((("critical", 104500), ("active", 46000), ("passive", 99000))):
            write(root, f"{folder}/trip_point_{trip}_type", kind + "\n")
            write(root, f"{folder}/trip_point_{trip}_temp", f"{where}\n")
    for number, (kind, state) in enumerate((("pwm-fan", 2), ("gpu-throttle-alert", 0))):
        write(root, f"/sys/class/thermal/cooling_device{number}/type", kind + "\n")
        write(root, f"/sys/class/thermal/cooling_device{number}/cur_state", f"{state}\n")
    write(root, "/sys/class/hwmon/hwmon3/oc3_event_cnt", "2\n")
    for part, value in (("in1_label", "VDD_IN"), ("in1_input", "5000"), ("curr1_input", "1200")):
        write(root, f"/sys/class/hwmon/hwmon1/{part}", f"{value}\n")
    clocks(root)
    return root
