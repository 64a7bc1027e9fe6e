"""Options with blanks, quotes, semicolons, dashes and Chinese characters mean what they say; what no line can hold is refused."""

import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fcos_lib.cli.main import main
from fcos_lib.evidence.results import again
from fixtures.options import settings as chosen_settings
from fixtures.settings import EMBEDDED
from tests.unit.parsed import parsed

ROOT = Path(__file__).parents[3]
ODD = {
    "blank": "a b", "quote": "it's", "quotes": '"a"', "semicolon": "a;touch pwned;", "substitution": "$(touch pwned)`id`",
    "dash": "-x", "dashes": "--npu", "chinese": "中文", "glob": "*?[a]", "tilde": "~root", "backslash": "a\\ b",
    "comment": "#x", "ampersand": "a&b|c>d", "equals": "a=b", "percent": "%s{0}", "command": "::error::x",
}  # fmt: skip
UNPRINTABLE = {"newline": "a\nb", "escape": "a\x1b[31m", "not-utf-8": os.fsdecode(b"a\xff"), "direction": "a\u202eb"}


@pytest.fixture
def parse():
    """The suite's own options, parsed from words."""
    return lambda words: chosen_settings(parsed(words))


@pytest.mark.parametrize("text", ODD.values(), ids=ODD)
def test_the_command_to_run_again_means_the_same(parse, request, text):
    """Typed into a shell, it gives the settings that it was made of."""
    folder = ROOT / text
    before = replace(
        chosen_settings(request.config), dataset=folder, checkpoint=folder, references=folder, onnx=folder,
        baseline=folder, precision_mode=text, op_select_implmode=text, atc_option=(f"--log={text}",), npu="auto", om=None,
        device_id=(), pictures=None, batch_sizes=(2,), build_only=False, golden_only=False, soc_version="", aipp=False, dynamic_batch=False,
        artifacts=folder, fresh=False, require_baseline=False,
    )  # fmt: skip
    document = {"run": {"options": before.as_options()}}
    printed = subprocess.run(
        ["bash", "-c", f"printf '%s\\0' {again(document, 'tests/x.py::y[a b]')}"], capture_output=True, check=True
    ).stdout.decode()
    words = printed.split("\0")[:-1]
    assert words[:2] == ["pytest", "tests/x.py::y[a b]"]
    assert words[2:] == shlex.split(before.as_options())
    assert parse(words[2:]) == before


@pytest.mark.parametrize("text", UNPRINTABLE.values(), ids=UNPRINTABLE)
@pytest.mark.parametrize("option", ["--artifacts", "--references", "--precision-mode", "--atc-option=--log"])
def test_what_no_line_can_hold_is_refused(parse, option, text):
    """Neither a log nor a report could show it, nor anybody type it again."""
    with pytest.raises(pytest.UsageError, match="cannot be printed in a line"):
        parse([f"{option}={text}"])


@pytest.mark.parametrize("text", UNPRINTABLE.values(), ids=UNPRINTABLE)
def test_the_command_line_refuses_it_too(text, capsys):
    """With one error, whatever the verb."""
    assert main(["evaluate", "--results", text, "--dataset", str(EMBEDDED)]) == 3
    said = capsys.readouterr().err
    assert "cannot be printed in a line" in said
    assert text not in said


def test_bytes_that_are_no_utf_8_end_a_run_at_once(outer_environment):
    """Exit status 4, before anything is collected."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", b"--artifacts=/tmp/\xff\xfe"]
    done = subprocess.run(command, cwd=ROOT, env=outer_environment, capture_output=True, check=False, timeout=120)
    assert done.returncode == 4, done
    assert b"--artifacts '/tmp/\\udcff\\udcfe' cannot be printed in a line" in done.stderr
