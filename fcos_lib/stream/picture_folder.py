"""The folder of pictures: whether the files that an annotation file names are there, and in the dataset."""

from __future__ import annotations

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from fcos_lib.errors import DatasetError
from fcos_lib.files import some


def check_files(folder: Path, names: Iterable[str], annotations: Path) -> None:
    """`DatasetError` for pictures that are missing, and for links that lead out of the dataset."""
    inside = (folder.parent.resolve(), folder.resolve())
    by_folder: defaultdict[str, list[str]] = defaultdict(list)
    for name in names:
        by_folder[name.rpartition("/")[0]].append(name)
    absent, outside = [], []
    for below, expected in by_folder.items():
        where = folder / below
        if below and not _within(where, *inside):
            outside += expected
            continue
        entries = {entry.name: entry for entry in os.scandir(where)} if where.is_dir() else {}
        for name in expected:
            entry = entries.get(name.rpartition("/")[2])
            if entry is None:
                absent.append(name)
            elif entry.is_symlink() and not _within(Path(entry.path), *inside):
                outside.append(name)
    if outside:
        raise DatasetError(
            f"in {folder}, pictures are links that lead out of it: {some(outside)}",
            "put the pictures themselves there, or links to files below the dataset's folder",
        )
    if absent:
        raise DatasetError(
            f"{annotations} names pictures that are not in {folder}: {some(absent)}", _advice(absent, folder)
        )


def _advice(absent: Sequence[str], folder: Path) -> str:
    """What to do about pictures that are absent."""
    if any("\\" in name for name in absent):
        return "write / between folders and names, not \\"
    if all(name.startswith(f"{folder.name}/") for name in absent):
        return f"file names are paths below {folder.name}/: leave {folder.name}/ away"
    first = folder / absent[0]
    near = [path.name for path in (first.parent.iterdir() if first.parent.is_dir() else ()) if _alike(path, first)]
    if near:  # in ASCII, since two that look alike may differ in how an accent is written
        return f"{near[0]!a} is there, for {first.name!a}: upper case, lower case and accents have to be the same"
    return "unpack COCO's val2017.zip there; the annotation file and the folder must belong together"


def _alike(*paths: Path) -> bool:
    """Whether names differ at most in upper and lower case and in how accents are written, as other systems than Linux let them."""
    return len({unicodedata.normalize("NFC", path.name).casefold() for path in paths}) == 1


def _within(path: Path, *folders: Path) -> bool:
    """True if the path, its links followed, stays in one of the folders."""
    target = Path(os.path.realpath(path))
    return any(folder in target.parents for folder in folders)
