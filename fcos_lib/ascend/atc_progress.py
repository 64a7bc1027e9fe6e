"""How does somebody at a terminal see that atc is still at work? One line that is written again and again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TextIO

from fcos_lib.ascend.atc_command import AtcOptions

_CLEAR = "\r\033[K"


def progress_text(options: AtcOptions, log: Path, seconds: float, width: int = 1000) -> str:
    """`atc: batch size 8, 1 min 20 s (log: /x/atc.log)`, cut to `width` columns."""
    minutes, rest = divmod(int(seconds), 60)
    passed = f"{minutes} min {rest} s" if minutes else f"{rest} s"
    return f"atc: {options.batches}, {passed} (log: {log})"[:width]


class ProgressLine:
    """A `progress` for `compile_om` that keeps one line of a terminal current."""

    def __init__(self, stream: TextIO, options: AtcOptions) -> None:
        self._stream, self._options, self._shown = stream, options, False

    def __call__(self, log: Path, seconds: float) -> None:
        """Write the line again."""
        self._shown = True
        width = shutil.get_terminal_size().columns - 1  # a full line would wrap, and the next one could not replace it
        self._stream.write(_CLEAR + progress_text(self._options, log, seconds, width))
        self._stream.flush()

    def clear(self) -> None:
        """Remove the line, if there is one."""
        if self._shown:
            self._shown = False
            self._stream.write(_CLEAR)
            self._stream.flush()


def progress_line(stream: TextIO, options: AtcOptions) -> ProgressLine | None:
    """The line on `stream`; None unless that is a terminal, so that logs get no control characters."""
    return ProgressLine(stream, options) if stream.isatty() else None
