"""Host: where a device is, as a person writes it; never a word that ssh could take for an option or a shell for more."""

from __future__ import annotations

import re
from dataclasses import dataclass

from edgekd.core import InputError

_SHAPE = "[user@]host[:port], such as nano@192.168.1.20, [fe80::1]:2222 or a name of your ssh config"
_NAME = re.compile(r"[^\W_][\w.+,=-]*|_[\w.+,=-]+")  # letters of any script: aliases of an ssh config need no DNS
_ADDRESS = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*(%[A-Za-z0-9._-]+)?")  # IPv6, perhaps with its interface
_USER = re.compile(r"[\w.+=][\w.+=@\\-]*[\w.+=$-]|[\w.+=]")


@dataclass(frozen=True)
class Host:
    """name: a host name, an address or any alias of the user's ssh config. user, port: None where ssh decides."""

    name: str
    user: str | None = None
    port: int | None = None

    @staticmethod
    def parse(text: str, *, where: str = "host") -> Host:
        """``[user@]host[:port]``; IPv6 addresses stand in brackets. Raises InputError for anything else."""
        user, at, rest = text.rpartition("@")
        bracketed = re.fullmatch(r"\[([^\[\]]*)\](?::(.*))?", rest, re.DOTALL)
        if bracketed:
            name, port = bracketed.groups()
        else:
            name, colon, given = rest.partition(":")
            port = given if colon else None
        if not bracketed and rest.count(":") > 1:
            fix = "an IPv6 address stands in brackets: [fe80::1], [fe80::1]:2222"
            raise InputError("this is no place of a device", where=where, seen=repr(text), fix=fix)
        if not (_ADDRESS if bracketed else _NAME).fullmatch(name) or (at and not _USER.fullmatch(user)):
            raise InputError("this is no place of a device", where=where, seen=repr(text), fix=_SHAPE)
        if port is not None and not (re.fullmatch(r"[0-9]{1,5}", port) and 1 <= int(port) <= 65535):
            raise InputError("this is no port: 1 to 65535", where=where, seen=repr(port), fix=_SHAPE)
        return Host(name, user or None, int(port) if port is not None else None)

    @property
    def arguments(self) -> list[str]:
        """The words of an ssh command line that name this host; the last ones of its options."""
        port = ["-p", str(self.port)] if self.port is not None else []
        return [*port, *(["-l", self.user] if self.user else []), "--", self.name]

    @property
    def address(self) -> str:
        """Without a port, as ssh takes it."""
        return (f"{self.user}@" if self.user else "") + self.name

    def __str__(self) -> str:
        name = f"[{self.name}]" if ":" in self.name else self.name
        return (f"{self.user}@" if self.user else "") + name + (f":{self.port}" if self.port is not None else "")
