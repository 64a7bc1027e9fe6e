"""Somebody at a terminal sees that atc is at work, and nobody else does."""

import io
from pathlib import Path

import pytest

from fcos_lib.ascend import process
from fcos_lib.ascend.atc import compile_om, progress_line, progress_text
from fcos_lib.ascend.atc_command import AtcOptions
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.errors import AtcError
from tests.unit.processes import Terminal

OPTIONS = AtcOptions("Ascend310P3", 8)


@pytest.mark.parametrize(
    ("seconds", "options", "text"),
    [
        (7.9, OPTIONS, "atc: batch size 8, 7 s (log: /x/atc.log)"),
        (80, OPTIONS, "atc: batch size 8, 1 min 20 s (log: /x/atc.log)"),
        (3600, AtcOptions("a", dynamic_batches=(4, 1)), "atc: batch sizes 1, 4, 60 min 0 s (log: /x/atc.log)"),
    ],
)
def test_the_line_says_what_how_long_and_where(seconds, options, text):
    """In the words that its reader would use."""
    assert progress_text(options, Path("/x/atc.log"), seconds) == text


def test_the_line_is_rewritten_and_removed():
    """One line at a time, nothing in the end, never wider than the terminal."""
    stream = Terminal()
    line = progress_line(stream, OPTIONS)
    line(Path("/x/" + "long/" * 100), 1)
    line(Path("/x"), 2)
    line.clear()
    line.clear()
    assert "\n" not in stream.getvalue()
    parts = stream.getvalue().split("\r\033[K")
    assert [part[:25] for part in parts] == ["", "atc: batch size 8, 1 s (l", "atc: batch size 8, 2 s (l", ""]
    widest = max(map(len, parts))
    assert widest < 250, f"a line has {widest} characters, more than any terminal"


def test_a_log_file_gets_no_line():
    """Control characters belong on terminals."""
    assert progress_line(io.StringIO(), OPTIONS) is None


@pytest.fixture
def compile_slowly(script, contract, tmp_path, monkeypatch):
    """Compile with an atc that takes its time, hearing of it twenty times a second."""
    monkeypatch.setattr(process, "_TICK_S", 0.05)
    onnx = tmp_path / "a.onnx"
    onnx.write_bytes(b"onnx")

    def run(body, **options):
        return compile_om(Toolkit(atc=script("atc", body)), onnx, tmp_path / "out", contract, OPTIONS, **options)

    return run


def test_a_running_atc_is_reported_with_its_log(compile_slowly, tmp_path):
    """The seconds rise, and the log is there to be looked at."""
    heard = []

    def progress(log, seconds):
        heard.append((log, seconds, log.read_text()))

    compile_slowly(f"echo at work; sleep 0.4; echo om > {tmp_path}/out/model.om", progress=progress)
    assert len(heard) > 2, f"atc was reported {len(heard)} times in 0.4 s"
    assert [seconds for _, seconds, _ in heard] == sorted(seconds for _, seconds, _ in heard)
    assert heard[-1][0] == tmp_path / "out" / "atc.log"
    assert heard[-1][2] == "at work\n"


def test_the_time_limit_holds_while_progress_is_reported(compile_slowly):
    """And names the option that raises it."""
    with pytest.raises(AtcError, match=r"within 0\.3 s") as caught:
        compile_slowly("sleep 30", timeout_s=0.3, progress=lambda log, seconds: None)
    assert "--atc-time-limit" in caught.value.advice
