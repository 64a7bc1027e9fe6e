"""What did a C++ library print while we called it? Its stdout carries the causes that its exceptions leave out."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import tempfile
from collections.abc import Iterator

_STDOUT = 1
_READ_LIMIT = 64 * 1024


class Console:
    """Collects what is written to file descriptor 1 while `capture` is active; the text of the last capture is kept.

    Works below `sys.stdout`, so that printf is caught and a Python-level capture in force stays untouched. The
    redirection holds for the whole process: what other threads print meanwhile is collected too.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="fcos-console-")  # noqa: SIM115 - lives as long as the session
        self._libc = ctypes.CDLL(None)
        self.text = ""

    @contextlib.contextmanager
    def capture(self) -> Iterator[None]:
        """Redirect descriptor 1 into this console; it is restored in every case. Without a stdout, nothing is captured."""
        self.text = ""
        try:
            saved = os.dup(_STDOUT)
        except OSError:  # a service may run with stdout closed
            yield
            return
        try:
            self._flush()
            self._file.seek(0)
            self._file.truncate()
            os.dup2(self._file.fileno(), _STDOUT)
            try:
                yield
            finally:
                self._flush()
                os.dup2(saved, _STDOUT)
                self.text = self._read()
        finally:
            os.close(saved)

    def close(self) -> None:
        """Give the temporary file back."""
        self._file.close()

    def _read(self) -> str:
        size = self._file.seek(0, os.SEEK_END)
        self._file.seek(max(0, size - _READ_LIMIT))  # the cause is printed last
        return self._file.read().decode("utf-8", "replace")

    def _flush(self) -> None:
        """Empty the buffers of Python and of C: printf keeps text back when stdout is not a terminal."""
        with contextlib.suppress(OSError, ValueError, AttributeError):  # sys.stdout may be closed or None
            sys.stdout.flush()
        self._libc.fflush(None)
