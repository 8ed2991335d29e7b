"""The process set up as the recipe's ``compute`` says, for stages that use torch."""

from __future__ import annotations

import os
from typing import Any

import torch

from edgekd.core import InputError
from edgekd.recipe import Recipe


def set_up(recipe: Recipe) -> torch.device:
    """Threads, determinism and device as the recipe's ``compute`` says. Raises InputError: cuda asked for and not there."""
    threads = recipe.compute.threads
    threads = len(os.sched_getaffinity(0)) if threads == "auto" else threads
    torch.set_num_threads(max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", 1))))  # torchrun: processes on this machine
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or cuBLAS is not deterministic; read at its first use
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a costly debugging aid
    wanted = recipe.compute.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("no CUDA device is usable here", where="compute.device", seen="cuda", fix="compute.device: auto or cpu")
    return torch.device("cuda" if wanted != "cpu" and torch.cuda.is_available() else "cpu")


def compute_used(device: torch.device) -> dict[str, Any]:
    """What ``compute`` came to on this machine, for the notes of a step."""
    return {"device": str(device), "threads": torch.get_num_threads()}
