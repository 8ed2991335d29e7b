from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edgekd.core import IntegrityError
from edgekd.data import digits

# images of "0" to "9" in the test part, as the repository's own description file counts them
PUBLISHED_COUNTS = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
FIRST_ROWS = [[0, 0, 5, 13, 9, 1, 0, 0], [0, 0, 13, 15, 10, 15, 5, 0], [0, 3, 15, 2, 0, 11, 8, 0]]  # of its first line, a zero


def test_the_digits_are_the_published_ones() -> None:
    items = digits.list_digits().parts["all"]
    assert np.bincount([item.label for item in items]).tolist() == PUBLISHED_COUNTS
    levels = np.asarray(items[0].content)[:3, :, 0] * (16 / 255)
    assert (np.rint(levels).tolist(), items[0].label) == (FIRST_ROWS, 0)


def test_the_digits_span_all_of_a_byte_and_are_grey() -> None:
    image = np.stack([item.content for item in digits.list_digits().parts["all"]])
    assert (image.shape, image.dtype, image.min(), image.max()) == ((1797, 8, 8, 3), np.uint8, 0, 255)
    assert (image == image[..., :1]).all()


def test_a_changed_file_of_digits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(digits.FILE.read_bytes())
    content[1000] ^= 1
    (tmp_path / "digits.npz").write_bytes(content)
    monkeypatch.setattr(digits, "FILE", tmp_path / "digits.npz")
    with pytest.raises(IntegrityError, match="not the ones"):
        digits.list_digits.__wrapped__()


def test_source_licence_and_changes_lie_beside_the_digits() -> None:
    text = digits.FILE.with_suffix(".txt").read_text()
    for promised in ("10.24432/C50P49", "CC BY 4.0", "Alpaydin", "Kaynak", "What was changed", "UCI Machine Learning Repository"):
        assert promised in text
