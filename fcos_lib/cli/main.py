"""The program `python -m fcos_lib`: its verbs, one for each line of the recipe, the parser of all of them, and how one is run.

What a verb is for, and every exit status, is in what the command line without a verb prints. What a verb shares with pytest is in
the table of options, what it has of its own in `verb_options.py`.
"""

from __future__ import annotations

import argparse
import importlib
import io
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fcos_lib.cli.terminal import report, versions
from fcos_lib.cli.verb_options import add_options, contract_option
from fcos_lib.errors import UsageError
from fcos_lib.evidence.plain_text import never_fail
from fcos_lib.files import close_umask
from fcos_lib.options.option import path
from fcos_lib.options.table import options_of

FAILED, USAGE, ERROR, INTERRUPTED = 1, 2, 3, 130
VERBS = {
    "the model's way": {
        "contract": ("models:contract", "write the contract of a config of mmdetection, which is not run"),
        "contracts": ("models:contracts", "list the models that have a contract here, and how each differs from the recipe's"),
        "export": ("models:export", "write both ONNX endings of a checkpoint"),
        "compile": ("models:compile_onnx", "compile ascend.onnx to an OM with atc"),
    },
    "a picture's way": {
        "preprocess": ("pictures:preprocess", "write the network input of every picture as a .bin file"),
        "info": ("pictures:info", "write the list of pictures and sizes that get_info.py writes"),
        "infer": ("pictures:infer", "run a folder of .bin files through an OM, as ais_bench does"),
        "evaluate": ("evaluate:evaluate", "judge the mAP of a result folder, or count that of any detector's COCO result file"),
        "bench": ("pictures:bench", "measure the throughput of an OM on zeros, as ais_bench does"),
    },
    "verdicts": {
        "limits": ("verdicts:limits", "print every limit with where it comes from"),
        "judge": ("verdicts:judge", "decide a stored run again under other limits, without inference"),
        "verify": ("verdicts:verify", "say whether a stored run, or what attest wrote, is complete, green and true; for scripts"),
        "accept": ("accept:accept", "make the OMs of a run the champions that later ones are compared with"),
        "attest": ("attest:attest", "write a statement about a stored run that others can check, signed with --key"),
        "history": ("history:history", "list, compare, accept, draw or export the throughput of stored runs"),
    },
    "two detectors": {
        "compare": ("compare:compare", "say by how much one COCO result file is better than another, with 95 % intervals"),
    },
    "reading a failure": {
        "page": ("results:page", "draw a stored run as one HTML page, to be read or mailed"),
        "explain": ("explain:explain", "say which stage, kind of mistake and layer lost the mAP of a stored run"),
        "bundle": ("bundle:bundle", "pack pictures of a stored run, with all that both sides computed, for somebody else"),
        "replay": ("replay:replay", "compute a bundle again on this machine, and say what differs"),
        "diff": ("results:diff", "say what moved between two stored runs, and whether beyond noise"),
        "summary": ("results:summary", "print a stored run as Markdown, for the page of a CI job"),
    },
    "this machine": {
        "doctor": ("main:doctor", "say what is here for a run on an NPU, and what is missing"),
        "completion": ("main:completion", "print a script for bash or zsh that completes verbs and options"),
    },
}  # fmt: skip
"""By group and name: the function, in a module of this package that is imported when the verb is called, and what it does."""
_STATUSES = """
exit status:
  0     done
  1     the verb's own check failed: a gate is FAIL (evaluate, compare, judge, history compare), something moved (diff),
        a statement is not true (verify), a bundle comes out otherwise (replay), no NPU run is possible (doctor)
  2     the options make no sense
  3     an error: its cause and what to do are on stderr
  7, 8  what was judged is NO VERDICT, INFRA (compare, judge, history compare)
  130   interrupted
"""
DEBUG = "show the traceback of an error"
_WRITTEN = ("output", "page")
"""Options that name what a verb writes."""


