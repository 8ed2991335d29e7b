"""Named tensors as a file of their own, for networks that ``create`` cannot make again by name (a folded, quantized one)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor

from edgekd.core import IntegrityError
from edgekd.core.files import write_atomic


def save_state(state: Mapping[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors, atomically."""
    write_atomic(path, to_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}))


def load_state(path: Path) -> dict[str, Tensor]:
    """Read what ``save_state`` wrote. Raises IntegrityError: not such a file."""
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise IntegrityError("the tensors cannot be read", where=str(path), seen=str(error), fix="make them again") from error
