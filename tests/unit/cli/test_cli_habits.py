"""What every verb of `python -m fcos_lib` does alike: help, versions, errors, colours, completion."""

import argparse
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fcos_lib.cli import main as cli
from fcos_lib.cli.main import VERBS, build_parser, main
from fcos_lib.cli.terminal import coloured, takes_colour
from fcos_lib.errors import UsageError
from tests.unit.processes import Terminal


@pytest.fixture(autouse=True)
def _no_colour_variables(monkeypatch):
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_without_a_verb_the_overview_is_shown_and_nothing_succeeds(capsys):
    """A script that lost its arguments must not go on: exit 2, all on stderr."""
    assert main([]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("usage: python -m fcos_lib VERB ...")


def test_the_overview_lists_every_verb_once_in_groups_with_the_exit_statuses(capsys):
    """One line each, under a heading; the statuses that a script may meet are below."""
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    for name, (_, text) in (entry for verbs in VERBS.values() for entry in verbs.items()):
        assert len(re.findall(rf"^  {name} +{re.escape(text)}$", out, re.M)) == 1, f"{name} is not listed once"
    headings = re.findall(r"^(\S[^:\n]*):$", out, re.M)
    assert headings[:2] == ["the model's way", "a picture's way"]
    statuses = out.partition("exit status:")[2]
    for status in ("0", "1", "2", "3", "7, 8", "130"):
        assert re.search(rf"^  {status} ", statuses, re.M), f"exit status {status} is not explained"
    longest = max(out.splitlines(), key=len)
    assert len(longest) <= 120, f"a line has {len(longest)} characters, at most 120 are allowed: {longest}"


def test_every_help_is_a_format_that_argparse_can_fill_in():
    """Python 3.14 fills in each as the parser is built: one percent sign alone ended every verb there."""

    def parsers(parser):
        yield parser
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for child in action.choices.values():
                    yield from parsers(child)

    for parser in parsers(build_parser()):
        groups = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        for action in [*parser._actions, *(entry for group in groups for entry in group._get_subactions())]:
            filled = parser._get_formatter()._expand_help(action) if action.help else ""
            assert "%%" not in filled, f"{parser.prog} {action.dest}: {filled}"


def test_the_version_names_what_a_report_needs_and_needs_nothing(capsys, monkeypatch):
    """fcos_lib, CANN and Python in one line, without loading a device, the emulator or the models."""
    monkeypatch.setenv("PATH", "/nonexistent")
    heavy = {"torch", "onnxruntime", "fcos_lib.emulator.install"} - sys.modules.keys()
    assert main(["--version"]) == 0
    out = capsys.readouterr().out
    assert re.fullmatch(r"fcos_lib \S.*, CANN \S+, Python 3\.\d+\.\d+\S*\n", out)
    assert not heavy & sys.modules.keys()


@pytest.fixture
def failing(monkeypatch):
    """A verb that raises what it is given."""

    def prepare(error):
        def verb(args):
            raise error

        monkeypatch.setattr(cli, "_verb", lambda name: verb)

    return prepare


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (UsageError("this was found", "do that"), ["error: this was found\n  → do that\n"]),
        (FileNotFoundError(2, "No such file or directory", "x"), ["error: [Errno 2] No such file or directory: 'x'\n"]),
        (ModuleNotFoundError("No module named 'mmdet'", name="mmdet"), ["the package mmdet is not installed", ".[export]"]),
        (KeyError("batch"), ["error: fcos_lib itself failed: KeyError: 'batch' (fcos_lib/cli/main.py, line", "--debug"]),
    ],
    ids=["expected", "system", "package", "defect"],
)  # fmt: skip
def test_an_error_is_two_sentences_and_a_traceback_only_on_request(failing, capsys, error, words):
    """Exit 3; what was found and what to do. A defect of ours says that it is one, and where."""
    failing(error)
    assert main(["limits"]) == 3
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert len(said.err.splitlines()) <= 2, said.err
    for word in words:
        assert word in said.err
    for line in (["limits", "--debug"], ["--debug", "limits"]):
        assert main(line) == 3
        assert "Traceback (most recent call last)" in capsys.readouterr().err, f"no traceback with {' '.join(line)}"


def test_ctrl_c_is_no_error(failing, capsys):
    """Exit 130, one word."""
    failing(KeyboardInterrupt())
    assert main(["limits"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    ("variables", "terminal", "colour"),
    [
        ({}, True, True),
        ({}, False, False),
        ({"NO_COLOR": "1"}, True, False),
        ({"NO_COLOR": ""}, True, True),
        ({"FORCE_COLOR": "1"}, False, True),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, True, False),
        ({"TERM": "dumb"}, True, False),
    ],
    ids=["terminal", "file", "NO_COLOR", "NO_COLOR-empty", "FORCE_COLOR", "both", "dumb"],
)
def test_colour_is_for_terminals_that_want_it(monkeypatch, variables, terminal, colour):
    """NO_COLOR wins over everything, FORCE_COLOR over a pipe."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert takes_colour(Terminal() if terminal else io.StringIO()) is colour


def test_only_verdicts_are_coloured():
    """The text without its colours is the text; words that contain a verdict stay as they are."""
    text = "batch8 PASS, batch64 FAIL, NO VERDICT, STAND-IN, INFRA; BYPASS FAILURE NO-FAIL PASS-through"
    shown = coloured(text, Terminal())
    assert re.findall(r"\033\[[\d;]+m([^\033]+)\033\[0m", shown) == ["PASS", "FAIL", "NO VERDICT", "STAND-IN", "INFRA"]
    assert re.sub(r"\033\[[\d;]*m", "", shown) == text
    assert coloured(text, io.StringIO()) == text


def test_errors_in_a_log_have_no_control_characters(failing, capsys):
    """pytest's capture is no terminal, and neither is a CI log."""
    failing(UsageError("this was found"))
    main(["limits"])
    assert "\033" not in capsys.readouterr().err


