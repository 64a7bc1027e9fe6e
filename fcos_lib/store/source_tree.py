"""The sources of a checkout as one digest: what a run says about the very code that measured and judged."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fcos_lib.store.artifacts import sha256_of
from fcos_lib.store.sources import PACKAGE, ROOT

TREE = (PACKAGE, "fixtures", "tests/acceptance", "conftest.py", "pytest.ini")
"""What a run of the acceptance suite executes or reads of the checkout; data sets and artifacts have digests of their own."""
LOCK = "requirements.lock"
_TEXTS = (".py", ".toml", ".ini", ".json", ".css", ".js", ".j2")


def tree_digest(root: Path = ROOT) -> str:
    """SHA-256 over every source file of `TREE` with its name, 64 hex digits; the same wherever the same checkout lies."""
    digest = hashlib.sha256()
    for path in sorted(_files(root), key=lambda path: path.relative_to(root).as_posix()):
        digest.update(f"{path.relative_to(root).as_posix()}\0{sha256_of(path)}\n".encode())
    return digest.hexdigest()


def lock_digest(root: Path = ROOT) -> str | None:
    """SHA-256 of the lock file, which pins what is installed; None where there is none."""
    try:
        return sha256_of(root / LOCK)
    except OSError:
        return None


def _files(root: Path) -> list[Path]:
    found: list[Path] = []
    for name in TREE:
        place = root / name
        found += [place] if place.is_file() else place.rglob("*")
    return [path for path in found if path.suffix in _TEXTS and path.is_file()]
