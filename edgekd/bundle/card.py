"""The model card: what the bundle is, what was measured and what was not, for people who only have the bundle."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from edgekd.core import Measurement
from edgekd.device.tensorrt_log import OLDEST

_MARKDOWN = re.compile(r"([\\`*_\[\]<>|#!~&])")


@dataclass(frozen=True)
class Card:
    """Facts of a bundle, in words. counts: images by split. measured: (where, measurement): ("cpu", latency_ms.p90).

    not_measured: (target, why). for_devices: (target, its ONNX files, the file that says what to do with them) of targets that
    build engines. data_license: None when the recipe's user has to know. smoke: it was made to try the chain.
    """

    student: str
    teacher: str
    method: str
    data: str
    counts: Mapping[str, int]
    data_license: str | None
    measured: Sequence[tuple[str, Measurement]]
    not_measured: Sequence[tuple[str, str]]
    for_devices: Sequence[tuple[str, Sequence[str], str]] = ()
    smoke: bool = False


def card_text(
    name: str,
    card: Card,
    labels: Sequence[str],
    models: Sequence[Mapping[str, object]],
    engines: Sequence[Mapping[str, object]],
    golden_cases: int,
) -> str:
    """MODEL_CARD.md. models, engines: as the manifest lists them. Names of classes, files and data are escaped, so that they
    cannot become Markdown or HTML."""
    environment = Environment(loader=PackageLoader(__package__, "."), undefined=StrictUndefined, trim_blocks=True)
    environment.filters.update({"md": _escaped, "value": _value})
    template = environment.get_template("card.md.jinja")
    built = {str(one["target"]): {**one, "loads": _loads(str(one["tensorrt"]))} for one in engines}
    oldest = ".".join(map(str, OLDEST))
    text = template.render(
        name=name, card=card, labels=labels, models=models, built=built, oldest=oldest, golden_cases=golden_cases
    )
    return text + "\n"


def _loads(tensorrt: str) -> bool:
    """Whether the device room runs engines of this version in an app."""
    return tuple(int(one) for one in tensorrt.split(".")) >= OLDEST


def _escaped(text: object) -> str:
    return _MARKDOWN.sub(r"\\\1", " ".join(str(text).split()))


def _value(measured: Measurement) -> str:
    """0.972 [0.95, 0.985], n=360."""
    if measured.value is None or measured.n == 0:
        return "not measured"
    span = f" [{measured.low:.4g}, {measured.high:.4g}]" if measured.low is not None and measured.high is not None else ""
    return f"{measured.value:.4g}{span}" + (f", n={measured.n:,}" if measured.n > 1 else "")