@pytest.fixture
def script(capsys):
    """What `completion` prints for a shell."""

    def of(shell):
        assert main(["completion", shell]) == 0
        return capsys.readouterr().out

    return of


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_bash_completes_verbs_options_and_files(script, tmp_path):
    """As bash itself would, for the command `fcos_lib`, which starts this Python."""
    (tmp_path / "model.om").write_text("")
    (tmp_path / "models").mkdir()
    (tmp_path / "completion").write_text(script("bash"))
    asked = {
        "e": {"export", "evaluate"},
        "history p": {"plot"},
        "export --c": {"--checkpoint", "--contract"},
        "infer --npu ": {"auto", "emulated", "required"},
        "infer --om mod": {"model.om", "models"},
        "infer --input mod": {"models"},
        "completion ": {"bash", "zsh"},
    }
    ask = [
        f"COMP_WORDS=(fcos_lib {' '.join(repr(word) for word in words.split(' '))}); "
        f'COMP_CWORD={len(words.split(" "))}; COMPREPLY=(); $complete; echo "${{COMPREPLY[@]}}"'
        for words in asked
    ]
    find = "complete=$(complete -p fcos_lib | sed -E 's/.* -F ([^ ]+) .*/\\1/')"
    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(["source completion", find, *ask])],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    answers = [set(line.split()) for line in done.stdout.splitlines()]
    missing = {
        words: (wanted, got) for (words, wanted), got in zip(asked.items(), answers, strict=True) if not wanted <= got
    }
    assert not missing, f"{missing} {done.stderr}"
    assert "model.om" not in answers[5], "a folder was asked for"


def test_the_completed_command_runs_this_python(script):
    """The function stands for `python -m fcos_lib` with the interpreter that wrote it; zsh wants its first line first."""
    function = f'fcos_lib() {{ {shlex.quote(sys.executable)} -m fcos_lib "$@"; }}\n'
    assert script("bash").startswith(function)
    zsh = script("zsh")
    assert zsh.startswith(f"#compdef fcos_lib\n{function}")
    for name in (name for verbs in VERBS.values() for name in verbs):
        assert re.search(rf"\b{name}\b", zsh), f"{name} is not completed"


def test_completion_without_shtab_says_what_to_install(monkeypatch, capsys):
    """It is needed for nothing else."""
    monkeypatch.setitem(sys.modules, "shtab", None)
    assert main(["completion", "bash"]) == 3
    assert (
        "the package shtab, which writes the script, is not installed\n  → pip install shtab" in capsys.readouterr().err
    )


def test_no_verb_dies_of_an_encoding(tmp_path):
    """With a terminal that knows ASCII alone: signs fall back on stdout and stderr."""
    environ = os.environ | {"PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "fcos_lib", "verify", str(tmp_path / "狗.json")]
    done = subprocess.run(command, env=environ, capture_output=True, check=False)
    assert done.returncode == 3, done.stdout + done.stderr
    assert "\\u72d7.json" in done.stderr.decode("ascii")
    assert "\n  -> " in done.stderr.decode("ascii")


def test_the_commands_that_a_run_offers_can_be_run():
    """Tests and fixtures say them where something was left out, or failed; each has every option that its verb needs."""
    root = Path(__file__).parents[3]
    sources = [
        path.read_text(encoding="utf-8")
        for folder in ("tests/acceptance", "fixtures")
        for path in (root / folder).glob("*.py")
    ]
    offered = {words for source in sources for words in re.findall(r"python -m fcos_lib ((?:[\w-]+ ?)+)", source)}
    assert len(offered) > 1, f"found only {offered}"
    for words in offered:
        build_parser().parse_args(words.partition(" or ")[0].split())


@pytest.mark.parametrize(
    ("words", "input_of"),
    [
        (["attest", "results", "--key", "SAME", "-o", "SAME"], "key"),
        (["attest", "results", "--gateproof", "SAME", "-o", "LINK"], "gateproof"),
        (["bundle", "SAME", "--worst", "1", "-o", "SAME"], "results"),
        (["limits", "--limits", "SAME", "--record", "results", "-o", "SAME"], "limits"),
        (["page", "SAME", "-o", "SAME"], "results"),
        (["compare", "SAME", "results", "--annotations", "results", "--page", "SAME"], "before"),
    ],
)
def test_no_verb_writes_over_what_it_reads(tmp_path, capsys, words, input_of):
    """A private key or a run that is gone cannot be restored; another name of the same file is the same."""
    places = {"SAME": tmp_path / "same.html", "LINK": tmp_path / "link.html", "results": tmp_path / "results.json"}
    places["SAME"].write_text("the only copy")
    places["LINK"].hardlink_to(places["SAME"])
    assert main([str(places.get(word, word)) for word in words]) == 3
    assert f"is what {input_of} names, and would be written over" in capsys.readouterr().err
    assert places["SAME"].read_text() == "the only copy"
