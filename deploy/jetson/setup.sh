#!/bin/sh
# Prepare a Jetson (JetPack 4 to 7) for edgekd: says what is missing and what it would do; --apply does it.
#
#   sh setup.sh                      look only: nothing is changed
#   sudo sh setup.sh --apply         do what it said
#   sudo sh setup.sh --apply --user ana --swap-mb 4096 --power-mode 15W
#
# Run it again at any time: what is done already is not done twice. The power mode is changed only when --power-mode names one.
# Status: 0 nothing (more) to do, 1 there is something to do, 2 wrong words or not root, 3 a step failed or a thing is missing
# that only you can mend.
set -u

ROOT=${EDGEKD_DEVICE_ROOT:-} # system files are read below it: for tests and containers
apply=no user=${SUDO_USER:-$(id -un)} swap_mb=0 power_mode='' disk_mb=2048
todo=0 broken=0 part="" asked="" # asked: the words to repeat with --apply

usage() {
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit "$1"
}

while [ $# -gt 0 ]; do
    case $1 in
        --apply) apply=yes ;;
        --user | --swap-mb | --power-mode)
            [ $# -ge 2 ] || { echo "setup.sh: $1 needs a value" >&2; exit 2; }
            case $1 in --user) user=$2 ;; --swap-mb) swap_mb=$2 ;; --power-mode) power_mode=$2 ;; esac
            asked="$asked $1 '$2'"
            shift
            ;;
        -h | --help) usage 0 ;;
        *) echo "setup.sh: unknown word: $1" >&2; exit 2 ;;
    esac
    shift
done
case $swap_mb in *[!0-9]* | '') echo "setup.sh: --swap-mb must be a whole number of MB" >&2; exit 2 ;; esac
case $user in -* | '' | *[!A-Za-z0-9._-]*) echo "setup.sh: no such user name: $user" >&2; exit 2 ;; esac
if [ $apply = yes ] && [ "$(id -u)" -ne 0 ]; then
    echo "setup.sh: --apply needs root: sudo sh setup.sh --apply" >&2
    exit 2
fi

say() { printf '%-11s %s\n' "$1" "$2"; }
ok() { say "ok" "$1"; }
hint() { say "hint" "$1"; }
missing() { say "MISSING" "$1"; broken=1; }

# change WHAT COMMAND...: say it, and do it when asked to
change() {
    what=$1
    shift
    if [ $apply = no ]; then
        say "would" "$what"
        say "" "  $*"
        todo=1
    elif "$@" >"$log" 2>&1 </dev/null; then
        say "done" "$what"
    else
        say "FAILED" "$what: $*"
        sed 's/^/              /' "$log" | tail -n 5
        broken=1
    fi
}

have() { command -v "$1" >/dev/null 2>&1; }
installed() { [ "$(dpkg-query -W -f='${Status}' "$1" 2>/dev/null)" = 'install ok installed' ]; }
version_of() { dpkg-query -W -f='${Version}' "$1" 2>/dev/null; }

log=$(mktemp) || exit 3
trap 'rm -f "$log" ${part:+"$part"}' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# --- what this is -------------------------------------------------------------------------------------------------------
l4t=$(sed -n 's/^# R\([0-9]*\) (release), REVISION: \([0-9.]*\).*/\1.\2/p' "$ROOT/etc/nv_tegra_release" 2>/dev/null | head -n 1)
[ -n "$l4t" ] || l4t=$(version_of nvidia-l4t-core | sed 's/-.*//')
case $l4t in
    32.[4-9]*) jetpack=4 ;;
    35.*) jetpack=5 ;;
    36.*) jetpack=6 ;;
    38.* | 39.*) jetpack=7 ;;
    '') echo "setup.sh: this is no Jetson: neither $ROOT/etc/nv_tegra_release nor the package nvidia-l4t-core is there" >&2; exit 3 ;;
    *) jetpack='' ;;
