"""Lock file: writes requirements.lock, every pin of constraints.txt with the hashes of its wheels.

`make lock` runs it, after constraints.txt changed. The hashes are what the package index said then, of the wheels for Linux on
x86_64 and aarch64 and Python 3.10 to 3.13. PyTorch, with what only it needs, is left out: it comes from one index for CPUs and
from another one for CUDA, in files of the same version with different hashes. constraints.txt pins it all the same.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
EVERYWHERE, HEADLESS = ROOT / "requirements.lock", ROOT / "headless.lock"
_LEFT_OUT = re.compile(r"torch|triton|(?:nvidia|cuda)-.*")
_OTHER_SYSTEMS = re.compile(r"sys_platform == '(?:win32|darwin)'")
_WHEEL = re.compile(
    r"[^-]+-[^-]+(?:-\d[^-]*)?-(?:py3|py2\.py3|cp31[0-3]|cp3\d+)-(?:none|abi3|cp31[0-3])-(?:any|(?:manylinux|linux)[\w.]*_(?:x86_64|aarch64))\.whl"
)
_HEAD = "# Made by `make lock`; see docs/dependencies.md.\n"


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--uv", default="uv", help="the program that resolves (default: uv)")
    args = parser.parse_args()
    EVERYWHERE.write_text(_HEAD + "".join(_locked(args.uv, ["pyproject.toml", "--all-extras"])), encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        asked = Path(folder) / "requirements.in"
        asked.write_text("opencv-python-headless\n", encoding="utf-8")
        HEADLESS.write_text(_HEAD + "".join(_locked(args.uv, [str(asked), "--no-deps"])), encoding="utf-8")


def _locked(uv: str, asked: list[str]) -> Iterator[str]:
    """A requirement of pip's for each package, with its hashes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pylock.toml"
        command = [uv, "pip", "compile", *asked, "--universal", "--python-version", "3.10", "--format", "pylock.toml"]
        subprocess.run(
            [*command, "--quiet", "--no-python-downloads", "-c", "constraints.txt", "-o", str(path)],
            cwd=ROOT,
            check=True,
        )
        packages: list[dict[str, Any]] = tomllib.loads(path.read_text(encoding="utf-8"))["packages"]
    for package in sorted(packages, key=lambda package: (package["name"], package["version"])):
        marker = package.get("marker", "")
        if _LEFT_OUT.fullmatch(package["name"]) or _OTHER_SYSTEMS.search(marker):
            continue
        names = {wheel.get("name") or wheel["url"].rpartition("/")[2]: wheel for wheel in package.get("wheels", [])}
        hashes = sorted({wheel["hashes"]["sha256"] for name, wheel in names.items() if _WHEEL.fullmatch(name)})
        if not hashes:
            raise SystemExit(f"{package['name']} {package['version']} has no wheel for Linux")
        pin = f"{package['name']}=={package['version']}" + f" ; {marker}" * bool(marker)
        yield " \\\n".join([pin, *(f"    --hash=sha256:{digest}" for digest in hashes)]) + "\n"


if __name__ == "__main__":
    main()
