"""Output on a terminal: verdicts in colour where a person sees them, one form for errors, the overview of verbs."""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import traceback
from collections.abc import Mapping
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
    print(coloured("error:", sys.stderr), found + f"\n  → {advice}" * bool(advice), file=sys.stderr)


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
        printable(f"fcos_lib itself failed: {type(error).__name__}: {error}") + _place(error),
        "this is a defect: please report it with what --debug prints",
    )


def _place(error: Exception) -> str:
    """The innermost line of ours."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _PACKAGE in Path(frame.filename).parents]
    return f" ({Path(frames[-1].filename).relative_to(_PACKAGE.parent)}, line {frames[-1].lineno})" if frames else ""


GROUPS = {
    "the model's way": ("export", "compile"),
    "a picture's way": ("preprocess", "info", "infer", "evaluate", "bench"),
    "verdicts": ("limits", "judge", "verify", "accept", "history"),
    "reading a failure": ("page", "explain", "diff", "summary"),
    "this machine": ("doctor", "completion"),
}
"""The order in which verbs are listed; others follow."""

_STATUSES = """\
exit status:
  0     done
  1     the verb's own check failed: a gate is FAIL (evaluate, judge, history compare), something moved (diff),
        no NPU run is possible (doctor)
  2     the options make no sense
  3     an error: its cause and what to do are on stderr
  7, 8  what was judged is NO VERDICT, INFRA (judge, history compare)
  130   interrupted
"""


class Overview(argparse.ArgumentParser):
    """The parser of all verbs; its help lists them in groups, with a line each."""

    verbs: Mapping[str, str] = {}

    def format_help(self) -> str:
        """Verbs, options and exit statuses."""
        groups = {title: [name for name in names if name in self.verbs] for title, names in GROUPS.items()}
        listed = [name for names in groups.values() for name in names]
        groups["more"] = [name for name in self.verbs if name not in listed]
        options = {"-h, --help": "show this, or the options of a verb", "--version": "fcos_lib, CANN and Python",
                   "--debug": "show the traceback of an error"}  # fmt: skip
        width = max(map(len, self.verbs)) + 2
        parts = [f"usage: {self.prog} VERB ...\n\n{self.description}\n"]
        parts += [
            f"\n{title}:\n" + "".join(f"  {name:<{width}}{self.verbs[name]}\n" for name in names)
            for title, names in groups.items()
            if names
        ]
        parts.append("\noptions:\n" + "".join(f"  {name:<{width}}{text}\n" for name, text in options.items()))
        return "".join(parts) + "\n" + _STATUSES


def versions() -> str:
    """What a report of a defect should name. Looks at the CANN that is installed, never at the emulator."""
    from fcos_lib.ascend.toolkit import discover

    try:
        own = version("fcos_lib")
    except PackageNotFoundError:
        own = "(not installed)"
    return f"fcos_lib {own}, CANN {discover(os.environ).cann_version}, Python {platform.python_version()}"
