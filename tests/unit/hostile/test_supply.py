"""What is installed is pinned, hashed, licensed and written down, and the five places that say so agree."""

import importlib.util
import re
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PIN = re.compile(r"^([\w.-]+)==([^\s;]+)((?: ;[^\\\n]*)?)", re.M)


def from_tools(name):
    """A program of `tools/` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look for their module, and one program imports another
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def tool():
    """`tools/dependencies.py` as a module."""
    return from_tools("dependencies")


@pytest.fixture(scope="module")
def supported():
    """`tools/supported.py` as a module."""
    return from_tools("supported")


@pytest.fixture(scope="module")
def lock(supported):
    """`tools/lock.py` as a module."""
    return from_tools("lock")


def locked(name):
    """Versions by package, and the hashes and the marker of each."""
    versions = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / name).read_text()):
        if match := PIN.match(entry):
            hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})\b", entry)
            versions.setdefault(match[1], {})[match[2]] = hashes, match[3].lstrip(" ;").strip(" \\")
    return versions


def test_the_lock_is_that_of_the_pins(tool):
    """Same packages, same versions, each with a hash; PyTorch has several builds of a version, and is pinned only."""
    both = locked("requirements.lock") | locked("headless.lock")
    pins = tool.pins()
    assert all(hashes for versions in both.values() for hashes, _ in versions.values())
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


def test_what_the_project_asks_for_is_pinned(tool, lock):
    """Every requirement of pyproject.toml, and what those need in turn, but for what comes with PyTorch's build for CUDA."""
    uses = {name for name in tool.used_for() if sys.version_info >= (3, 11)}
    lacking = uses - set(tool.pins()) - {"setuptools", "fcos-lib"}
    lacking -= {name for name in lacking if lock.LEFT_OUT.fullmatch(name)}
    assert not lacking, f"add {lacking} to constraints.txt and run `make lock`"


def test_make_installs_by_hash_first():
    """Before anything that pip would choose itself, and nothing is built from source."""
    text = (ROOT / "Makefile").read_text()
    install = [line for line in text.partition("$(READY): ")[2].splitlines() if "/bin/pip" in line]
    assert "--require-hashes --no-deps -r requirements.lock" in install[0], install
    assert "--only-binary :all:" in re.search(r"^INSTALL := .*", text, re.M)[0]


def test_every_supported_python_and_machine_is_locked(lock):
    """By name: the wheel that pip takes there is one that the lock allows; Python 3.14 ended in "someone may have tampered with them"."""
    heads, _, *rows = re.findall(r"^\| (.+) \|$", lock.PAGE.read_text(encoding="utf-8"), re.M)
    targets = [f"{'.'.join(map(str, target.python))} {target.machine}" for target in lock.TARGETS]
    assert heads.split(" | ")[2:] == targets, "docs/wheels.md is of other Pythons or machines: run `make lock`"
    both = locked("requirements.lock") | locked("headless.lock")
    listed = {}
    for name, written, *digits in (row.split(" | ") for row in rows):
        listed.setdefault(name, set()).add(written)
        for target, digit in zip(lock.TARGETS, digits, strict=True):
            if name == "torch":
                assert digit == "by version", f"torch {written} has no wheel for {target}"
                continue
            hashes, marker = both[name][written]
            if not target.wants(marker):
                assert digit == "needs none", f"{name} {written} is not for {target}, says the lock: run `make lock`"
                continue
            fitting = [known for known in hashes if known.startswith(digit)]
            assert fitting, f"{name} {written}: the lock lacks {digit}, which pip takes on {target}: run `make lock`"
    assert listed == {name: set(versions) for name, versions in both.items()} | {"torch": listed["torch"]}


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["x-1-py3-none-any.whl"], 0),
        (["x-1-py3-none-any.whl", "x-1-cp314-cp314-manylinux_2_28_aarch64.whl"], 1),
        (["x-1-cp314-cp314-manylinux2014_aarch64.manylinux_2_17_aarch64.whl"], 0),
        (["x-1-cp39-abi3-manylinux_2_17_aarch64.whl", "x-1-cp312-abi3-manylinux_2_17_aarch64.whl"], 1),
        (["x-1-cp314-cp314-manylinux_2_35_aarch64.whl", "x-1-cp314-cp314-manylinux_2_28_aarch64.whl"], 1),
        (["x-1-cp314-cp314-manylinux_2_35_aarch64.whl"], None),  # too new a C library
        (["x-1-cp313-cp313-manylinux_2_28_aarch64.whl"], None),
        (["x-1-cp314-cp314t-manylinux_2_28_aarch64.whl"], None),  # without the global lock
        (["x-1-cp314-cp314-manylinux_2_28_x86_64.whl"], None),
        (["x-1-cp314-cp314-musllinux_1_2_aarch64.whl", "x-1-cp314-cp314-macosx_11_0_arm64.whl"], None),
        ([], None),
    ],
)  # fmt: skip
def test_the_lock_knows_what_pip_takes(lock, names, chosen):
    """And ends with one sentence where a pin has nothing for a Python on a machine."""
    hashes = [f"{number:064x}" for number in range(len(names))]
    wheels = [{"name": name, "hashes": {"sha256": digest}} for name, digest in zip(names, hashes, strict=True)]
    package, target = {"name": "x", "version": "1", "wheels": wheels}, lock.Target((3, 14), "aarch64")
    if chosen is None:
        with pytest.raises(SystemExit, match=r"^x 1 has no wheel for Python 3\.14 on aarch64$"):
            lock.taken(package, target)
    else:
        assert lock.taken(package, target) == hashes[chosen]


