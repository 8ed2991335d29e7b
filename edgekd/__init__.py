"""edgekd: one recipe in, one device-proven student out. See docs/design.md for the nouns and rooms."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekd.library import quantize

__all__ = ["__version__", "quantize"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name != "quantize":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return import_module("edgekd.library").quantize
