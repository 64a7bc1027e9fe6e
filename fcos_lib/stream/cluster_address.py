"""The address of a cluster and its token: everything about joining one that can be said before Ray itself is asked.

Ray waits for long where nobody answers, and a cluster that asks for no token answers anybody: both are told within seconds.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from fcos_lib.errors import NotInstalledError, UsageError, refusal_as

AUTO, LOCAL = "auto", "local"
NEEDED = (2, 60)
"""Ray's first release that this was tried with; its token authentication is older."""
INSTALL = "pip install 'ray==2.60.0'"
ANSWER_S = 3.0
"""Until somebody has to answer at an address."""
PROBE_S = 15.0
"""Until a cluster has to take or refuse a token; on an idle host that takes one."""
TOKEN_FILE = Path("~/.ray/auth_token")
_PROBE = """
import sys
from ray._raylet import GcsClient
try:
    GcsClient(address=sys.argv[1]).internal_kv_get(b"x", b"x", timeout=3)
except Exception:
    sys.exit(1)
"""
"""Ends with 0 if it is answered: tried with our token, and without one, as anybody could."""


def check_installed() -> None:
    """`NotInstalledError` or `UsageError` with the command that installs what is missing or too old."""
    if importlib.util.find_spec("ray") is None:
        raise NotInstalledError(
            "--cluster needs Ray, which is not installed",
            f"{INSTALL}; where it has no wheel for this Python or system, everything but --cluster works without it",
        )
    version = importlib.metadata.version("ray")  # its own import reads the environment, which is not ready
    if tuple(int(part) for part in version.split(".")[:2]) < NEEDED:
        raise UsageError(
            f"Ray {version} is installed, and --cluster needs {'.'.join(map(str, NEEDED))} or later", INSTALL
        )


def known_address() -> str:
    """Where the cluster of this host is, as Ray itself would look for it."""
    if named := os.environ.get("RAY_ADDRESS"):
        return named
    file = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray" / "ray_current_cluster"
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        raise UsageError(
            "--cluster auto found no Ray on this host", "start it (ray start --head), or pass local or HOST:PORT"
        ) from None


def split(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT; `UsageError` if it is none."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--cluster {address} is neither auto, local nor HOST:PORT", "pass one of them")
    return host, int(port)


def check_answers(host: str, port: int, address: str) -> None:
    """`UsageError` within seconds if nobody listens there; `address` is for people."""
    with refusal_as(
        UsageError,
        f"there is no cluster at {address}",
        "look whether ray start runs there (ray status), and whether a firewall is between",
    ):
        socket.create_connection((host, port), ANSWER_S).close()


def has_token() -> bool:
    """True if Ray will find a token here: in a variable, in the file that one names, or in its own."""
    named = os.environ.get("RAY_AUTH_TOKEN_PATH")
    return bool(os.environ.get("RAY_AUTH_TOKEN")) or Path(named or TOKEN_FILE).expanduser().is_file()


def check_tokens(address: str) -> None:
    """`UsageError` unless the cluster answers a process that shows our token, and none that shows nothing."""
    if not has_token():
        raise UsageError(
            f"there is no token for the cluster at {address}",
            f"make one on its first host (ray get-auth-token --generate) and copy {TOKEN_FILE} to every host",
        )
    ours = dict(os.environ)
    nobodys = {name: value for name, value in ours.items() if not name.startswith("RAY_AUTH")} | {
        "RAY_AUTH_MODE": "disabled"
    }
    answered, answers_anybody = map(_is_answered, [_probe(address, environ) for environ in (ours, nobodys)])
    if answers_anybody:
        raise UsageError(
            f"the cluster at {address} asks nobody for a token: whoever reaches it can run code on every host",
            "start it again with RAY_AUTH_MODE=token in the environment of each ray start",
        )
    if not answered:
        raise UsageError(
            f"the cluster at {address} does not take this token, or is no cluster of Ray's",
            f"copy {TOKEN_FILE} from its first host",
        )


def not_joined(address: str, error: Exception) -> UsageError:
    """What is to be raised when Ray itself refuses to join the cluster."""
    if "Version mismatch" in str(error):
        wanted = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
        return UsageError(
            f"the cluster at {address} runs another version of Ray or Python ({wanted[:300]})",
            "install the same versions on every host",
        )
    return UsageError(
        f"the cluster at {address} cannot be joined ({in_a_line(error)})",
        "run this on one of its hosts, with the token of the others",
    )


def in_a_line(error: BaseException) -> str:
    """What an error of Ray's says first, and last, where the cause is; what is between is a trace."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ... ".join(line[:200] for line in dict.fromkeys((lines[0], lines[-1])))


def _probe(address: str, environ: dict[str, str]) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", _PROBE, address]
    return subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _is_answered(process: subprocess.Popen[bytes]) -> bool:
    try:
        return process.wait(PROBE_S) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
