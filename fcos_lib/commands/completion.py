"""`completion`: what does a shell need to know to complete our verbs, options and files?"""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from fcos_lib.errors import UsageError

NAME = "fcos_lib"
"""What is completed. A shell completes commands, and `python -m fcos_lib` is one of python's."""


def completion(args: argparse.Namespace) -> int:
    """Print the script: a function that stands for `python -m fcos_lib` with this Python, and its completion."""
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise UsageError("the package shtab, which writes the script, is not installed", "pip install shtab") from error
    from fcos_lib.cli import build_parser

    parser = build_parser()
    parser.prog = NAME
    for action in _actions(parser):
        if action.type is Path:  # shtab reads an attribute that argparse does not declare
            action.complete = shtab.DIRECTORY if action.metavar == "FOLDER" else shtab.FILE  # type: ignore[attr-defined]
    script = shtab.complete(parser, shell=args.shell)
    function = f'{NAME}() {{ {shlex.quote(sys.executable)} -m {NAME} "$@"; }}\n'
    # zsh wants its #compdef line first.
    head, newline, rest = script.partition("\n") if args.shell == "zsh" else ("", "", script)
    print(head + newline + function + rest)
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option and operand of a parser and of the parsers below it."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for below in action.choices.values():
                yield from _actions(below)
