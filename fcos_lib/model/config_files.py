"""The files of a config: it and its `_base_` files, read and merged by mmengine's rules; nothing in them is run.

Which files: `.py` only, at most 16 of 256 KiB each, none that includes itself. A `_base_` is relative to the file that names it and stays in
the config tree, through links too: the folder above the config's own unless another one is given. `mmdet::fcos/...` is the
installed mmdet's.
"""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass, field
from pathlib import Path

from fcos_lib.errors import UsageError
from fcos_lib.files import read_plain
from fcos_lib.model.config_syntax import Node, Place, node_of, refuse, statements
from fcos_lib.model.config_values import BASE, Reader

_MOST_BYTES = 1 << 18
_MOST_FILES = 16
_DELETE = "_delete_"
_PACKAGE = "mmdet::"
_TREE = "put the file into the config's tree, or name the folder that holds both with --config-root"


def read_config(path: Path, root: Path | None = None) -> Node:
    """All variables of a config, those of its bases included; `UsageError` names the file and the line that is refused.

    `root` is the folder that no `_base_` file may lie outside of; without it, the folder above the config's.
    """
    real = _resolved(path, str(path))
    tree = _resolved(root, str(root)) if root else real.parent.parent
    if not real.is_relative_to(tree):
        raise UsageError(f"{path} is not in the folder {tree}", "name a folder above it with --config-root")
    if real.suffix != ".py":
        raise UsageError(f"{path} is no .py file", "pass a config of mmdetection; a record in TOML needs no conversion")
    return _Family(tree).read(real, str(path), ())


@dataclass
class _Family:
    """The files that belong to one config."""

    root: Path
    count: int = field(default=0)

    def read(self, path: Path, name: str, above: tuple[Path, ...]) -> Node:
        """The variables of a file and of its bases; `above` are the files that include it."""
        self.count += 1
        if self.count > _MOST_FILES:
            raise UsageError(f"{name} is the file number {self.count} of one config", f"at most {_MOST_FILES} are read")
        body = statements(_text(path, name), name)
        named = [each for each in body if isinstance(each, ast.Assign) and _assigns_base(each)]
        if len(named) > 1:
            refuse(Place(name, named[1].lineno), f"{BASE} is assigned to a second time", "name all bases in one list")
        entries: dict[str, Node] = {}
        for assignment in named:
            for base in self._bases(assignment, name):
                below = self._below(base, path, above, name)
                if twice := entries.keys() & below.keys():
                    refuse(base.place, f"'{min(twice)}' is in two base files, which mmengine refuses", "leave one out")
                entries |= below
        base_node = node_of(entries, Place(name, 1))
        reader = Reader(name, base_node)
        for each in body:
            if each not in named:
                reader.run(each)
        return node_of(merged(reader.names, entries), Place(name, 1))

    def _bases(self, statement: ast.Assign, name: str) -> list[Node]:
        node = Reader(name, node_of({}, Place(name, statement.lineno))).value(statement.value)
        bases = list(node.value) if isinstance(node.value, list | tuple) else [node]
        for each in bases:
            if not isinstance(each.value, str):
                refuse(each.place, f"{BASE} is no text and no list of it", "name the base files")
        return bases

    def _below(self, base: Node, path: Path, above: tuple[Path, ...], name: str) -> dict[str, Node]:
        text = str(base.value)
        root, start, relative = self.root, path.parent, text
        if text.startswith(_PACKAGE):
            start = root = _installed(base.place, text)
            relative = text.removeprefix(_PACKAGE)
        elif path.is_relative_to(root):
            pass
        else:  # a file of the installed mmdet names its neighbours
            root = _installed(base.place, text)
        if not relative.endswith(".py") or "::" in relative or "\0" in relative or Path(relative).is_absolute():
            refuse(base.place, f"{BASE} names {text[:80]!a}, which is no relative path of a .py file", _TREE)
        shown = text if text.startswith(_PACKAGE) else os.path.normpath(Path(name).parent / relative)
        real = _resolved(start / relative, shown)
        if not real.is_relative_to(root):
            refuse(base.place, f"{BASE} names {text[:80]!a}, which is outside of {root}", _TREE)
        if real == path or real in above:
            refuse(base.place, f"{BASE} names {text[:80]!a}, which includes this file", "take it out of one of them")
        if real.suffix != ".py" or not os.path.isfile(real):
            refuse(base.place, f"{BASE} names {text[:80]!a}, and there is no such file", _TREE)
        variables = self.read(real, shown, (*above, path)).value
        assert isinstance(variables, dict)
        return variables


def _resolved(path: Path, shown: str) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{shown[:400]} cannot be read ({error})", "pass a config of mmdetection") from error


def _text(path: Path, name: str) -> str:
    try:
        text = read_plain(path, _MOST_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"{name} cannot be read ({reason})", "pass a config of mmdetection, a text file") from error
    return text.replace("\r\n", "\n")


def _assigns_base(statement: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == BASE for target in statement.targets)


def _installed(place: Place, text: str) -> Path:
    """The folder of configs of the installed mmdet."""
    from fcos_lib.model.detector import config_folder

    folder = config_folder()
    if folder is None:
        refuse(
            place, f"{BASE} names {text[:80]!a}, and no mmdet with configs is installed", "pip install -e '.[export]'"
        )
    return folder


def merged(over: dict[str, Node], under: dict[str, Node]) -> dict[str, Node]:
    """mmengine's `_merge_a_into_b`: dicts are merged, all else is replaced; `_delete_` replaces a dict that is in `under`."""
    result = dict(under)
    for key, node in over.items():
        if not isinstance(node.value, dict) or key not in under:
            result[key] = node
            continue
        entries = dict(node.value)
        deletes = entries.pop(_DELETE, None)
        if deletes is not None and deletes.value:
            result[key] = node_of(entries, node.place)
            continue
        below = under[key]
        if not isinstance(below.value, dict):
            refuse(
                node.place,
                f"'{key}' is a dict here and none in {below.place}, which mmengine refuses",
                f"add {_DELETE}=True to it",
            )
        result[key] = node_of(merged(entries, below.value), node.place)
    return result
