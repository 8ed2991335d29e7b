"""Be a user to whom things can be forbidden: root, as tests in containers often are, may do everything."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """Within, root is nobody; who is not root stays as they are. ``folder`` and what lies in it is given to that user."""
    if os.geteuid():
        yield
        return
    _hand_over(folder)
    group = os.getegid()
    os.setegid(NOBODY)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)


def _hand_over(folder: Path) -> None:
    for above in folder.parents:
        if any(part.startswith("pytest-") for part in above.parts):  # pytest's own: made for their owner alone
            above.chmod(above.stat().st_mode | 0o001)
    for base, folders, names in os.walk(folder):
        for name in [".", *folders, *names]:
            os.chown(Path(base, name), NOBODY, NOBODY, follow_symlinks=False)
