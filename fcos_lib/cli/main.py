"""The program `python -m fcos_lib`: every line of the recipe by hand, one verb each.

What a verb is for, and every exit status, is in what the command line without a verb prints.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fcos_lib.cli.parser import build_parser
from fcos_lib.cli.terminal import report, versions
from fcos_lib.errors import UsageError
from fcos_lib.evidence.plain_text import never_fail
from fcos_lib.files import close_umask

FAILED, USAGE, ERROR, INTERRUPTED = 1, 2, 3, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status. `SystemExit` (2, or 0 for --help) comes from argparse."""
    never_fail(sys.stdout, sys.stderr)
    parser = build_parser()
    args = parser.parse_args(argv)
    close_umask()
    try:
        if args.version:
            print(versions())
            return 0
        if args.verb is None:
            parser.print_help(sys.stderr)
            return USAGE
        _check_printable(args)
        status = int(_verb(args.function)(args))
        sys.stdout.flush()
        return status if 0 <= status <= 255 else ERROR  # of a file that somebody wrote: a shell takes 256 for 0
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ERROR
    except Exception as error:  # whatever it is, one sentence and not a traceback; --debug adds that
        report(error, debug=args.debug)
        return ERROR


def _check_printable(args: argparse.Namespace) -> None:
    """`UsageError` for a value that no log, report or command to be typed again can hold: with a newline, or not in UTF-8."""
    for name, value in vars(args).items():
        for text in value if isinstance(value, list) else [value]:
            if isinstance(text, str | Path) and not str(text).isprintable():
                raise UsageError(f"{name} is {str(text)!a}, which cannot be printed in a line", "pass another value")


def _verb(function: str) -> Callable[[argparse.Namespace], int]:
    """The function behind a verb; imported now, so that `doctor` and `--help` work without what other verbs need."""
    module, _, name = function.partition(":")
    of_verb: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(f"fcos_lib.cli.{module}"), name)
    return of_verb


def doctor(args: argparse.Namespace) -> int:
    """Print what is here and what is missing; 1 if no NPU run is possible."""
    from fcos_lib.device.doctor import as_lines, examine

    examination = examine(args.device_id)
    print("\n".join(as_lines(examination)))
    return 0 if examination.possible else FAILED
