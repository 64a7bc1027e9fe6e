"""No file of the project knows the machine it was written on, nor where that machine gets its packages from."""

import os
import re

from tests.unit.docs.markdown import ROOT

SHARED = {".ci", ".github", ".gitlab-ci.yml", ".gitignore"}
"""What is ours although its name begins with a dot."""
TEXTS = {".py", ".md", ".toml", ".txt", ".ini", ".yml", ".yaml", ".json", ".html", ".js", ".css", ".cfg", ".sh", ""}

MACHINE = re.compile(
    r"(?<![\w.~{}/$-])/(?:work|workspace|builds|__w|root|home|Users|opt|mnt|srv|tmp|var/folders)/[\w.-]+"
)
"""Where people and CI systems keep what is theirs alone."""
EXAMPLES = {"/home/me", "/tmp/x", "/tmp/aipp.cfg"}
"""Invented ones, in tests."""

HOST = re.compile(
    r"(?<![\w.@-])(?:[a-z0-9-]+\.)+(?:com|org|io|net|cn|dev|cloud|internal|intranet|corp)(?![\w(=-]|\.\w)"
)
HOSTS = {
    "www.apache.org",  # the licence
    "www.w3.org",  # the name of SVG's namespace, not an address
    "json-schema.org",  # likewise
    "in-toto.io",  # the names of its types, likewise
    "github.com",
    "gitee.com",  # Ascend's tools
    "www.hiascend.com",  # CANN's documents
    "cocodataset.org",
    "no-color.org",
    "force-color.org",
}
"""Public places that a reader may be sent to; where packages come from is each machine's own affair."""


def texts():
    """(path below the project, content) of every text file that is the project's own."""
    for folder, below, names in os.walk(ROOT):
        below[:] = [
            name for name in below if _ours(name) and name not in ("__pycache__", "results", "pages", "val2017")
        ]
        for name in filter(_ours, names):
            path = os.path.join(folder, name)
            if os.path.splitext(name)[1] in TEXTS and not os.path.islink(path) and os.path.getsize(path) < 4 << 20:
                with open(path, encoding="utf-8", errors="replace") as file:
                    yield os.path.relpath(path, ROOT), file.read()


def _ours(name):
    return name in SHARED or not (name.startswith(".") or name.endswith(".egg-info"))


def test_no_file_names_a_path_of_somebodys_machine():
    """What works only there is a defect, and what happens to be installed there is nobody's business."""
    wrong = [
        f"{path}: {name[0]}" for path, text in texts() for name in MACHINE.finditer(text) if name[0] not in EXAMPLES
    ]
    assert not wrong, "\n".join(wrong)


def test_no_file_names_a_package_registry():
    """Pins are in constraints.txt; from where they are fetched is set where they are installed."""
    wrong = [f"{path}: {name[0]}" for path, text in texts() for name in HOST.finditer(text) if name[0] not in HOSTS]
    assert not wrong, "\n".join(wrong)


def test_the_search_sees_the_whole_project():
    """A search through nothing would find nothing."""
    seen = {path.replace(os.sep, "/") for path, _ in texts()}
    assert (
        not {"README.md", "README.zh-CN.md", "Makefile", "pyproject.toml", "fcos_lib/cli/main.py", "conftest.py"} - seen
    )
    assert MACHINE.search("cd " + "/".join(["", "home", "somebody"]))
    assert HOST.search("from " + ".".join(["packages", "example", "com"]))
