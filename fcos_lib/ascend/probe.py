"""A trial of the runtime in a process of its own: aclruntime is imported, CANN's library loaded, and the devices counted.

To look whether the module lies somewhere is not enough: it is linked with `libascendcl.so` and that with the driver's libraries,
which Python finds only if `set_env.sh` was sourced before it started. In this process a failed trial could not be undone.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass

from fcos_lib.ascend.acl_errors import import_failure, runtime_error
from fcos_lib.errors import DeviceError

_TIME_LIMIT_S = 60
_PROGRAM = """
import ctypes, json, os, sys
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
said = {}
try:
    import aclruntime
    said["surface"] = sorted(name for name in dir(aclruntime.InferenceSession) if not name.startswith("_"))
    if getattr(aclruntime, "STAND_IN", False):
        said["stand_in"] = True
    else:
        acl = ctypes.CDLL("libascendcl.so")
        count = ctypes.c_uint32()
        said["acl"] = acl.aclInit(None) or acl.aclrtGetDeviceCount(ctypes.byref(count))
        said["count"] = count.value
except Exception as error:
    said["import"], said["missing"] = str(error), getattr(error, "name", None)
answer.write(json.dumps(said))
answer.flush()
os._exit(0)
"""


@dataclass(frozen=True, slots=True)
class Runtime:
    """What a trial of aclruntime showed."""

    devices: int | None
    """Devices that a process of this environment sees; None for the emulator, which has no library to ask."""
    generation: str
    """`until 2023`, `since 2024` or `0.0.3`, by its methods (docs/runtime.md)."""


def probe_runtime() -> Runtime:
    """Try the aclruntime of this environment; `DeviceError` says why it cannot be used, and what to source or install."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            capture_output=True,
            text=True,
            timeout=_TIME_LIMIT_S,
            check=False,
            errors="replace",
        )
        said = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise DeviceError(
            f"importing aclruntime and counting devices did not end within {_TIME_LIMIT_S} s",
            "the driver hangs: look at dmesg, and reset the card or restart the machine",
        ) from None
    except ValueError:
        last = (done.stderr.strip().splitlines() or ["nothing was printed"])[-1][:300]
        raise DeviceError(
            f"importing aclruntime ended the process with status {done.returncode} ({last})",
            "source CANN's set_env.sh before Python starts, and install the wheel of this CANN release",
        ) from None
    if "import" in said:
        raise import_failure(ImportError(said["import"], name=said.get("missing")))
    if said.get("acl"):
        error = RuntimeError(f"ACL's code {said['acl']}")
        doing, advice = (
            "ACL cannot count the devices",
            "look at npu-smi info and at the newest plog in $HOME/ascend/log",
        )
        raise runtime_error(doing, done.stderr, error, DeviceError, advice)
    names = set(said["surface"])
    generation = "0.0.3" if "reset_summaryinfo" in names else "since 2024" if "free_resource" in names else "until 2023"
    return Runtime(said.get("count"), generation)
