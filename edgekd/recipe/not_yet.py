"""What design and papers name but this version cannot do: refused in plain words, not as a spelling mistake."""

from __future__ import annotations

# (path of the key, the value there) -> why not
VALUES: dict[tuple[str, str], str] = {
    ("compute.device", "gpu"): "the device of a GPU is called cuda here",
}

# metric -> why not
METRICS: dict[str, str] = {
    "lint": "this version has no linter yet; a failed export is an error by itself",
}
