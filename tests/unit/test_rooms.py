"""What a room must not import. Ruff says the same at once, but where one of its bans is lifted for a file, all of them are."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
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
    """The full names of what a file imports, in functions and for types only too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("folder", RULES)
def test_a_room_imports_nothing_that_it_must_not(folder):
    """Whatever the way: a package, a module of it, or a name in one."""
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in files
        for name in imported(path)
        if any(f"{name}.".startswith(f"{banned}.") for banned in RULES[folder])
    ]
    assert not wrong, "\n".join(wrong)
