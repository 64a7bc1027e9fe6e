"""Other processes, whether they live and what they print on a terminal of their own; and a stream that says it is one."""

import contextlib
import fcntl
import io
import os
import pty
import struct
import subprocess
import termios
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Terminal(io.StringIO):
    """Text that says it is shown on a terminal."""

    def isatty(self):
        """As a terminal does."""
        return True


def ended(pid, seconds=5):
    """True if a process ends in time; one that nobody has waited for yet counts as ended."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def on_terminal(command, environ, columns=80):
    """All that a command shows on a terminal so wide, from the project's folder; it has to end with status 0."""
    terminal, ours = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdin=ours, stdout=ours, stderr=ours)
    os.close(ours)
    shown = b""
    with contextlib.suppress(OSError):  # EIO is how a terminal says that nobody writes any more
        while piece := os.read(terminal, 65536):
            shown += piece
    os.close(terminal)
    assert process.wait(60) == 0, shown.decode(errors="replace")
    return shown.decode(errors="replace")
