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
OPENMMLAB = {"mmdet", "mmcv", "mmengine"}
RULES = {
    "fcos_lib": {"pytest", "_pytest", "fixtures", "tests"},
    "fcos_lib/model": {"fcos_lib.measure", "fcos_lib.judge", "fcos_lib.evidence"},
    "fcos_lib/measure": {"fcos_lib.judge", "fcos_lib.evidence"},
    "fcos_lib/ascend": {"fcos_lib.emulator"},
    "fcos_lib/emulator": {"fcos_lib.ascend"},
    "fcos_lib/cli": OPENMMLAB | {"aclruntime"},
    "fixtures": OPENMMLAB | {"aclruntime", "fcos_lib.cli"},
    "tests/acceptance": OPENMMLAB | {"aclruntime", "fcos_lib.cli"},
}
"""By folder: modules of which nothing is imported there, in a function neither."""


def imported(path):
    """The full names of what a file imports, with the lines; in functions and for types only too."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


def test_the_list_is_of_the_rooms_that_there_are():
    """And the top level holds nothing but what everybody needs."""
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert folders == set(ROOMS), f"docs/architecture.md lists {ROOMS}, fcos_lib holds {sorted(folders)}"
    loose = {path.name for path in PACKAGE.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert loose == {"contract.py", "errors.py", "files.py", "records.py"}, f"modules without a room: {sorted(loose)}"


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_from_rooms_above_it(room):
    """Two rooms that need each other are one room, or hold something that belongs into a third."""
    below = ROOMS[ROOMS.index(room) + 1 :]
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for name, line in imported(path)
        if name.startswith("fcos_lib.") and name.split(".")[1] in below
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", RULES)
def test_a_room_imports_nothing_that_it_must_not(folder):
    """Whatever the way: a package, a module of it, or a name in one."""
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files
        for name, line in imported(path)
        if any(f"{name}.".startswith(f"{banned}.") for banned in RULES[folder])
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("folder", ["tests/acceptance", "fixtures"])
def test_nobody_asks_for_more_than_six_fixtures(folder):
    """What belongs together is bundled: a function of the suite, fixtures above all, has at most six parameters."""
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {len(node.args.args)}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_bytes()))
        if isinstance(node, ast.FunctionDef) and len(node.args.args) > 6
    ]
    assert not long, "more than six parameters:\n" + "\n".join(long)


def test_modules_and_functions_stay_small():
    """250 lines are read in one go, 60 are seen at once: what is longer does two things."""
    files = {path: path.read_text(encoding="utf-8") for path in sorted(PACKAGE.rglob("*.py"))}
    long = [f"{path.relative_to(ROOT)} has {len(text.splitlines())} lines" for path, text in files.items()
            if len(text.splitlines()) > 250]  # fmt: skip
    long += [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for path, text in files.items()
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= 60
    ]
    assert not long, "longer than 250 or 60 lines:\n" + "\n".join(long)