esac
model=$(tr -d '\000' <"$ROOT/proc/device-tree/model" 2>/dev/null)
if [ -n "$jetpack" ]; then
    ok "${model:-a Jetson}, L4T $l4t, JetPack $jetpack"
else
    say "unknown" "${model:-a Jetson}, L4T $l4t: not a release this script knows; it goes on as for JetPack 7"
    jetpack=7
fi

# --- TensorRT and trtexec -----------------------------------------------------------------------------------------------
if [ $jetpack = 4 ] || [ $jetpack = 5 ]; then runtime=libnvinfer8; else runtime=''; fi
for name in libnvinfer10 libnvinfer8 libnvinfer11; do
    installed $name && { runtime=$name; break; }
done
if [ -n "$runtime" ] && installed "$runtime"; then
    ok "TensorRT $(version_of "$runtime") ($runtime)"
else
    change "install TensorRT, by JetPack's own package" apt-get install -y tensorrt
fi
if [ -x "$ROOT/usr/src/tensorrt/bin/trtexec" ]; then
    ok "trtexec: /usr/src/tensorrt/bin/trtexec"
else
    change "install trtexec" apt-get install -y libnvinfer-bin
fi

# --- Python: only hints, for there are many ways to have packages -------------------------------------------------------
if have python3; then
    ok "$(python3 --version 2>&1) at $(command -v python3)"
    for module in numpy PIL onnxruntime tensorrt; do
        python3 -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$module') is None)" 2>/dev/null && continue
        case $module in
            numpy) hint "numpy is not there; TensorRT by Python and onnxruntime need it: apt-get install python3-numpy" ;;
            PIL) hint "Pillow is not there; apps need it: apt-get install python3-pil" ;;
            onnxruntime) hint "onnxruntime is not there; only targets with runtime onnxruntime need it: python3 -m pip install --user onnxruntime" ;;
            tensorrt) hint "TensorRT's Python module is not there; edgekd then uses trtexec alone: apt-get install python3-libnvinfer" ;;
        esac
    done
else
    change "install Python 3" apt-get install -y python3
fi

# --- who may use the GPU ------------------------------------------------------------------------------------------------
if id "$user" >/dev/null 2>&1; then
    for group in video render; do
        getent group $group >/dev/null 2>&1 || continue # JetPack 4 has no group render
        case " $(id -nG "$user") " in
            *" $group "*) ok "$user is in the group $group" ;;
            *) change "add $user to the group $group (from the next login on)" usermod -a -G $group "$user" ;;
        esac
    done
else
    missing "there is no user $user: give --user NAME"
fi

# --- room ---------------------------------------------------------------------------------------------------------------
free_mb=$(df -Pm "$ROOT/" 2>/dev/null | awk 'NR == 2 { print $4 }')
if [ "${free_mb:-0}" -ge $disk_mb ]; then
    ok "$free_mb MB free on the disk"
else
    missing "only ${free_mb:-0} MB free on the disk; engines, their timing cache and logs want $disk_mb MB"
fi
memory_mb=$(awk '/^MemTotal:/ { print int($2 / 1024) }' "$ROOT/proc/meminfo" 2>/dev/null)
have_swap_mb=$(awk '/^SwapTotal:/ { print int($2 / 1024) }' "$ROOT/proc/meminfo" 2>/dev/null)
swap_file=$ROOT/swapfile-edgekd
make_swap() {
    rm -f "$swap_file.part"
    part=$swap_file.part # gone at the end of this script, however it ends: it may be the rest of the disk
    (umask 077 && dd if=/dev/zero of="$part" bs=1M count="$swap_mb") && mkswap "$part" && mv "$part" "$swap_file"
}
add_to_fstab() {
    [ -z "$(tail -c 1 "$ROOT/etc/fstab" 2>/dev/null)" ] || echo >>"$ROOT/etc/fstab" || return # a last line without an end would be joined
    printf '%s none swap sw 0 0\n' "/swapfile-edgekd" >>"$ROOT/etc/fstab"
}
if [ "$swap_mb" -gt 0 ]; then
    if [ -f "$swap_file" ]; then ok "a swap file is there: /swapfile-edgekd"; else change "make a swap file of $swap_mb MB" make_swap; fi
    if [ $apply = no ] || [ -f "$swap_file" ]; then # else it could not be made, and nothing may name it
        if grep -q '^/swapfile-edgekd ' "$ROOT/etc/fstab" 2>/dev/null; then
            ok "the swap file is in /etc/fstab"
        else
            change "name the swap file in /etc/fstab" add_to_fstab
        fi
        if grep -q '^/swapfile-edgekd ' "$ROOT/proc/swaps" 2>/dev/null; then ok "the swap file is in use"; else change "use the swap file" swapon "$swap_file"; fi
    fi
