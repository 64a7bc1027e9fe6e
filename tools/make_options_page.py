"""Write docs/options.md from the table of options."""

from __future__ import annotations

from pathlib import Path

from fcos_lib.options.option import Option
from fcos_lib.options.table import GROUPS

PAGE = Path(__file__).parents[1] / "docs" / "options.md"
HEAD = """\
# Options

What the suite adds to pytest, written from `fcos_lib/options/table.py` by `tools/make_options_page.py`. None of them has an
environment variable; `PYTEST_ADDOPTS` holds options for every run, and results.json names it. `FCOS_EMULATOR` is no option: it calls
up the emulator's unpleasant sides (`fcos_lib/emulator/scenario.py`).

*Repeated*: the command that runs a failure again has the option, if it is not at its default; it would have another result without it.
*Verbs*: those of `python -m fcos_lib` that take it too, sometimes with another default (`python -m fcos_lib <verb> --help`).
"""


def text() -> str:
    """The page."""
    parts = [HEAD]
    for title, options in GROUPS.items():
        parts.append(f"\n## {title}\n\n| option | meaning | default | repeated | verbs |\n|---|---|---|---|---|\n")
        parts += map(_row, options)
    return "".join(parts)


def _row(option: Option) -> str:
    value = f"{{{','.join(option.choices)}}}" if option.choices else option.metavar
    cells = (
        f"`{option.name} {value}`".replace(" =", "=").replace(" `", "`"),
        option.help,
        option.default_text,
        "yes" if option.repeated else "no",
        ", ".join(option.verbs),
    )
    return "| " + " | ".join(cells) + " |\n"


if __name__ == "__main__":
    PAGE.write_text(text(), encoding="utf-8")
