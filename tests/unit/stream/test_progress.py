"""A progress bar counts pictures and leaves nothing behind, whenever its process is killed."""

import io
import subprocess
import sys

from fcos_lib.stream.progress import picture_bar


class Terminal(io.StringIO):
    """Where a bar is shown."""

    def isatty(self):
        """It is one."""
        return True


def test_a_bar_goes_on_where_it_stands(monkeypatch):
    """An evaluation that was interrupted begins with what is recorded."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    with picture_bar("evaluate", 10, done=4) as bar:
        bar.update(3)
        assert (bar.n, bar.total) == (7, 10), f"the bar stands at {bar.n} of {bar.total}, not 7 of 10"
    assert "evaluate:  40%" in sys.stderr.getvalue(), sys.stderr.getvalue()


def test_without_a_terminal_there_is_no_bar(capsys):
    """A log is no place for it."""
    with picture_bar("evaluate", 10) as bar:
        bar.update(10)
    assert capsys.readouterr() == ("", "")


def test_a_bar_makes_no_semaphore(outer_environment):
    """kill -9 while it is made would leave a file in /dev/shm; the module is what Python makes semaphores with."""
    program = "import sys\nfrom fcos_lib.stream.progress import picture_bar\npicture_bar('x', 3).close()\n"
    program += "print([name for name in sys.modules if name.startswith('multiprocessing')])"
    done = subprocess.run(
        [sys.executable, "-c", program], env=outer_environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert "multiprocessing.synchronize" not in done.stdout, done.stdout