elif [ "${memory_mb:-0}" -lt 5000 ] && [ "${have_swap_mb:-0}" -lt 2000 ]; then
    hint "${memory_mb:-?} MB of memory, ${have_swap_mb:-0} MB of swap: an engine build may run out; --swap-mb 4096 makes a swap file"
else
    ok "${memory_mb:-?} MB of memory, ${have_swap_mb:-0} MB of swap"
fi

# --- power and clocks: shown; changed only where you name a mode --------------------------------------------------------
# -q prints the name and then the id; some releases print a fan line or a warning before.
mode_now=$(nvpmodel -q </dev/null 2>/dev/null | sed -n 's/^NV Power Mode: *//p' | head -n 1)
conf=$ROOT/etc/nvpmodel.conf
mode_id() { sed -n 's/^[[:space:]]*<[[:space:]]*POWER_MODEL[[:space:]]\{1,\}ID=\([0-9]*\)[[:space:]]\{1,\}NAME=\([^ >]*\).*/\2 \1/p' "$conf" 2>/dev/null | awk -v name="$1" '$1 == name { print $2; exit }'; }
mode_names() { sed -n 's/.*<[[:space:]]*POWER_MODEL[[:space:]].*NAME=\([^ >]*\).*/\1/p' "$conf" 2>/dev/null | tr '\n' ' '; }
if [ -z "$power_mode" ]; then
    ok "power mode ${mode_now:-not told}; left as it is"
elif [ "$mode_now" = "$power_mode" ] || [ "$mode_now" = "MODE_$power_mode" ]; then
    ok "power mode $mode_now, as asked"
else
    id=$(mode_id "$power_mode")
    [ -n "$id" ] || id=$(mode_id "MODE_$power_mode")
    if [ -z "$id" ]; then
        missing "no power mode $power_mode here; there are: $(mode_names)"
    else
        change "set the power mode from ${mode_now:-?} to $power_mode (it stays after a reboot, and may only begin with one)" nvpmodel -m "$id"
    fi
fi
hint "for repeatable figures pick a mode with a wattage in its name; edgekd locks the clocks for a measurement only where a recipe says clocks: lock"

# --- ssh ----------------------------------------------------------------------------------------------------------------
if installed openssh-server || [ -x "$ROOT/usr/sbin/sshd" ]; then
    ok "an ssh server is installed"
    server=yes
else
    change "install an ssh server" apt-get install -y openssh-server
    server=$apply # the package starts it, as a rule
fi
if [ "$server" = yes ] && have systemctl && ! systemctl is-enabled --quiet ssh 2>/dev/null && ! systemctl is-enabled --quiet ssh.socket 2>/dev/null; then
    change "start the ssh server, also after a reboot" systemctl enable --now ssh
fi
if [ ! -s "$(getent passwd "$user" 2>/dev/null | cut -d: -f6)/.ssh/authorized_keys" ]; then
    hint "$user has no authorized_keys: on your computer run ssh-copy-id $user@THIS-DEVICE"
fi

[ $broken = 0 ] || exit 3
if [ $todo = 1 ]; then
    echo "Nothing was changed. To do it: sudo sh $0 --apply$asked"
    exit 1
fi
