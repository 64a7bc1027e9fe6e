"""Paths: a home, a user's home and variables are resolved wherever one is typed; what is not set is refused by name."""

import argparse
import os
import pwd
import shlex
from pathlib import Path

import pytest

from fcos_lib.cli.main import build_parser, main
from fcos_lib.options.option import path, typed_path
from fcos_lib.options.table import OPTIONS
from fixtures.options import settings
from tests.unit.parsed import parsed

ME = pwd.getpwuid(os.getuid())


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """A home and some variables."""
    for name, value in {
        "HOME": "/homes/it's 我", "DATA": "/data/coco", "BELOW": "a b", "EMPTY": "", "TILDE": "~/below", "DOLLAR": "/a/$DATA",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("NOWHERE", raising=False)


MEANT = {
    "~": "/homes/it's 我", "~/x": "/homes/it's 我/x", "$DATA": "/data/coco", "${DATA}": "/data/coco", "$DATA/x": "/data/coco/x",
    "/x/$BELOW/y": "/x/a b/y", "${DATA}set": "/data/cocoset", "~/$BELOW": "/homes/it's 我/a b", "$HOME/x": "/homes/it's 我/x",
    "$TILDE": "/homes/it's 我/below", "$DOLLAR": "/a/$DATA", "$$DATA": "$DATA", "a$$b": "a$b", "a$": "a$", "$(x)": "$(x)", "$1": "$1",
    "${": "${", "./~": "~", "a~b": "a~b", "./-x": "-x", "share": "share", "100%": "100%", "a#b": "a#b", "中文 'x'": "中文 'x'",
    f"~{ME.pw_name}/x": f"{ME.pw_dir}/x",
}  # fmt: skip


@pytest.mark.parametrize(("typed", "meant"), MEANT.items())
def test_a_path_means_what_a_shell_would_make_of_it(typed, meant):
    """Without a shell; what comes out of a variable is not looked at again."""
    assert path(typed) == Path(meant)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("$NOWHERE", "the environment variable NOWHERE is not set"),
        ("/data/${NOWHERE}/coco", "the environment variable NOWHERE is not set"),
        ("$EMPTY/coco", "the environment variable EMPTY is not set, or empty"),
        ("~/$NOWHERE", "the environment variable NOWHERE is not set"),
        ("~nobody-of-this-name/x", "there is no such user"),
        ("", "an empty text is not a path"),
        ("  ", "an empty text is not a path"),
    ],
)
def test_what_is_not_there_is_refused_by_name(typed, words):
    """It would become a folder that is called `$DATA`, or the root folder."""
    with pytest.raises(argparse.ArgumentTypeError, match=words):
        path(typed)


@pytest.mark.parametrize("folder", ["/a/$DATA", "/a/${DATA}", "/a/$$", "/a/$", "/homes/it's 我/x", "/x/~y", "/~root"])
def test_a_path_that_is_typed_again_is_the_same(folder):
    """The command that runs a failure again has the resolved path, in which a dollar is one."""
    assert path(typed_path(folder)) == Path(folder)
    chosen = settings(parsed(["--dataset", typed_path(folder), "--checkpoint", "x.pth"]))
    assert str(chosen.dataset) == folder
    assert settings(parsed(shlex.split(chosen.as_options()))).dataset == chosen.dataset


@pytest.mark.parametrize("option", [option.name for option in OPTIONS.values() if option.is_path])
def test_every_path_of_pytests_is_resolved(option):
    """And a variable that is not set is a usage error."""
    chosen = settings(parsed([f"{option}=$DATA/~x", "--checkpoint=~/x.pth"][: 1 + (option == "--dataset")]))
    assert getattr(chosen, OPTIONS[option].key) == Path("/data/coco/~x")
    with pytest.raises((pytest.UsageError, SystemExit, argparse.ArgumentError)):
        parsed([f"{option}=$NOWHERE"])


def test_files_of_atc_are_resolved():
    """atc runs in another folder and without a shell. Other options of its are left as they are."""
    words = [
        "--atc-option=--fusion_switch_file=$DATA/fusion.cfg",
        "--atc-option=--keep-dtype=~/x",
        "--atc-option=--log=$DATA",
    ]
    chosen = settings(parsed(words))
    assert chosen.atc_option == (
        "--fusion_switch_file=/data/coco/fusion.cfg",
        "--keep-dtype=/homes/it's 我/x",
        "--log=$DATA",
    )


def _paths(parser):
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from ((f"{name} {what}", each) for what, each in _paths(below))
        elif isinstance(action.metavar, str) and any(word in action.metavar for word in ("FOLDER", "FILE", "RESULTS")):
            yield "/".join(action.option_strings) or action.dest, action


@pytest.mark.parametrize(
    ("what", "action"), list(_paths(build_parser())), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_path_of_the_verbs_is_resolved(what, action):
    """Whatever stands for it in the help."""
    assert action.type is path, f"{what} takes a path that goes through no `~` and no variable"


def test_a_run_of_the_history_is_resolved(tmp_path, monkeypatch, capsys):
    """It is a file or the beginning of a name."""
    monkeypatch.setenv("RUNS", str(tmp_path))
    (tmp_path / "run.json").write_text("no run")
    assert main(["history", "--storage", str(tmp_path), "compare", "$RUNS/run.json"]) == 3
    assert f"{tmp_path / 'run.json'} is not JSON" in capsys.readouterr().err


def test_a_variable_that_is_not_set_in_an_option_of_others_is_refused(run):
    """They would make a folder that is called like the variable: exit status 4 before anything is collected."""
    done = run("tests/acceptance/test_inputs.py", "--npu", "emulated", "--benchmark-storage=$NOWHERE/x")
    assert done.returncode == 4, done.stdout + done.stderr
    assert "--benchmark-storage '$NOWHERE/x': the environment variable NOWHERE is not set" in done.stderr