class Overview(argparse.ArgumentParser):
    """The parser of all verbs; its help lists them in groups, with a line each, and the exit statuses."""

    def format_help(self) -> str:
        """Verbs, options and exit statuses."""
        groups = {title: {name: text for name, (_, text) in verbs.items()} for title, verbs in VERBS.items()}
        groups["options"] = {
            "-h, --help": "show this, or the options of a verb",
            "--version": "fcos_lib, CANN and Python",
            "--debug": DEBUG,
        }
        width = 2 + max(len(name) for entries in groups.values() for name in entries)
        lines = [f"usage: {self.prog} VERB ...\n\n{self.description}\n"]
        for title, entries in groups.items():
            lines.append(f"\n{title}:\n" + "".join(f"  {name:<{width}}{text}\n" for name, text in entries.items()))
        return "".join(lines) + _STATUSES


_DATASET_OR_CONTRACT = {
    "export": "the one of the dataset's categories",
    "infer": "the one with the OM's input size",
    "bench": "the one with the OM's input size",
}
"""Verbs that take a dataset to know the contract by it, and what the contract is without either."""
_PROGRAM = "fcos_lib"
"""What is completed. A shell completes commands, and `python -m fcos_lib` is one of python's."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs; options are never abbreviated."""
    parser = Overview(prog="python -m fcos_lib", description="FCOS on Ascend NPUs, step by step", allow_abbrev=False)
    parser.add_argument("--version", action="store_true", help="print the versions of fcos_lib, CANN and Python")
    parser.add_argument("--debug", action="store_true", help=DEBUG)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=argparse.ArgumentParser)
    parsers: dict[str, argparse.ArgumentParser] = {}
    for group in VERBS.values():
        for name, (function, text) in group.items():
            help_text = text.replace("%", "%%")  # argparse fills it in as a format, and Python 3.14 at once
            parsers[name] = verbs.add_parser(name, help=help_text, description=text, allow_abbrev=False)
            parsers[name].set_defaults(function=function)
            parsers[name].add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=DEBUG)
            _add_shared(parsers[name], name)
    add_options(parsers)
    parsers["completion"].add_argument("shell", choices=("bash", "zsh"), metavar="SHELL", help="bash or zsh")
    return parser


def _add_shared(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of the table that this verb takes."""
    for option in options_of(verb):
        if option.name == "--dataset" and verb in _DATASET_OR_CONTRACT:
            which = parser.add_mutually_exclusive_group(required=verb == "export")
            option.add_to(which)
            contract_option(_DATASET_OR_CONTRACT[verb]).add_to(which)
        else:
            option.add_to(parser)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status. `SystemExit` (2, or 0 for --help) comes from argparse."""
    sys.stdout, sys.stderr = sys.stdout or io.StringIO(), sys.stderr or io.StringIO()  # None is a closed one
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
        _spare_inputs(args)
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


def _spare_inputs(args: argparse.Namespace) -> None:
    """`UsageError` if a file that is to be written is one that the command line names to be read."""
    files = {name: value for name, value in vars(args).items() if isinstance(value, Path) and value.is_file()}
    for output in (files[name] for name in _WRITTEN if name in files):
        names = [name for name, file in files.items() if name not in _WRITTEN and file.samefile(output)]
        if names:
            raise UsageError(f"{output} is what {names[0]} names, and would be written over", "name another file")


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


def completion(args: argparse.Namespace) -> int:
    """Print the script: a function that stands for `python -m fcos_lib` with this Python, and its completion."""
    try:
        import shtab
    except ModuleNotFoundError as error:
        raise UsageError("the package shtab, which writes the script, is not installed", "pip install shtab") from error
    parser = build_parser()
    parser.prog = _PROGRAM
    for action in _actions(parser):
        if action.type is path:  # shtab reads an attribute that argparse does not declare
            action.complete = shtab.DIRECTORY if action.metavar == "FOLDER" else shtab.FILE  # type: ignore[attr-defined]  # shtab's own, on argparse's action
    script = shtab.complete(parser, shell=args.shell)
    function = f'{_PROGRAM}() {{ {shlex.quote(sys.executable)} -m {_PROGRAM} "$@"; }}\n'
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
