"""A recorded transport: what a kit was told on the device, as answers to the very same requests; to no others."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekd.core import IntegrityError
from edgekd.device import build_zipapp
from edgekd.device.kit_calls import files_of
from edgekd.targets.kit.asked import answer_of
from edgekd.targets.kit.reply import KitFacts, Reply, new_folder
from edgekd.targets.transport import Answer

# Of a request: what says where things lie and how long to wait; and what a device's words stand for, which the probe tells.
_NOT_CONTENT = ("workdir", "deadline_s", "lock_wait_s", "sidecar", "timing_key")
_SHOWN = 3


class RecordedTransport:
    """name: the target's. Raises IntegrityError: the reply is damaged, of another target, or of another edgekd's agent."""

    workdir = ""

    def __init__(self, name: str, path: Path) -> None:
        self._name, self._reply, self._folder = name, Reply.opened(path), new_folder()
        self._files: dict[str, str] = {}
        try:
            if self.kit.target != name:
                raise self._other("it is of the target " + self.kit.target)
            if self.kit.agent != hashlib.sha256(build_zipapp()).hexdigest():
                raise self._other("agent: the kit was made by another version of edgekd")
        except BaseException:
            self.close()
            raise

    @property
    def kit(self) -> KitFacts:
        return self._reply.kit

    def put(self, source: Path, name: str) -> None:
        """Nothing travels: by its sha256 a request says which file it means."""

    def get(self, name: str) -> Path:
        """A file of the last answers. Raises IntegrityError: the reply has it not, or with other bytes."""
        if name not in self._files:
            raise IntegrityError("a file of the reply is missing", where=self._name, seen=name, fix=self._fix)
        return self._reply.part(self._files[name], Path(self._folder.name))

    def call(self, arguments: list[str], request: bytes, timeout_s: float) -> Answer:
        _, verb, _, token = arguments[:4]
        asked = _content(json.loads(request))
        of_verb = [one for one in self._reply.calls if one.get("verb") == verb]
        found = next((one for one in of_verb if _content(one.get("request")) == asked), None)
        if found is None:
            raise self._other(*_nearest(asked, [_content(one.get("request")) for one in of_verb], verb))
        body = found.get("body")
        stdout, stderr = (str(found.get(name, "")).encode("utf-8", "replace") for name in ("stdout", "stderr"))
        if body is None:
            status = found.get("status")
            return Answer(status if isinstance(status, int) else None, stdout, stderr)
        self._files.update({one["path"]: one["sha256"] for one in files_of(body)})
        return answer_of(json.dumps(body), token, stderr)

    def close(self) -> None:
        self._reply.close()
        self._folder.cleanup()

    @property
    def _fix(self) -> str:
        return f"make and run a new kit: {self.kit.new_kit}"

    def _other(self, what: str, fix: str = "") -> IntegrityError:
        where = f"{self._name}: {self._reply.path}"
        return IntegrityError("this reply does not answer what is asked now", where=where, seen=what, fix=fix + self._fix)


def _content(value: Any) -> Any:
    """A request without what may differ: files by their bytes alone."""
    if isinstance(value, list):
        return [_content(one) for one in value]
    if not isinstance(value, dict):
        return value
    kept = {key: _content(one) for key, one in value.items() if key not in _NOT_CONTENT}
    return {key: one for key, one in kept.items() if not (key in ("path", "bytes") and "sha256" in kept)}


def _nearest(asked: Any, recorded: list[Any], verb: str) -> tuple[str, str]:
    """Where the request differs from the one it is most like, and what mends it where that is no new kit."""
    differing = sorted((list(_differences(asked, one)) for one in recorded), key=len)
    if not differing:
        return f"{verb}: the kit was not asked for that, or stopped before", ""
    more = f" and {len(differing[0]) - _SHOWN} more" if len(differing[0]) > _SHOWN else ""
    engines = all(re.match(r"(engine|models\.[^.]+)\.sha256:", one) for one in differing[0])
    told = sorted(differing[0], key=lambda one: not one.startswith("plan."))  # which the words only follow
    fix = "of a newer reply of the same kit, --remeasure takes the engines too; else " if engines else ""
    return f"{verb}: " + "; ".join(told[:_SHOWN]) + more, fix


def _differences(asked: Any, recorded: Any, at: str = "") -> Iterator[str]:
    if isinstance(asked, Mapping) and isinstance(recorded, Mapping):
        for key in [*asked, *(key for key in recorded if key not in asked)]:
            yield from _differences(asked.get(key), recorded.get(key), f"{at}.{key}" if at else str(key))
    elif isinstance(asked, list) and isinstance(recorded, list) and len(asked) == len(recorded):
        for number, pair in enumerate(zip(asked, recorded, strict=True)):
            yield from _differences(*pair, f"{at}[{number}]")
    elif asked != recorded:
        yield f"{at}: {_short(asked)} is asked, the kit has {_short(recorded)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else text[:79] + "…"
