"""The CANN of this machine: where `atc` and `npu-smi` are, and which versions their files name."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

UNKNOWN = "unknown"
"""A version that no file names."""

HOME_VARIABLES = ("ASCEND_TOOLKIT_HOME", "ASCEND_HOME_PATH")
"""What CANN's `set_env.sh` sets, in the order of trust."""

ATC_BELOW_HOME = ("bin/atc", "compiler/bin/atc", "atc/bin/atc")
"""Where releases since 5.0 keep the wrapper script `atc`."""

TOOLKIT_FOLDERS = (
    "/usr/local/Ascend/ascend-toolkit/latest",
    "/usr/local/Ascend/cann",
    "~/Ascend/ascend-toolkit/latest",
    "~/Ascend/cann",
)
"""Install folders of CANN up to 8.3 (`ascend-toolkit`) and from 8.5 (`cann`), for root and for a user."""

NPU_SMI_FILES = ("/usr/local/bin/npu-smi", "/usr/local/sbin/npu-smi", "/usr/local/Ascend/driver/tools/npu-smi")
DRIVER_FOLDER = "/usr/local/Ascend/driver"

_PARTS = ("compiler", "share/info/runtime", "runtime", "opp")
"""Folders of CANN's packages, each with a `version.info`; which of them there are depends on what was installed, and how."""

_READ_LIMIT = 64 * 1024
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z ._+()-]{0,63}")


@dataclass(frozen=True, slots=True)
class Toolkit:
    """What was found of CANN and of the driver; nothing of it has been run."""

    atc: Path | None = None
    """The compiler's wrapper script, absolute."""
    npu_smi: Path | None = None
    """The driver's table printer, absolute."""
    home: Path | None = None
    """The folder that `set_env.sh` calls ASCEND_TOOLKIT_HOME."""
    cann_version: str = UNKNOWN
    """Such as `8.0.0` or `8.3.RC1`."""
    driver_version: str = UNKNOWN
    """Such as `24.1.0`."""
    firmware_version: str = UNKNOWN
    """The NPU's own, which is installed beside the driver, such as `7.5.0`."""


def discover(environ: Mapping[str, str]) -> Toolkit:
    """The toolkit that this environment means: its variables first, then PATH, then the usual install folders.

    Absent, unreadable or malformed things are None or "unknown"; nothing is raised.
    """
    named = [Path(environ[name]) for name in HOME_VARIABLES if os.path.isabs(environ.get(name, ""))]
    user = environ.get("HOME", "")
    usual = [Path(folder.replace("~", user, 1)) for folder in TOOLKIT_FOLDERS if user or folder[0] != "~"]
    searched = list(_path_folders(environ))
    atc = (
        _first_program(home / below for home in named for below in ATC_BELOW_HOME)
        or _first_program(folder / "atc" for folder in searched)
        or _first_program(home / below for home in usual for below in ATC_BELOW_HOME)
    )
    homes = ([_home_of(atc)] if atc else []) + named + usual
    home = next((folder for folder in homes if os.path.isdir(folder)), None)
    driver = Path(environ.get("ASCEND_DRIVER_PATH") or DRIVER_FOLDER)
    meant = [driver / "tools" / "npu-smi"] if environ.get("ASCEND_DRIVER_PATH") else []
    npu_smi = _first_program([*meant, *(folder / "npu-smi" for folder in searched), *map(Path, NPU_SMI_FILES)])
    return Toolkit(
        atc=atc,
        npu_smi=npu_smi,
        home=home,
        cann_version=_cann_version(home) if home else UNKNOWN,
        driver_version=_setting(driver / "version.info", "Version"),
        firmware_version=_setting(driver.parent / "firmware" / "version.info", "Version"),
    )


def set_env_script(toolkit: Toolkit) -> Path | None:
    """CANN's `set_env.sh`: in the toolkit's folder from 8.5 on, beside the link `latest` before; None if there is none."""
    folders = [toolkit.home, toolkit.home.parent] if toolkit.home else []
    return next((path for folder in folders if (path := folder / "set_env.sh").is_file()), None)


def has_aclruntime() -> bool:
    """Whether Python would find the module `aclruntime`; it is not imported, since that needs the driver's libraries."""
    if "aclruntime" in sys.modules:
        return sys.modules["aclruntime"] is not None
    return _aclruntime_spec() is not None


def aclruntime_file() -> Path | None:
    """The file of that module, whether it is imported or not; None if there is none."""
    module = sys.modules.get("aclruntime")
    spec = getattr(module, "__spec__", None) if module else _aclruntime_spec()
    return Path(spec.origin) if spec and spec.has_location and spec.origin else None


def _aclruntime_spec() -> ModuleSpec | None:
    try:
        return importlib.util.find_spec("aclruntime")
    except (ImportError, ValueError):
        return None


def _path_folders(environ: Mapping[str, str]) -> Iterator[Path]:
    for entry in environ.get("PATH", "").split(os.pathsep):
        if os.path.isabs(entry):  # a relative entry would make the answer depend on the current folder
            yield Path(entry)


def _first_program(paths: Iterable[Path]) -> Path | None:
    for path in paths:
        try:
            if path.is_file() and os.access(path, os.X_OK):
                return path
        except (OSError, ValueError):  # a folder that may not be read, or a NUL in the name
            continue
    return None


def _home_of(atc: Path) -> Path:
    """The toolkit's folder above `atc`, following links only where the plain folder names no version."""
    homes = []
    for path in (atc, atc.resolve()):
        folder = path.parent.parent
        homes.append(folder.parent if folder.name in {"compiler", "atc"} else folder)
    return next((home for home in homes if _cann_version(home) != UNKNOWN), homes[0])


def _cann_version(home: Path) -> str:
    """The release by the files that name it, or else that of a part, whose `Version` may be an internal number."""
    running = _setting(home / "version.cfg", "runtime_running_version")
    if running != UNKNOWN:
        return running
    for machine in dict.fromkeys((platform.machine(), "aarch64", "x86_64")):
        installed = _setting(home / f"{machine}-linux" / "ascend_toolkit_install.info", "version")
        if installed != UNKNOWN:
            return installed
    of_parts = (_setting(home / part / "version.info", key) for key in ("version_dir", "Version") for part in _PARTS)
    return next((version for version in of_parts if version != UNKNOWN), UNKNOWN)


def _setting(path: Path, key: str) -> str:
    """The version behind `key=`; of `[7.6.0.1.220:8.0.0]`, the part behind the colon (the release's name)."""
    try:
        with path.open("rb") as file:
            text = file.read(_READ_LIMIT).decode("utf-8", "replace")
    except (OSError, ValueError):
        return UNKNOWN
    for line in text.splitlines():
        name, _, value = line.partition("=")
        if name.strip() == key:
            value = value.strip().strip("[]").rpartition(":")[2].strip()
            return value if _VERSION.fullmatch(value) else UNKNOWN
    return UNKNOWN
