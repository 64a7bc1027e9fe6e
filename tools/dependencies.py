"""Dependencies: writes the table of docs/dependencies.md from what installed packages say of their licences.

`make lock` runs it. What this Python does not need keeps the row that another Python wrote.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata, requires
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "dependencies.md"
GROUPS = {
    "": "every run",
    "export": "a .pth",
    "cluster": "many hosts",
    "attest": "signatures",
    "test": "the suite",
    "dev": "developers",
}
"""Extras of pyproject.toml in words."""
_ROW = re.compile(r"^\| ([\w.-]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.M)
_PIN = re.compile(r"^([\w.-]+)==([^\s;]+)", re.M)


def rows(page: str) -> dict[str, tuple[str, str, str]]:
    """(version, licence, for what) by package, as a page's table has them."""
    return {
        name: (version, licence, use)
        for name, version, licence, use in _ROW.findall(page)
        if name not in ("package", "---")
    }


def pins() -> dict[str, list[str]]:
    """Every version that constraints.txt pins, by package; the first is that of newer Pythons."""
    versions: dict[str, list[str]] = {}
    for name, version in _PIN.findall((ROOT / "constraints.txt").read_text(encoding="utf-8")):
        versions.setdefault(canonicalize_name(name), []).append(version)
    return versions


def licence(name: str) -> str:
    """The licence of an installed package in its own words: the expression, else the field, else the classifiers."""
    about = metadata(name)
    field = (about.get("License") or "").strip()
    listed = [text.rpartition(" :: ")[2] for text in about.get_all("Classifier") or () if text.startswith("License ::")]
    short = field if field and len(field) <= 40 and "\n" not in field else ""
    return (
        about.get("License-Expression")
        or short
        or ", ".join(one for one in listed if one != "OSI Approved")
        or "unknown"
    )


def used_for() -> dict[str, str]:
    """By installed package, the first group of `GROUPS` that needs it."""
    users: dict[str, str] = {}
    for extra, use in GROUPS.items():
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        waiting = [*map(Requirement, project["optional-dependencies"][extra] if extra else project["dependencies"])]
        while waiting:
            needed = waiting.pop()
            if canonicalize_name(needed.name) not in users:
                users[canonicalize_name(needed.name)] = use
                waiting += [further for one in ("", *needed.extras) for further in _needs(needed.name, one)]
    return users


def _needs(name: str, extra: str) -> Iterator[Requirement]:
    try:
        texts = requires(name) or []
    except PackageNotFoundError:  # another Python's or system's
        return
    for requirement in map(Requirement, texts):
        plain = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if plain != bool(extra) and (plain or (requirement.marker and requirement.marker.evaluate({"extra": extra}))):
            yield requirement


def table() -> dict[str, tuple[str, str, str]]:
    """The page's rows as they should be."""
    before, uses, found = rows(PAGE.read_text(encoding="utf-8")), used_for(), {}
    for name, versions in sorted(pins().items()):
        try:
            known = licence(name)
        except PackageNotFoundError:
            known = "unknown"
        if known.lower() == "unknown":  # not installed here, or it does not say: as somebody looked it up
            known = before.get(name, ("", "unknown", ""))[1]
        use = uses.get(name) or before.get(name, ("", "", "unknown"))[2]
        found[name] = (", ".join(versions), known, use)
    return found


def main() -> None:
    """Replace the table."""
    page = PAGE.read_text(encoding="utf-8")
    head, _, rest = page.partition("| package |")
    behind = rest[rest.rindex("|\n") + 2 :]
    lines = "".join(f"| {name} | {' | '.join(row)} |\n" for name, row in table().items())
    header = "| package | version | licence | needed for |\n| --- | --- | --- | --- |\n"
    PAGE.write_text(head + header + lines + behind, encoding="utf-8")


if __name__ == "__main__":
    main()
