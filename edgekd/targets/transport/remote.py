"""What is asked of a device's shell: short scripts for any POSIX sh, in one line each, every word of ours quoted.

Their output stands between markers, because a shell that a login starts may print whatever it likes around it.
"""

from __future__ import annotations

import shlex

WORK_AGE_MINUTES = 24 * 60  # a work folder that nothing has used for so long is of a run that died
MOST_SENT_BYTES, MOST_SENT_FILES = 2 << 30, 256  # kept on the device, so that nothing travels twice
REFUSED, OTHER_BYTES, NOT_THERE = 3, 4, 5  # exit statuses of the scripts; above 125 are the shell's


def bracketed(script: str, token: str) -> str:
    """The command line that runs ``script`` in sh, whatever shell the user has there. After its output: its exit status."""
    text = (
        f"LC_ALL=C; export LC_ALL; umask 077; printf '\\nEDGEKD-{token}-BEGIN\\n'; ( {script} ); "
        f"printf '\\nEDGEKD-{token}-END %d\\n' $?"
    )
    return f"exec sh -c {shlex.quote(text)}"


def program(path: str) -> str:
    """A program's name or path as a word; ``~/`` is the home of the user there."""
    return '"$HOME"/' + shlex.quote(path[2:]) if path.startswith("~/") else shlex.quote(path)


def opened(python: str) -> str:
    """Makes a private work folder and removes those of dead runs. Prints: it, the folder of sent files, Python's version."""
    version = shlex.quote('import sys; print("%d.%d" % sys.version_info[:2])')
    return (
        'base="${XDG_CACHE_HOME:-$HOME/.cache}/edgekd"; mkdir -p "$base/sent" "$base/work" && cd "$base" && base=$(pwd) '
        f"|| exit {REFUSED}; "
        f'find "$base/work" -mindepth 1 -maxdepth 1 -type d -mmin +{WORK_AGE_MINUTES} -exec rm -rf {{}} + 2>/dev/null; '
        f'work=$(mktemp -d "$base/work/XXXXXXXXXX") || exit {REFUSED}; '
        f'printf "%s\\n" "$work" "$base/sent"; {program(python)} -E -c {version} </dev/null 2>&1'
    )


def bytes_there(sent: str, digest: str, part: str) -> str:
    """Prints how many bytes of this file the device has: a number, or "all"."""
    whole, begun = shlex.quote(f"{sent}/{digest}"), shlex.quote(f"{sent}/{part}")
    return f"if [ -f {whole} ]; then echo all; elif [ -f {begun} ]; then wc -c < {begun}; else echo 0; fi"


def received(sent: str, part: str, *, anew: bool) -> str:
    """Appends stdin to what is there of a file, under the name ``part``; anew: begins it."""
    part = shlex.quote(f"{sent}/{part}")
    return f"cat {'>' if anew else '>>'} {part} || exit {REFUSED}; "


def placed(sent: str, digest: str, python: str, work: str, name: str, *, part: str | None) -> str:
    """Puts a sent file into the work folder after its sha256 was compared; a damaged one is removed. Then the oldest go.

    part: the name it was received under; None where it was there.
    """
    there, whole = shlex.quote(f"{sent}/{part or digest}"), shlex.quote(f"{sent}/{digest}")
    target = shlex.quote(f"{work}/{name}")
    by_python = shlex.quote("import hashlib, sys; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())")
    columns = "unset TIME_STYLE BLOCK_SIZE LS_BLOCK_SIZE BLOCKSIZE"  # of the user there; ls would write others than awk reads
    limits = f"t > {MOST_SENT_BYTES} || n > {MOST_SENT_FILES}"
    oldest = shlex.quote("NF == 9 { t += $5; n += 1; if (" + limits + ") print $9 }")
    return (
        f"h=$(sha256sum < {there} 2>/dev/null || {program(python)} -E -c {by_python} < {there}); "
        f'[ "${{h%% *}}" = {digest} ] || {{ rm -f {there}; exit {OTHER_BYTES}; }}; '
        + (f"mv -f {there} {whole} && " if part else "")
        + f"touch {whole}; ln -f {whole} {target} 2>/dev/null || cp {whole} {target} || exit {REFUSED}; "
        f"{columns}; cd {shlex.quote(sent)} && ls -lnt | awk {oldest} | xargs rm -f"
    )


def size(work: str, name: str) -> str:
    """Prints the bytes of a result."""
    return f"wc -c < {shlex.quote(f'{work}/{name}')} || exit {NOT_THERE}"


def content(work: str, name: str) -> str:
    return f"cat {shlex.quote(f'{work}/{name}')} || exit {NOT_THERE}"


def agent(work: str, python: str, arguments: list[str]) -> str:
    """Runs the agent in the work folder, which it marks as in use."""
    run = f"exec {program(python)} -E edgekd.pyz {shlex.join(arguments)} --hold"
    return f"cd {shlex.quote(work)} && touch . || exit {NOT_THERE}; LC_ALL=C.UTF-8; {run}"


def removed(work: str) -> str:
    return f"rm -rf {shlex.quote(work)}"
