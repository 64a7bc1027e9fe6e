"""What does `python -m fcos_lib` offer? Its verbs in groups, its exit statuses, its versions."""

from __future__ import annotations

import argparse
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

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
