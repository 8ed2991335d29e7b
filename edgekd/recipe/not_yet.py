"""What design and papers name but this version cannot do: refused in plain words, not as a spelling mistake."""

from __future__ import annotations

_METHODS = "has label, kd, sld and none"
_SOURCES = "reads digits and imagefolder"

# (path of the key, the value there) -> why not
VALUES: dict[tuple[str, str], str] = {
    ("distill.method", "ffkd"): f"this version has no ffkd yet; it {_METHODS}",
    ("distill.method", "dkd"): f"this version has no dkd yet; it {_METHODS}",
    ("compute.device", "gpu"): "the device of a GPU is called cuda here",
    ("data.source", "cifar10"): f"this version has no source cifar10 yet; it {_SOURCES}",
    ("data.source", "cifar100"): f"this version has no source cifar100 yet; it {_SOURCES}",
    ("data.source", "imagenet"): f"this version has no source imagenet yet; it {_SOURCES}",
}

# metric -> why not
METRICS: dict[str, str] = {
    "power_w": "this version does not measure power yet",
    "energy_mj": "this version does not measure energy yet",
    "lint.errors": "this version has no linter yet; a failed export is an error by itself",
}
