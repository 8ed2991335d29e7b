"""ImageNet's classification set as folders: ROOT/train/<synset>/*.JPEG and ROOT/val/<synset>/*.JPEG.

Classes are numbered in the order of their synsets, as torchvision's weights number them, and called by their first English word
where a table of synsets lies in ROOT.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from edgekd.core import InputError
from edgekd.core.files import disk_problems
from edgekd.data.imagefolder import images_in, read_part, same_classes
from edgekd.data.source import Listing

TABLES = ("LOC_synset_mapping.txt", "synset_words.txt", "words.txt")  # lines "n01440764 tench, Tinca tinca"; words.txt with a tab


def list_imagenet(root: Path) -> Listing:
    """Parts train and val; test pictures, whose classes nobody has published, are not looked at.

    Raises InputError: no train or val, validation pictures that are not sorted into synsets, and as list_images does.
    """
    train, val = root / "train", root / "val"
    if missing := [folder.name for folder in (train, val) if not folder.is_dir()]:
        fix = "give the folder that holds train/<synset>/*.JPEG and val/<synset>/*.JPEG"
        raise InputError(f"ImageNet has no {' and no '.join(missing)} here", where="data.path", seen=str(root), fix=fix)
    if not any(path.is_dir() for path in val.iterdir()) and (flat := images_in(val)):
        fix = "move each picture to val/<synset>/, by ILSVRC2012_validation_ground_truth.txt or LOC_val_solution.csv"
        raise InputError(
            "the validation pictures are not sorted into synsets", where=str(val), seen=f"{flat:,} pictures", fix=fix
        )
    notes: list[str] = []
    classes, train_items = read_part(train, notes)
    val_classes, val_items = read_part(val, notes)
    same_classes("train", classes, "val", val_classes, root)
    return Listing(_called(root, classes), {"train": train_items, "val": val_items}, hflip=True, notes=tuple(notes))


def _called(root: Path, synsets: Sequence[str]) -> tuple[str, ...]:
    """First words of the table; the synset too where two classes share a word, and alone where the table lacks it."""
    table = next((root / name for name in TABLES if (root / name).is_file()), None)
    if table is None:
        return tuple(synsets)
    with disk_problems(table):
        lines = (line.split(maxsplit=1) for line in table.read_text(encoding="utf-8", errors="replace").splitlines())
    words = {line[0]: line[1].split(",")[0].strip() for line in lines if len(line) == 2}
    chosen = [words.get(synset, synset) for synset in synsets]
    shared = Counter(chosen)
    return tuple(word if shared[word] == 1 else f"{word} ({synset})" for word, synset in zip(chosen, synsets, strict=True))
