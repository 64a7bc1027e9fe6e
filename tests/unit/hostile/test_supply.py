"""What is installed is pinned, hashed, licensed and written down, and the four places that say so agree."""

import importlib.util
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PIN = re.compile(r"^([\w.-]+)==([^\s;]+)((?: ;[^\\\n]*)?)", re.M)


@pytest.fixture(scope="module")
def tool():
    """`tools/dependencies.py` as a module."""
    spec = importlib.util.spec_from_file_location("dependencies", ROOT / "tools" / "dependencies.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def locked(name):
    """Versions by package, and how many hashes each entry has."""
    versions = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / name).read_text()):
        if match := PIN.match(entry):
            versions.setdefault(match[1], {})[match[2]] = len(re.findall(r"--hash=sha256:[0-9a-f]{64}\b", entry))
    return versions


def test_the_lock_is_that_of_the_pins(tool):
    """Same packages, same versions, each with a hash; PyTorch has several builds of a version, and is pinned only."""
    both = locked("requirements.lock") | locked("headless.lock")
    pins = tool.pins()
    assert all(count for versions in both.values() for count in versions.values())
    for name, versions in both.items():
        if name != "setuptools":  # what comes with PyTorch, and is in every environment anyway
            assert set(versions) <= set(pins[name]), f"{name}: run `make lock`"
    assert set(pins) - set(both) == {"torch"}


def test_the_page_lists_what_is_pinned(tool):
    """Name, versions and licence; what is installed in the newest version says the same of itself."""
    written = tool.rows(tool.PAGE.read_text(encoding="utf-8"))
    assert {name: row[0] for name, row in written.items()} == {
        name: ", ".join(pins) for name, pins in tool.pins().items()
    }
    assert not [name for name, row in written.items() if "unknown" in (row[1].lower(), row[2].lower())]
    for name, (versions, known, _) in written.items():
        try:
            same = version(name).partition("+")[0] == versions.split(",")[0]
        except PackageNotFoundError:
            continue
        if same and (said := tool.licence(name)).lower() != "unknown":
            assert said == known, f"{name}: run `make lock`"


def test_what_the_project_asks_for_is_pinned(tool):
    """Every requirement of pyproject.toml, and what those need in turn."""
    uses = {name for name in tool.used_for() if sys.version_info >= (3, 11)}
    assert not uses - set(tool.pins()) - {"setuptools", "fcos-lib"}, "add them to constraints.txt and run `make lock`"


def test_make_installs_by_hash_first():
    """Before anything that pip would choose itself, and nothing is built from source."""
    text = (ROOT / "Makefile").read_text()
    install = [line for line in text.partition("$(READY): ")[2].splitlines() if "/bin/pip" in line]
    assert "--require-hashes --no-deps -r requirements.lock" in install[0], install
    assert "--only-binary :all:" in re.search(r"^INSTALL := .*", text, re.M)[0]
