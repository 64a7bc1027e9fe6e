"""Output on a terminal: verdicts in colour where a person sees them, one form for errors."""

from __future__ import annotations

import os
import platform
import re
import sys
import traceback
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TextIO

from fcos_lib.errors import LONGEST, FcosError
from fcos_lib.files import printable

_RED, _GREEN, _YELLOW, _END = "\033[1;31m", "\033[32m", "\033[33m", "\033[0m"
_COLOURS = {"PASS": _GREEN, "FAIL": _RED, "INFRA": _RED, "STAND-IN": _YELLOW, "NO VERDICT": _YELLOW, "error:": _RED}
_WORDS = re.compile(rf"(?<![\w-])(?:{'|'.join(_COLOURS)})(?![\w-])")
_PACKAGE = Path(__file__).parents[1]


def takes_colour(stream: TextIO) -> bool:
    """NO_COLOR forbids colour, FORCE_COLOR asks for it; otherwise only a terminal that is not `dumb` gets it.

    A variable that is set to nothing counts as not set (no-color.org, force-color.org).
    """
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def coloured(text: str, stream: TextIO) -> str:
    """The text with its verdicts in colour, if the stream takes colour."""
    return _WORDS.sub(lambda word: f"{_COLOURS[word[0]]}{word[0]}{_END}", text) if takes_colour(stream) else text


def say(text: str) -> None:
    """Print lines that hold verdicts, and names from files, of which nothing acts on a terminal or in a log."""
    print(coloured(printable(text, LONGEST), sys.stdout))


def report(error: Exception, *, debug: bool) -> None:
    """Print an error in two sentences on stderr, what was found and what to do; its traceback only with `debug`."""
    if debug:
        traceback.print_exception(error)
    found, advice = _two_sentences(error)
    print(coloured("error:", sys.stderr), f"{found}\n  → {advice}" if advice else found, file=sys.stderr)


def _two_sentences(error: Exception) -> tuple[str, str]:
    if isinstance(error, FcosError):
        return error.found, error.advice
    if isinstance(error, OSError):
        return printable(str(error)), ""
    name = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if name and name != _PACKAGE.name:
        return (
            f"the package {name} is not installed",
            "pip install -e '.[export]' -c constraints.txt; python -m fcos_lib doctor lists what is missing",
        )
    return (
        printable(f"fcos_lib itself failed: {type(error).__name__}: {error}") + _line_of_ours(error),
        "this is a defect: please report it with what --debug prints",
    )


def _line_of_ours(error: Exception) -> str:
    """The innermost line of ours."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _PACKAGE in Path(frame.filename).parents]
    return f" ({Path(frames[-1].filename).relative_to(_PACKAGE.parent)}, line {frames[-1].lineno})" if frames else ""


def versions() -> str:
    """What a report of a defect should name. Looks at the CANN that is installed, never at the emulator."""
    from fcos_lib.ascend.toolkit import discover

    try:
        own = version("fcos_lib")
    except PackageNotFoundError:
        own = "(not installed)"
    return f"fcos_lib {own}, CANN {discover(os.environ).cann_version}, Python {platform.python_version()}"
