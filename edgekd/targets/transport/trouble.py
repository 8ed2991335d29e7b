"""What ssh says when it fails, and what a person can do about it. Wording: OpenSSH's sources, 7.2 to 9.9."""

from __future__ import annotations

import re

from edgekd.core import DeviceError

_CHANGED = (
    "the host key of the device is not the one this machine knows",
    "either the device was set up anew, or somebody stands in between. Compare the key with the one the device itself shows"
    " (there: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub) before anything in known_hosts is changed",
)
# (what ssh's words contain, what it means, what to do). {ssh}: the command line a person would type.
_KNOWN = (
    ("REMOTE HOST IDENTIFICATION HAS CHANGED", *_CHANGED),
    ("Host key for .* has changed", *_CHANGED),
    ("POSSIBLE DNS SPOOFING", *_CHANGED),
    ("REVOKED HOST KEY|host key .*revoked", *_CHANGED),
    ("Host key verification failed|No .*host key is known", "this machine does not know the device's host key yet",
     "look at the key and accept it once, by hand: {ssh} true"),
    (r"Permission denied \(|Too many authentication failures|No supported authentication methods",
     "the device does not let us in", "let it know your key: ssh-copy-id ({ssh} must work without a password); a key with a"
     " passphrase needs the agent: ssh-add"),
    ("Could not resolve hostname|Name or service not known", "the name of the device's host cannot be resolved",
     "look for a typing error, give its address, or name it in your ssh config"),
    ("Connection refused", "nothing listens at the device's ssh port",
     "is ssh running there (sudo systemctl status ssh), and on this port? Try: {ssh} true"),
    ("[Cc]onnection timed out|Operation timed out", "the device does not answer",
     "is it switched on, in this network, and not behind a firewall? Try: {ssh} true"),
    ("No route to host|Network is unreachable|Host is down", "there is no way to the device in this network",
     "is it switched on and in this network? Try: {ssh} true"),
    ("Bad configuration option|terminating, .* bad configuration|Bad owner or permissions|Can't open user config|no argument"
     " after keyword", "ssh does not take its configuration", "mend the file it names; {ssh} true shows the same"),
    ("no matching (host key type|cipher|key exchange method|MAC)|no mutual|Unable to negotiate",
     "ssh here and on the device have no method in common", "update ssh on the device, or allow the method in your ssh config"),
    ("Connection closed|Connection reset|kex_exchange_identification|Broken pipe|not responding|send disconnect|read header"
     " failed|Software caused connection abort|banner exchange", "the connection to the device was lost",
     "is it still on, and its network stable? The same command goes on where this stopped"),
)  # fmt: skip

# Where ssh's own words name a host: by the address that an alias or a name led to, or by another name of it.
_NAMED = re.compile(
    r"(\S+) port \d+|resolve hostname (\S+):|server (\S+) not responding|[Cc]onnection to (\S+) (?:closed|timed)"
    r"|key is known for (\S+)|ost key for (\S+)|IP address (\S+)|-R (\S+)|(\S+@\S+): Permission denied"
)


def hosts_in(said: str) -> frozenset[str]:
    """The hosts that a failure's text names in ssh's own words: what is kept and shared names none."""
    found = {next(filter(None, one.groups())).strip("\"'`.,:;") for one in _NAMED.finditer(said)}
    bare = {one for name in found for one in re.findall(r"\[([^\]]+)\]", name) + re.findall(r"@(.+)$", name)}
    return frozenset(found | bare)


def trouble(stderr: bytes, by_hand: str, where: str) -> DeviceError:
    """Why ssh ended without running the command to its end. stderr: its own words; by_hand: what a person would type."""
    text = stderr.decode("utf-8", "replace")
    words = " ".join(text[-600:].split()) or "nothing"
    for pattern, what, fix in _KNOWN:
        if re.search(pattern, text):
            return DeviceError(what, where=where, seen=f"{by_hand}: {words}", fix=fix.replace("{ssh}", by_hand))
    lost = "the connection to the device was lost" if not text.strip() else "ssh could not reach the device"
    fix = f"try: {by_hand} true. The same command goes on where this stopped"
    return DeviceError(lost, where=where, seen=f"{by_hand}: {words}", fix=fix)
