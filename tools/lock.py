"""Lock file: writes requirements.lock, every pin of constraints.txt with the hashes of its wheels, and docs/wheels.md.

`make lock` runs it, after constraints.txt changed. The hashes are what the package index said then, of the wheels for the Pythons
and machines of tools/supported.py; a pin without a wheel for one of them is an error. docs/wheels.md says which of them pip takes
where. PyTorch, with what only it needs, is left out of the lock: it comes from one index for CPUs and from another one for CUDA, in
files of the same version with different hashes. constraints.txt pins it all the same.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging import tags
from packaging.markers import Marker
from packaging.utils import parse_wheel_filename
from supported import GLIBC, MACHINES, PYTHONS  # beside this file

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
EVERYWHERE, HEADLESS = ROOT / "requirements.lock", ROOT / "headless.lock"
PAGE = ROOT / "docs" / "wheels.md"
DIGITS = 8
"""Of a hash, on the page."""
LEFT_OUT = re.compile(r"torch|triton|(?:nvidia|cuda)-.*")
_HEAD = "# Made by `make lock`; see docs/dependencies.md.\n"


_NEWEST_GLIBC = (2, 99)
"""A machine with a newer one may take a wheel that the oldest supported one does not."""
_PAGE_HEAD = """\
# Wheels

Which wheel of each pin a Python on a machine gets: the first digits of its SHA-256, as `requirements.lock` has it whole. *needs none*: the
pin is not for this Python. *by version*: PyTorch's builds are pinned by version only ([dependencies.md](dependencies.md)). Made by `make lock`,
which refuses a pin that has no wheel for one of these.

"""


@dataclass(frozen=True, slots=True)
class Target:
    """A Python on a machine, of those that are supported."""

    python: tuple[int, int]
    machine: str

    @property
    def environment(self) -> dict[str, str]:
        """What the markers of requirements are decided by."""
        version = ".".join(map(str, self.python))
        return {
            "python_version": version, "python_full_version": f"{version}.0", "sys_platform": "linux", "os_name": "posix",
            "platform_system": "Linux", "platform_machine": self.machine, "implementation_name": "cpython",
            "platform_python_implementation": "CPython", "extra": "",
        }  # fmt: skip

    def wants(self, marker: str) -> bool:
        """Is a pin with this marker for this target?"""
        return not marker or Marker(marker).evaluate(self.environment)

    def tags(self, glibc: tuple[int, int]) -> list[tags.Tag]:
        """The wheels that pip takes with this C library, best first."""
        names = {17: "2014", 12: "2010", 5: "1"}
        minors = [minor for minor in range(glibc[1], 4, -1) if minor >= 17 or self.machine == "x86_64"]
        platforms = [f"manylinux_2_{minor}_{self.machine}" for minor in minors]
        platforms += [f"manylinux{names[minor]}_{self.machine}" for minor in minors if minor in names]
        platforms.append(f"linux_{self.machine}")
        interpreter = f"cp{self.python[0]}{self.python[1]}"
        return [
            *tags.cpython_tags(self.python, platforms=platforms),
            *tags.compatible_tags(self.python, interpreter, platforms),
        ]


TARGETS = [Target(python, machine) for python in PYTHONS for machine in MACHINES]


def main() -> None:
    """Write both files and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uv", default="uv", help="the program that resolves (default: uv)")
    args = parser.parse_args()
    everywhere = _resolved(args.uv, ["pyproject.toml", "--all-extras"])
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "requirements.in"
        asked.write_text("opencv-python-headless\n", encoding="utf-8")
        headless = _resolved(args.uv, [str(asked), "--no-deps"])
    page = _PAGE_HEAD + "".join(table([*everywhere, *headless]))  # before anything is written: it refuses
    EVERYWHERE.write_text(_HEAD + "".join(locked(everywhere)), encoding="utf-8")
    HEADLESS.write_text(_HEAD + "".join(locked(headless)), encoding="utf-8")
    PAGE.write_text(page, encoding="utf-8")


def _resolved(uv: str, asked: list[str]) -> list[dict[str, Any]]:
    """The packages of a pylock.toml, by name and version."""
    first = ".".join(map(str, PYTHONS[0]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pylock.toml"
        command = [uv, "pip", "compile", *asked, "--universal", "--python-version", first, "--format", "pylock.toml"]
        subprocess.run(
            [*command, "--quiet", "--no-python-downloads", "-c", "constraints.txt", "-o", str(path)],
            cwd=ROOT,
            check=True,
        )
        packages: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["packages"]
    return sorted(packages, key=lambda package: (package["name"], package["version"]))


def wheels(package: dict[str, Any]) -> dict[str, frozenset[tags.Tag]]:
    """The tags of each wheel of a package, by SHA-256."""
    return {
        wheel["hashes"]["sha256"]: parse_wheel_filename(wheel.get("name") or wheel["url"].rpartition("/")[2])[3]
        for wheel in package.get("wheels", [])
    }


def taken(package: dict[str, Any], target: Target) -> str:
    """The hash of the wheel that pip takes on the oldest machine of a target; the program ends if there is none."""
    order = {tag: number for number, tag in enumerate(target.tags(GLIBC))}
    ranks = {
        digest: min((order[tag] for tag in own & order.keys()), default=None) for digest, own in wheels(package).items()
    }
    fitting = {digest: rank for digest, rank in ranks.items() if rank is not None}
    if not fitting:
        python = ".".join(map(str, target.python))
        raise SystemExit(f"{package['name']} {package['version']} has no wheel for Python {python} on {target.machine}")
    return min(fitting, key=lambda digest: fitting[digest])


def locked(packages: list[dict[str, Any]]) -> Iterator[str]:
    """A requirement of pip's for each package that a target needs, with the hashes of all wheels that one can take."""
    for package in packages:
        marker = package.get("marker", "")
        wanting = [target for target in TARGETS if target.wants(marker)]
        if LEFT_OUT.fullmatch(package["name"]) or not wanting:
            continue
        usable = {tag for target in wanting for tag in target.tags(_NEWEST_GLIBC)}
        hashes = sorted(digest for digest, own in wheels(package).items() if own & usable)
        pin = f"{package['name']}=={package['version']}" + f" ; {marker}" * bool(marker)
        yield " \\\n".join([pin, *(f"    --hash=sha256:{digest}" for digest in hashes)]) + "\n"


def table(packages: list[dict[str, Any]]) -> Iterator[str]:
    """The lines of the page's table."""
    heads = [f"{'.'.join(map(str, target.python))} {target.machine}" for target in TARGETS]
    yield f"| package | version | {' | '.join(heads)} |\n|{' --- |' * (len(heads) + 2)}\n"
    for package in packages:
        wanting = [target for target in TARGETS if target.wants(package.get("marker", ""))]
        left_out = LEFT_OUT.fullmatch(package["name"])
        if not wanting or (left_out and package["name"] != "torch"):
            continue
        found = {target: taken(package, target)[:DIGITS] for target in wanting}
        cells = [
            "by version" if left_out and target in found else found.get(target, "needs none") for target in TARGETS
        ]
        yield f"| {package['name']} | {package['version']} | {' | '.join(cells)} |\n"


if __name__ == "__main__":
    main()
