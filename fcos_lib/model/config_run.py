"""Running a config that has to be computed: by mmengine, in a process of its own, which has no network and little of anything else.

The process sees no variable of this one, gets a folder that is removed, 4 GiB of memory, 1 MiB for each file that it writes, and a
time limit; it and what it starts end together. It can still read what this user can, and remove it: for configs that one trusts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fcos_lib.errors import UsageError
from fcos_lib.files import one_line, read_plain
from fcos_lib.model.config_syntax import Node, Place, node_of
from fcos_lib.records import plain_json

TIME_LIMIT_S = 60.0
_MOST_BYTES = 1 << 20
_MOST_VALUES = 100_000
_APART = ("unshare", "--map-root-user", "--net", "--ipc", "--pid", "--fork", "--kill-child", "--")
"""util-linux' own way to a network with nothing in it, without root where the system allows user namespaces."""
_PROGRAM = f"""
import os, resource, sys
for name, most in (("AS", 4 << 30), ("CPU", 60), ("FSIZE", {_MOST_BYTES}), ("CORE", 0), ("NOFILE", 256)):
    resource.setrlimit(getattr(resource, "RLIMIT_" + name), (most, most))
answer = os.dup(1)
os.dup2(2, 1)  # what the config prints is no answer
from fcos_lib.model.detector import config_as_json
os.write(answer, config_as_json(sys.argv[1]).encode())
"""
_BY_HAND = "write the computed values into a copy of the config, which is then read without being run"


def can_run_apart() -> str:
    """Why no config can be run apart on this machine; empty if one can."""
    if not (unshare := shutil.which(_APART[0])):
        return f"there is no {_APART[0]} here"
    try:
        done = subprocess.run([unshare, *_APART[1:], "true"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else done.stderr.strip() or f"{_APART[0]} ended with {done.returncode}"


def run_config(path: Path, time_limit_s: float = TIME_LIMIT_S) -> Node:
    """All variables of a config as mmengine computes them; `UsageError` if it cannot be run apart, fails, or takes too long."""
    if why_not := can_run_apart():
        raise UsageError(f"the config cannot be run apart from this machine ({one_line(why_not, 200)})", _BY_HAND)
    with tempfile.TemporaryDirectory(prefix="fcos_lib-") as folder:
        answer, said = Path(folder) / "answer", Path(folder) / "said"
        command = [*_APART, sys.executable, "-I", "-c", _PROGRAM, str(path.resolve())]
        environment = {"PATH": os.defpath, "HOME": folder, "TMPDIR": folder, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"}
        try:
            with answer.open("wb") as stdout, said.open("wb") as stderr:
                done = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, cwd=folder, env=environment,
                    timeout=time_limit_s, check=False,
                )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise UsageError(f"{path} ran for more than {time_limit_s:g} s and was ended", _BY_HAND) from error
        if done.returncode:
            lines = read_plain(said, _MOST_BYTES).decode(errors="replace").strip().splitlines() or ["no word"]
            raise UsageError(
                f"{path} failed when it was run, status {done.returncode} ({one_line(lines[-1], 200)})", _BY_HAND
            )
        try:
            return _nodes(plain_json(read_plain(answer, _MOST_BYTES), _MOST_VALUES), Place(str(path), 0))
        except (OSError, ValueError, RecursionError) as error:
            raise UsageError(f"{path} did not give plain values when it was run ({error})", _BY_HAND) from error


def _nodes(value: object, place: Place) -> Node:
    """JSON as nodes, all at one place."""
    if isinstance(value, dict):
        return node_of({key: _nodes(each, place) for key, each in value.items()}, place)
    return node_of([_nodes(each, place) for each in value] if isinstance(value, list) else value, place)
