"""The code's part of a key: whatever is kept depends on the module that makes it and on all that this imports.

This is the one rule about code for everything that is kept between runs: artifacts (`artifacts.py`), the reference's results
(`stream/references.py`) and an evaluation's journal. Imports are read from the sources, those inside of functions included, so
that no list of files has to be kept. A module that is only imported to say what is wrong counts as well: computing once too
often costs time, serving what is stale costs a verdict.
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from importlib.util import resolve_name
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path(__file__).resolve().parents[1].name
LIBRARIES = {
    "aclruntime": ("aclruntime",),
    "cv2": ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless"),
    "mmdet": ("mmdet", "mmcv", "mmcv-lite"),
    "mmengine": ("mmengine",),
    "numpy": ("numpy",),
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "torch": ("torch",),
}
"""Libraries that compute what is kept, by the name they are imported by, and the distributions that may bring them."""


def dependencies(*makers: str, root: Path = ROOT) -> dict[str, Any]:
    """What a key says about the code that makes something: JSON-ready, and the same wherever the same code is installed.

    `makers` are modules of this package, below `root`; a module of another one adds nothing. `sources` are 12 hex digits over
    the text of `modules_behind` them, `libraries` the versions of those `LIBRARIES` that any of these imports.
    """
    digest, libraries = hashlib.sha256(), set()
    for name, path in sorted(modules_behind(*makers, root=root).items()):
        text = path.read_bytes()
        digest.update(name.encode() + b"\0" + text + b"\0")
        libraries |= {
            imported.partition(".")[0] for imported in _imports(text, _package(name, path))
        } & LIBRARIES.keys()
    versions = {name: installed(*LIBRARIES[name]) for name in sorted(libraries)}
    return {"sources": digest.hexdigest()[:12], "libraries": versions}


def modules_behind(*makers: str, root: Path = ROOT) -> dict[str, Path]:
    """The files of these modules and of all that they import of this package, directly or not, by the modules' names.

    The packages around a module belong to it, since Python runs them first.
    """
    files: dict[str, Path] = {}
    waiting = list(makers)
    while waiting:
        name = waiting.pop()
        path = None if name in files else _file(name, root)
        if path is not None:
            files[name] = path
            waiting += [name.rpartition(".")[0], *_imports(path.read_bytes(), _package(name, path))]
    return files


def _file(name: str, root: Path) -> Path | None:
    """The file of a module of this package; None for what is none, such as a function, or belongs to others."""
    if name.partition(".")[0] != PACKAGE:
        return None
    path = root.joinpath(*name.split("."))
    files = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((file for file in files if file.is_file()), None)


def _package(name: str, path: Path) -> str:
    return name if path.name == "__init__.py" else name.rpartition(".")[0]


_WITH_STATEMENTS = (ast.stmt, ast.excepthandler, ast.match_case)
"""Where an import can be. Expressions, most of what a text is parsed into, have none; every run reads fifty modules."""


@cache
def _imports(text: bytes, package: str) -> tuple[str, ...]:
    """What a module's text imports; `a.b.c` for `from a.b import c` too, which may be a module. Not what only types need."""
    return tuple(sorted(set(_imported(ast.parse(text), package))))


def _imported(node: ast.AST, package: str) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        module = resolve_name(f"{'.' * node.level}{node.module or ''}", package) if node.level else str(node.module)
        yield from (module, *(f"{module}.{alias.name}" for alias in node.names))
    elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        for other in node.orelse:
            yield from _imported(other, package)
    else:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, _WITH_STATEMENTS):
                yield from _imported(child, package)


@cache
def installed(*distributions: str) -> str:
    """Name and version of each of these that is installed: two that bring the same module overwrite each other."""
    versions = []
    for name in distributions:
        with suppress(PackageNotFoundError):
            versions.append(f"{name} {version(name)}")
    return ", ".join(versions) or "not installed"
