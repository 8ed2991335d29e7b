"""CIFAR folders in the published formats, with a few random images a class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from python2_pickle import python2_pickle

CLASSES = {"cifar10": 10, "cifar100": 100}


def names(source: str) -> list[str]:
    return [f"thing_{label:02d}" for label in range(CLASSES[source])]


def pictures(source: str, per_class: int, seed: int) -> tuple[np.ndarray, list[int]]:
    """uint8 [N,3072] rows as both formats have them, and labels in turn."""
    labels = list(range(CLASSES[source])) * per_class
    return np.random.default_rng(seed).integers(0, 256, (len(labels), 3072), dtype=np.uint8), labels


def write_python(root: Path, source: str, per_class: int = 3) -> Path:
    folder = root / {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[source]
    folder.mkdir(parents=True)
    if source == "cifar10":
        files = {f"data_batch_{number}": (per_class, number) for number in range(1, 6)} | {"test_batch": (1, 9)}
        meta = ("batches.meta", {"num_cases_per_batch": 10_000, "label_names": names(source), "num_vis": 3072})
    else:
        files = {"train": (per_class, 1), "test": (1, 9)}
        meta = ("meta", {"fine_label_names": names(source), "coarse_label_names": ["all"]})
    for name, (count, seed) in files.items():
        rows, labels = pictures(source, count, seed)
        key = "labels" if source == "cifar10" else "fine_labels"
        coarse = {} if source == "cifar10" else {"coarse_labels": [0] * len(labels)}
        filenames = [f"{name}_{i}.png" for i in range(len(labels))]
        document = {"filenames": filenames, "batch_label": name, key: labels, **coarse, "data": rows}
        (folder / name).write_bytes(python2_pickle(document))
    (folder / meta[0]).write_bytes(python2_pickle(meta[1]))
    return folder


def write_binary(root: Path, source: str, per_class: int = 3) -> Path:
    folder = root / {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}[source]
    folder.mkdir(parents=True)
    if source == "cifar10":
        files = {f"data_batch_{number}.bin": (per_class, number) for number in range(1, 6)} | {"test_batch.bin": (1, 9)}
    else:
        files = {"train.bin": (per_class, 1), "test.bin": (1, 9)}
    for name, (count, seed) in files.items():
        rows, labels = pictures(source, count, seed)
        before = np.array(labels, np.uint8)[:, None]
        if source == "cifar100":  # the coarse label comes first
            before = np.concatenate([np.full_like(before, 255), before], axis=1)
        np.concatenate([before, rows], axis=1).tofile(folder / name)
    (folder / ("batches.meta.txt" if source == "cifar10" else "fine_label_names.txt")).write_text(
        "\n".join(names(source)) + "\n\n"
    )
    return folder
