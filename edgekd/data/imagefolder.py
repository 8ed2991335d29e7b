"""A user's own images: one folder a class. Everything wrong with the tree is said before an image is decoded.

    root/train/<class>/**.jpg, root/val/<class>/**, [root/test/<class>/**]     the user's own split
    root/<class>/**.jpg                                                        one folder, split by seed

Classes are numbered in the order of their names by code point, as torchvision's ImageFolder does, so that a classifier
head trained there means the same here. Hidden files and folders do not exist; links are followed.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edgekd.core import EnvironmentProblem, InputError
from edgekd.data.source import Item, Listing, Part

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_PARTS: tuple[Part, ...] = ("train", "val", "test")
_MISNAMED = {"valid": "val", "validation": "val", "dev": "val", "eval": "val", "training": "train", "testing": "test"}
_SHAPE = "one folder a class: ROOT/<class>/*.jpg, or ROOT/train/<class>/*.jpg with ROOT/val/ (and ROOT/test/)"


def list_images(root: Path) -> Listing:
    """Items by part, named by their path below the part's folder; notes say what was passed over.

    Raises InputError: no such folder, no images, an empty class folder, fewer than two classes, val or test with other classes
    than train, a misnamed part, a link that leads nowhere. Raises EnvironmentProblem: a folder that may not be read.
    """
    if not root.is_dir():
        what = "the data path is a file, not a folder" if root.exists() else "the data folder does not exist"
        raise InputError(what, where="data.path", seen=str(root), fix=f"give the folder that holds {_SHAPE}")
    folders = {path.name: path for path in _folders(root)}
    notes: list[str] = []
    parts: dict[Part, Path] = {"all": root}
    if "train" in folders and folders.keys() & {"val", "test"}:
        parts = {part: folders[part] for part in _PARTS if part in folders}
        if passed_over := sorted(folders.keys() - parts.keys()):
            notes.append(f"data: beside train, val and test, these folders were passed over: {_few(passed_over)}")
    elif folders.keys() & {"train", "training"} and (misnamed := sorted(folders.keys() & _MISNAMED.keys())):
        renames = ", ".join(f"{name} to {_MISNAMED[name]}" for name in misnamed)
        raise InputError(
            "a part of the data has an unknown name", where=str(root), seen=_few(sorted(folders)), fix=f"rename {renames}"
        )
    elif set(folders) == {"train"}:
        parts = {"all": folders["train"]}
        notes.append("data: there is only train/, so the images to test on are split off it by seed")
    read = {part: read_part(folder, notes) for part, folder in parts.items()}
    first: Part = "all" if "all" in read else "train"
    classes = read[first][0]
    for part, (names, _) in read.items():
        same_classes(first, classes, part, names, root)
    if len(classes) < 2:
        raise InputError(
            "there is only one class", where=str(parts[first]), seen=classes[0], fix=f"at least two are needed; {_SHAPE}"
        )
    return Listing(classes, {part: items for part, (_, items) in read.items()}, hflip=True, notes=tuple(notes))


def read_part(folder: Path, notes: list[str]) -> tuple[tuple[str, ...], tuple[Item, ...]]:
    """Class names and items of one part; adds to ``notes``. Raises as list_images does."""
    classes = sorted(path.name for path in _folders(folder))
    if unwritable := [name for name in classes if not _is_utf8(name)]:
        what = "the name of a class folder is not UTF-8, so no document can hold it"
        raise InputError(what, where=str(folder), seen=_few(unwritable), fix="rename the folder")
    items: list[Item] = []
    passed_over: list[str] = []
    empty: list[str] = []
    for label, name in enumerate(classes):
        found = [path for path in sorted(_files(folder / name)) if _is_image(path, folder, passed_over)]
        items += [Item(path.relative_to(folder).as_posix(), label, path) for path in found]
        empty += [] if found else [name]
    loose = images_in(folder)
    if not items:
        seen = f"{len(classes)} folders, {loose} images outside class folders, {len(passed_over)} other files"
        raise InputError(
            "no images", where=str(folder), seen=seen, fix=f"the layout is {_SHAPE}; known endings: {' '.join(SUFFIXES)}"
        )
    if empty:
        what = f"{len(empty)} class folder{'s have' if len(empty) > 1 else ' has'} no images"
        raise InputError(what, where=str(folder), seen=_few(empty), fix="add images to it or remove the folder")
    if loose:
        notes.append(f"data: {loose:,} images outside the class folders of {folder.name}/ were passed over")
    if passed_over:
        notes.append(f"data: {len(passed_over)} files without an image ending were passed over: {_few(passed_over)}")
    return tuple(classes), tuple(items)


def _folders(folder: Path) -> list[Path]:
    """Raises InputError: a link leads nowhere, which could be a class or a part whose disk is not mounted."""
    visible = _visible(folder)
    if broken := sorted(path.name for path in visible if path.is_symlink() and not path.exists()):
        raise InputError("a link leads nowhere", where=str(folder), seen=_few(broken), fix="mend or remove it")
    return [path for path in visible if path.is_dir()]


def images_in(folder: Path) -> int:
    """How many images lie in ``folder`` itself."""
    return sum(path.suffix.lower() in SUFFIXES for path in _visible(folder) if path.is_file())


def _is_image(path: Path, folder: Path, passed_over: list[str]) -> bool:
    known = path.suffix.lower() in SUFFIXES
    if not known:
        passed_over.append(path.relative_to(folder).as_posix())
    return known


def _files(folder: Path) -> list[Path]:
    """All visible files below ``folder``, through links, each folder once."""
    found: list[Path] = []
    known: set[str] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        if (real := os.path.realpath(here)) in known:
            continue
        known.add(real)
        for path in _visible(here):
            (waiting if path.is_dir() else found).append(path)
    return found


def _is_utf8(name: str) -> bool:
    """Names of files are bytes; Python keeps those that are no UTF-8 as lone surrogates."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def _visible(folder: Path) -> list[Path]:
    try:
        (folder / "..").stat()  # not of a folder whose names may be listed, and nothing more
        return [path for path in folder.iterdir() if not path.name.startswith(".")]
    except PermissionError as error:
        raise EnvironmentProblem("the folder may not be read", where=str(folder), fix=f"chmod u+rx '{folder}'") from error


def same_classes(first: Part, expected: Sequence[str], part: Part, seen: Sequence[str], root: Path) -> None:
    """Raises InputError, naming the classes that only one of two parts has."""
    missing, extra = sorted(set(expected) - set(seen)), sorted(set(seen) - set(expected))
    if missing or extra:
        differences = [f"only in {name}: {_few(names)}" for name, names in ((first, missing), (part, extra)) if names]
        raise InputError(
            f"{first} and {part} do not have the same classes",
            where=str(root),
            seen="; ".join(differences),
            fix=f"name the class folders of {part} as those of {first}",
        )


def _few(names: Sequence[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
