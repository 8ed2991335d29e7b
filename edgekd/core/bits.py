"""Truth values as a short text, one bit each, so that two results on the same images can be compared image by image."""

from __future__ import annotations

import base64
from collections.abc import Sequence


def packed(truths: Sequence[bool]) -> str:
    """Base64 of the bits, first value first; "" for none."""
    padded = "".join("1" if one else "0" for one in truths).ljust(-(-len(truths) // 8) * 8, "0")
    return base64.b64encode(int(padded, 2).to_bytes(len(padded) // 8, "big")).decode() if padded else ""


def unpacked(text: str, n: int) -> list[bool] | None:
    """The n truth values ``packed`` was given; None if the text does not hold so many."""
    try:
        content = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    if len(content) != -(-n // 8):
        return None
    return [letter == "1" for letter in "".join(f"{byte:08b}" for byte in content)[:n]]
