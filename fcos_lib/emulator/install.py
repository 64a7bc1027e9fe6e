"""The installation: a folder laid out like CANN, whose programs are this package.

The tree holds no copy of the code: two shell wrappers start this interpreter on this package, as the real `atc` is a
wrapper around `atc.bin`, and a one-line `aclruntime.py` hands over to the emulator's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path

from fcos_lib.emulator import CANN_VERSION, DRIVER_VERSION, FIRMWARE_VERSION, STAND_IN
from fcos_lib.errors import StoreError, refusal_as
from fcos_lib.store.sources import LIBRARIES, installed

_SOURCES = Path(__file__).resolve().parent
_INTERNAL = "7.6.0.1.220"
"""CANN's internal number for 8.0.0."""


@cache
def source_hash() -> str:
    """Eight hexadecimal digits that change with any byte of the emulator and with the libraries that it computes with."""
    digest = hashlib.sha256()
    for path in sorted(_SOURCES.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    digest.update(installed("numpy", "onnx", *LIBRARIES["onnxruntime"]).encode())  # which compute what it makes
    return digest.hexdigest()[:8]


def version() -> str:
    """The toolkit's version, such as `8.0.0-STAND-IN.1f2e3d4c`: never to be mistaken for CANN, stale when it changes."""
    return f"{CANN_VERSION}-{STAND_IN}.{source_hash()}"


def _wrapper(module: str) -> str:
    package = shlex.quote(str(_SOURCES.parent.parent))
    return (
        "#!/bin/sh\n"
        f"PYTHONPATH={package}${{PYTHONPATH:+:$PYTHONPATH}}\n"
        "export PYTHONPATH\n"
        f'exec {shlex.quote(sys.executable)} -m {module} "$@"\n'
    )


def _files() -> dict[str, str]:
    """Relative path → text of everything in the tree; what is in a folder `bin` or `tools` is executable."""
    atc, toolkit = _wrapper("fcos_lib.emulator.atc"), "ascend-toolkit/latest"
    npu_smi = _wrapper("fcos_lib.emulator.npu_smi")
    parts = ("runtime", "compiler", "opp", "toolkit")
    return {
        "bin/atc": atc,
        "bin/npu-smi": npu_smi,
        "driver/tools/npu-smi": npu_smi,  # found by its variable: PATH cannot name a folder with a colon
        f"{toolkit}/bin/atc": atc,
        f"{toolkit}/version.cfg": "# version: 1.0\n"
        + "".join(f"{part}_running_version=[{_INTERNAL}:{version()}]\n" for part in parts),
        f"{toolkit}/opp/version.info": f"Version={_INTERNAL}\nversion_dir={version()}\n",
        "driver/version.info": f"Version={DRIVER_VERSION}\ncompatible_version=[]\nlabel={STAND_IN}\n",
        "firmware/version.info": f"Version={FIRMWARE_VERSION}\nlabel={STAND_IN}\n",
        "python/aclruntime.py": '"""aclruntime, in software."""\n\nimport sys\n\n'
        "import fcos_lib.emulator.aclruntime\n\nsys.modules[__name__] = fcos_lib.emulator.aclruntime\n",
    }


def install(folder: Path) -> Path:
    """The root of a CANN-like tree below `folder`, made unless it is there; any number of processes may ask at once.

    The tree's name carries the interpreter and the emulator's sources, so that a change of either makes a new one.
    `StoreError` if the folder cannot be written.
    """
    name = hashlib.sha256(f"{sys.executable}\0{_SOURCES}\0{source_hash()}".encode()).hexdigest()[:12]
    root = folder.resolve() / f"cann-stand-in-{name}"
    if root.is_dir():
        return root
    with refusal_as(StoreError, f"the emulator cannot be installed in {folder}", "choose another folder"):
        folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".cann-", dir=folder))
        for relative, text in _files().items():
            path = draft / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            path.chmod(0o755 if path.parent.name in ("bin", "tools") else 0o644)
        draft.chmod(0o755)
        with contextlib.suppress(OSError):  # another process was first: its tree is the same
            draft.rename(root)
        shutil.rmtree(draft, ignore_errors=True)
    if not root.is_dir():
        raise StoreError(f"the emulator was not installed in {folder}", "choose a folder on a local disk")
    return root


def is_own_aclruntime(file: Path) -> bool:
    """True for the `aclruntime` of any such tree, or for the emulator's own module that it hands over to."""
    try:
        return file.suffix == ".py" and "fcos_lib.emulator" in file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def environment(root: Path) -> dict[str, str]:
    """What `set_env.sh` would set for the tree at `root`, to be merged into a process's environment.

    PATH and PYTHONPATH are this process's with the tree's folders in front.
    """
    toolkit = root / "ascend-toolkit" / "latest"
    return {
        "ASCEND_TOOLKIT_HOME": str(toolkit),
        "ASCEND_HOME_PATH": str(toolkit),
        "ASCEND_OPP_PATH": str(toolkit / "opp"),
        "ASCEND_DRIVER_PATH": str(root / "driver"),
        "PATH": _prepended("PATH", root / "bin"),
        "PYTHONPATH": _prepended("PYTHONPATH", root / "python"),
    }


def _prepended(variable: str, folder: Path) -> str:
    return os.pathsep.join(filter(None, [str(folder), os.environ.get(variable, "")]))
