"""The plugin with which `pytest --dataset /data/coco` finds this suite.

pytest looks for its root folder before it knows our options, so it takes their values for test paths: with no other path
on the command line it would settle in `/data/coco`, or in the project around it, read another pytest.ini or none and reject
every option. This plugin is installed with the package, notices that, and starts the same command again with `tests` in front.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from fcos_lib.options.table import OPTIONS

_AGAIN = "FCOS_ROOTDIR_AGAIN"
_PATHS = frozenset(option.name for option in OPTIONS.values() if option.is_path)
"""Options of the suite whose value pytest may take for a test path."""


def pytest_load_initial_conftests(early_config: Any) -> None:
    """Start again from the checkout in the current folder, if pytest settled elsewhere because of an option's value."""
    again = os.environ.pop(_AGAIN, None)  # for the new process alone, not for its children
    here = Path.cwd()
    arguments = [str(argument) for argument in early_config.invocation_params.args]
    ours = (here / "pytest.ini").is_file() and (here / "fixtures" / "options.py").is_file()
    elsewhere = early_config.inipath is None or (early_config.rootpath != here and _names_a_path(arguments))
    if not (elsewhere and ours) or sys.argv[1:] != arguments or again:
        return
    os.environ[_AGAIN] = "1"
    capture = early_config.pluginmanager.getplugin("capturemanager")
    if capture:
        capture.stop_global_capturing()  # or the new process would print into this one's capture file
    os.execv(sys.executable, [sys.executable, "-m", "pytest", "tests", *arguments])


def _names_a_path(arguments: list[str]) -> bool:
    return any(argument.partition("=")[0] in _PATHS for argument in arguments)
