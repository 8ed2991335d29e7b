"""Weights from files and from torchvision, into a model that exists; and saved models that say what they are.

Only formats that hold data are read: safetensors, and PyTorch files as far as ``weights_only`` reads them. Weights are copied
into the model's own parameters, so memory format and dtype stay the model's.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torchvision
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from safetensors.torch import save as to_bytes
from torch import Tensor, nn

from edgekd.core import EnvironmentProblem, InputError, IntegrityError
from edgekd.core.files import disk_problems, write_atomic
from edgekd.models.inference import fold_for_inference
from edgekd.models.mdistiller import renamed
from edgekd.models.names import TORCHVISION
from edgekd.models.registry import create, spec_of

_WRAPPERS = ("state_dict", "model", "model_state_dict", "net")  # keys that common training scripts put the weights under
_PREFIXES = ("module.", "_orig_mod.", "model.")  # DataParallel, torch.compile, Lightning
_OWN_NORMALIZATION = ("googlenet", "inception_v3")  # their ImageNet weights re-normalise the input inside the model
_NAMED = 5


def load(model: nn.Module, source: str | Path, *, replace_head: bool = False) -> tuple[str, ...]:
    """Copy weights into ``model``; returns the names of tensors that kept their initial values (the head, if it was replaced).

    source: "imagenet" (torchvision's default weights) or a .safetensors, .pt or .pth file, bare or under state_dict, model and
    the like, with our names or mdistiller's. replace_head: accept a head for another number of classes and leave the model's own
    as it is.
    Raises InputError: not such a file; missing, extra or misshapen tensors; NaN or infinity; another number of classes.
    IntegrityError: the file would run code, or a download is damaged. EnvironmentProblem: no download.
    """
    state = _imagenet(model) if source == "imagenet" else renamed(spec_of(model).name, _unwrapped(_read(Path(source))))
    own = model.state_dict()
    head = _foreign_head(model, own, state)
    if head and not replace_head:
        raise InputError(
            "the weights are for another number of classes",
            where=str(source),
            seen=", ".join(f"{name} {list(state[name].shape)}, here {list(own[name].shape)}" for name in head),
            fix="use weights trained for these classes, or train a new head",
        )
    problems = [f"missing {name}" for name in own if name not in state and not name.endswith("num_batches_tracked")]
    problems += [f"not in the model: {name}" for name in state if name not in own]
    problems += [
        f"{name} is {list(state[name].shape)}, here {list(own[name].shape)}"
        for name in own
        if name in state and name not in head and state[name].shape != own[name].shape
    ]
    problems += [
        f"{name} holds no plain real numbers"
        for name, tensor in state.items()
        if tensor.layout is not torch.strided
        or tensor.is_meta
        or (name in own and tensor.is_floating_point() != own[name].is_floating_point())
    ]
    _refuse(problems, "the weights do not fit the model", source, "use the model (and width) that the weights were trained as")
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not bool(tensor.isfinite().all())]
    _refuse(broken, "the weights are not all finite numbers", source, "use a checkpoint from before the training broke")
    with torch.no_grad():
        for name, tensor in own.items():
            if name in state and name not in head:
                tensor.copy_(state[name])
    return head


def save(model: nn.Module, path: Path, *, meta: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, atomically, that ``load_saved`` makes the same model of; equal models give equal bytes.

    meta: further entries of the file's metadata. Raises InputError: the model was not made by ``create``.
    """
    spec = spec_of(model)
    folded = {"edgekd.folded": "1"} if getattr(model, "edgekd_folded", False) else {}
    known = {
        "edgekd.model": spec.name,
        "edgekd.width": repr(spec.width),
        "edgekd.classes": str(spec.classes),
        "edgekd.image_size": json.dumps(list(spec.image_size)),
    }
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    write_atomic(path, _with_sorted_header(to_bytes(state, {**(meta or {}), **known, **folded})))


def load_saved(path: Path) -> nn.Module:
    """The model that ``save`` wrote, on the host, in eval mode. Raises InputError: no such file, or no file of ``save``."""
    _require_file(path)
    with _readable(path), safe_open(path, "pt") as file:
        meta = file.metadata() or {}
    try:
        name, classes, width = meta["edgekd.model"], int(meta["edgekd.classes"]), float(meta["edgekd.width"])
        height, width_px = json.loads(meta["edgekd.image_size"])
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(
            "the file does not say what model it holds", where=str(path), seen=repr(error), fix="only files that edgekd saved"
        ) from error
    model = create(name, classes=classes, image_size=(height, width_px), width=width)
    model = fold_for_inference(model) if "edgekd.folded" in meta else model.eval()
    load(model, path)
    return model


def _read(path: Path) -> Mapping[str, Any]:
    _require_file(path)
    with _readable(path), disk_problems(path):
        if path.suffix == ".safetensors":
            return load_file(path)
        if path.suffix in (".pt", ".pth"):
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
            if isinstance(found, Mapping):
                return found
            raise InputError(
                "the file holds no named tensors",
                where=str(path),
                seen=type(found).__name__,
                fix="torch.save(model.state_dict(), …)",
            )
    raise InputError(
        "unknown kind of weights file", where=str(path), seen=path.suffix or "no ending", fix=".safetensors, .pt or .pth"
    )


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise InputError("no such weights file", where=str(path), fix="give a .safetensors, .pt or .pth file")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Say of a file that a reader refuses whether it is unsafe or damaged."""
    unsafe_fix = "load it where you trust it and save model.state_dict() as .safetensors"
    try:
        yield
    except pickle.UnpicklingError as error:
        seen = " ".join(str(error).split())
        seen = seen[seen.find("Unsupported") :][:160] if "Unsupported" in seen else seen[:160]
        raise IntegrityError(
            "refused: the file holds more than tensors and could run code", where=str(path), seen=seen, fix=unsafe_fix
        ) from error
    except (SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        seen = " ".join(str(error).split())[:160]
        if "TorchScript" in seen:
            raise IntegrityError(
                "refused: the file is a TorchScript program, not weights", where=str(path), seen=seen, fix=unsafe_fix
            ) from error
        raise InputError(
            "the weights file is damaged or of another kind", where=str(path), seen=seen, fix="copy or download it again"
        ) from error


def _unwrapped(found: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors below one wrapper key and one prefix, if all share it."""
    for key in _WRAPPERS:
        if isinstance(found.get(key), Mapping):
            found = found[key]
    for prefix in _PREFIXES:
        if found and all(isinstance(name, str) and name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return {str(name): tensor for name, tensor in found.items() if isinstance(tensor, Tensor)}


def _imagenet(model: nn.Module) -> dict[str, Tensor]:
    name = spec_of(model).name
    if name not in TORCHVISION or name in _OWN_NORMALIZATION:
        why = "re-normalise their input inside the model" if name in TORCHVISION else "are torchvision's, and this model is not"
        raise InputError(
            f"no ImageNet weights for {name}: they {why}", where="weights", seen="imagenet", fix="a file, or another model"
        )
    try:
        # through torchvision's own builder, which knows how each of its old files is named inside
        pretrained: nn.Module = torchvision.models.get_model(name, weights="DEFAULT", progress=False)
    except RuntimeError as error:
        if "hash" not in str(error):
            raise
        raise IntegrityError(
            "the downloaded weights are damaged", where="weights", seen=str(error)[:160], fix="run the command again"
        ) from error
    except OSError as error:
        cache = Path(torch.hub.get_dir()) / "checkpoints"
        url = torchvision.models.get_model_weights(name).DEFAULT.url
        fix = f"connect to the network, or put {url} into {cache}, or use weights from a file"
        raise EnvironmentProblem(
            "torchvision's weights could not be downloaded", where="weights", seen=str(error)[:160], fix=fix
        ) from error
    return pretrained.state_dict()


def _foreign_head(model: nn.Module, own: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Names of the tensors that differ only in the number of classes; none if anything else differs about them."""
    classes = getattr(getattr(model, "edgekd_spec", None), "classes", None)
    head = [
        name
        for name, tensor in own.items()
        if name in state and tensor.ndim and tensor.shape != state[name].shape
        if tensor.shape[0] == classes and state[name].ndim == tensor.ndim and state[name].shape[1:] == tensor.shape[1:]
    ]
    return tuple(head) if len({state[name].shape[0] for name in head}) == 1 else ()


def _refuse(problems: list[str], what: str, source: str | Path, fix: str) -> None:
    if problems:
        more = f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise InputError(f"{what}: {len(problems)} tensors", where=str(source), seen="; ".join(problems[:_NAMED]) + more, fix=fix)


def _with_sorted_header(content: bytes) -> bytes:
    """safetensors writes its metadata in the order of a seeded hash table; sorted, the same weights are the same bytes."""
    length = int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8 : 8 + length]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[8 + length :]
