"""The rooms of the package: each imports only from those above it in docs/architecture.md, and no module is without a room."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "fcos_lib"
LISTED = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Two walks")[0]
ROOMS = re.findall(r"^      (\w+)/ ", LISTED, re.MULTILINE)
"""From the top."""


def imported_rooms(path):
    """The rooms that a module imports from, with the lines; `TYPE_CHECKING` counts as well."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        names = [f"{node.module}.{alias.name}" for alias in node.names] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            package, _, rest = name.partition(".")
            if package == "fcos_lib" and (room := rest.partition(".")[0]) in ROOMS:
                yield room, node.lineno


def test_the_list_is_of_the_rooms_that_there_are():
    """And the top level holds nothing but what everybody needs."""
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ROOMS), f"docs/architecture.md lists {ROOMS}, fcos_lib holds {sorted(folders)}"
    loose = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert loose == {"contract.py", "errors.py", "files.py"}, f"modules without a room: {sorted(loose)}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_from_rooms_above_it(room):
    """Two rooms that need each other are one room, or hold something that belongs into a third."""
    below = ROOMS[ROOMS.index(room) + 1 :]
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports from {other}/"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for other, line in imported_rooms(path)
        if other in below
    ]
    assert not wrong, "\n".join(wrong)