HERE = {
    "python": (3, 12), "implementation": "CPython", "threads": "", "bits": 64, "system": "Linux", "machine": "x86_64", "libc": "glibc 2.36",
}  # fmt: skip


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({"python": (3, 9)}, "Python 3.9 is not supported: name one of Python 3.10 to 3.14"),
        ({"python": (3, 15)}, "Python 3.15 is not supported: name one of Python 3.10 to 3.14"),
        ({"python": (2, 7)}, "Python 2.7 is not supported"),
        ({"python": (4, 0)}, "Python 4.0 is not supported"),
        ({"implementation": "PyPy"}, "PyPy is not supported, only CPython is"),
        ({"threads": "free"}, "Python 3.12 without its global lock is not supported"),
        ({"bits": 32}, "a 32-bit Python is not supported"),
        ({"machine": "ppc64le"}, "the machine ppc64le is not supported: use one of x86_64, aarch64"),
        ({"machine": "i686", "bits": 32}, "the machine i686 is not supported"),
        ({"system": "Darwin", "machine": "arm64"}, "Darwin is not supported, only Linux is"),
        ({"libc": "glibc 2.27"}, "glibc 2.27 is not supported, glibc 2.28 is needed"),
        ({"libc": ""}, "a Linux without glibc is not supported, glibc 2.28 is needed"),
    ],
    ids=lambda value: "-".join(f"{name}={part}" for name, part in value.items()) if isinstance(value, dict) else "",
)
def test_what_is_not_supported_is_refused_in_one_sentence(supported, what, words):
    """With what to do."""
    said = supported.problem(**(HERE | what))
    assert said.startswith(words)
    assert re.search(r": (name|use) ", said), f"it does not say what to do: {said}"


@pytest.mark.parametrize("libc", ["glibc 2.28", "glibc 2.41", "glibc 3.0"])
def test_what_is_supported_is_not_refused(supported, libc):
    """Every Python on every machine of the lock, and this one."""
    for target in [
        {"python": python, "machine": machine} for python in supported.PYTHONS for machine in supported.MACHINES
    ]:
        assert supported.problem(**(HERE | target | {"libc": libc})) is None, target
    assert supported.problem(**supported.here()) is None


def test_make_refuses_before_pip_starts(tmp_path):
    """With the sentence as its last word but make's own; no environment is begun."""
    (tmp_path / "tools").mkdir()
    for name in (
        "Makefile",
        "pyproject.toml",
        "constraints.txt",
        "requirements.lock",
        "headless.lock",
        "tools/supported.py",
        "tools/say.sh",
    ):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    python = tmp_path / "python3.9"
    python.write_text(
        f'#!/bin/sh\necho "$*" >> {tmp_path}/asked\nexec {shlex.quote(sys.executable)} -c \''
        'import runpy, sys; sys.version_info = (3, 9, 1); runpy.run_path(sys.argv[1], run_name="__main__")\' "$@"\n'
    )
    python.chmod(0o755)
    done = subprocess.run(
        ["make", "test", f"PYTHON={python}"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2, done.stdout + done.stderr
    sentence, *_ = done.stderr.splitlines()
    assert sentence.startswith("Python 3.9 is not supported: "), done.stderr
    assert (tmp_path / "asked").read_text() == "tools/supported.py\n", "more than the question was run"
    assert not (tmp_path / ".venv").exists()
