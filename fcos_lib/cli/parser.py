"""The command line: what each verb takes. What a verb shares with pytest is in the table of options."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from fcos_lib.cli import attest, bundle, history, replay
from fcos_lib.cli.compare_options import RESULT_FILE, add_compare, add_result_files
from fcos_lib.cli.verbs import DEBUG, VERBS, Overview
from fcos_lib.errors import UsageError
from fcos_lib.judge.limits import FILE as LIMITS
from fcos_lib.options.option import contract, number, numbers, path
from fcos_lib.options.table import options_of

_DATASET_OR_CONTRACT = {
    "export": "the one of the dataset's categories",
    "infer": "the one with the OM's input size",
    "bench": "the one with the OM's input size",
}
"""Verbs that take a data set to know the contract by it, and what the contract is without either."""
_PROGRAM = "fcos_lib"
"""What is completed. A shell completes commands, and `python -m fcos_lib` is one of python's."""

_Parsers = Mapping[str, argparse.ArgumentParser]


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
    _add_models_way(parsers)
    _add_pictures_way(parsers)
    _add_verdicts(parsers)
    _add_reading(parsers)
    add_compare(parsers["compare"])
    parsers["completion"].add_argument("shell", choices=("bash", "zsh"), metavar="SHELL", help="bash or zsh")
    return parser


def _add_shared(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the options of the table that this verb takes."""
    for option in options_of(verb):
        if option.name == "--dataset" and verb in _DATASET_OR_CONTRACT:
            which = parser.add_mutually_exclusive_group(required=verb == "export")
            which.add_argument(option.name, **option.arguments())
            _add_contract(which, _DATASET_OR_CONTRACT[verb])
        else:
            parser.add_argument(option.name, **option.arguments())


def _add_config(parser: argparse.ArgumentParser) -> None:
    """Add what the verb `contract` takes."""
    parser.add_argument(
        "config", type=path, metavar="CONFIG.py", help="the config that the checkpoint was trained with"
    )
    parser.add_argument(
        "-o", "--output", type=path, default=None, metavar="FILE.toml", help="where the contract goes (default: stdout)"
    )
    parser.add_argument("--name", default=None, help="what limits and results are kept under (default: the config's)")
    parser.add_argument(
        "--input-size", type=number(32, 4096), nargs=2, default=None, metavar=("H", "W"),
        help="rows and columns of the network's input (default: the test pipeline's Resize)",
    )  # fmt: skip
    parser.add_argument(
        "--classes", type=_names, default=(), metavar="NAME,NAME", help="in label order (default: the config's)"
    )
    parser.add_argument(
        "--config-root", type=path, default=None, metavar="FOLDER",
        help="what no _base_ file may lie outside of (default: the folder above the config's)",
    )  # fmt: skip
    parser.add_argument(
        "--run-config", action="store_true", help="have mmengine run a config that computes, in a process without network"
    )  # fmt: skip
    parser.add_argument("--yes", action="store_true", help="do not ask before --run-config runs it")


def _add_models_way(parsers: _Parsers) -> None:
    _add_config(parsers["contract"])
    _add_path(parsers["export"], "--output", "FOLDER", "where the .onnx files go")
    compiling = parsers["compile"]
    _add_path(compiling, "--onnx", "FILE", "the ascend.onnx that export wrote")
    batch = compiling.add_mutually_exclusive_group(required=True)
    batch.add_argument("--batch-size", type=number(1, 1024), metavar="N", help="the OM's batch size")
    batch.add_argument(
        "--dynamic-batch", type=numbers(1, 1024), metavar="N,N,...", help="batch sizes of one OM for all of them"
    )
    _add_path(compiling, "--output", "FOLDER", "where the OM and atc.log go")
    _add_contract(compiling, "the one with the ONNX's input size")


def _add_pictures_way(parsers: _Parsers) -> None:
    pictures, infer, bench = parsers["preprocess"], parsers["infer"], parsers["bench"]
    _add_contract(pictures, "the one of the dataset's categories")
    _add_path(pictures, "--output", "FOLDER", "where the .bin files go")
    pictures.add_argument("--jobs", type=number(1, 256), default=None, metavar="N", help="processes (default: cores)")
    pictures.add_argument("--fresh", action="store_true", help="write files again that are already there")
    _add_path(parsers["info"], "--output", "FILE", "such as fcos_jpeg.info")

    _add_path(infer, "--om", "FILE", None)
    _add_path(infer, "--input", "FOLDER", "the .bin files of preprocess")
    infer.add_argument(
        "--output", type=path, default=Path(), metavar="FOLDER", help="where the results go (default: .)"
    )
    infer.add_argument("--output-dirname", type=_plain_name, default="result", metavar="NAME", help="(default: result)")
    infer.add_argument("--batch-size", type=number(1, 1024), default=None, metavar="N", help="(default: the OM's)")
    infer.add_argument("--fresh", action="store_true", help="replace results that are already there")

    evaluate = parsers["evaluate"]
    which = evaluate.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "--results",
        type=path,
        metavar="FOLDER",
        help="of infer, ais_bench or the retired benchmark tool; with --dataset",
    )
    which.add_argument("--detections", type=path, metavar="FILE", help=f"{RESULT_FILE}; with --annotations")
    _add_contract(evaluate, "the one of the dataset's categories")
    add_result_files(evaluate)
    evaluate.add_argument(
        "--ruler", action="store_true",
        help="let pycocotools compute the numbers of --detections as well: a minute for 5,000 pictures",
    )  # fmt: skip

    _add_path(bench, "--om", "FILE", None)
    bench.add_argument("--batch-size", type=number(1, 1024), required=True, metavar="N", help="must be the OM's")
    bench.add_argument("--loop", type=number(1, 100000), default=20, metavar="N", help="timed runs (default: 20)")


def _add_verdicts(parsers: _Parsers) -> None:
    for verb in ("judge", "accept", "attest"):
        _add_results(parsers[verb])
    _add_results(parsers["verify"], text="the results.json of a run, or a statement of attest")
    attest.add_options(parsers["attest"], parsers["verify"])
    for verb in ("limits", "judge"):
        parsers[verb].add_argument(
            "--limits", type=path, default=LIMITS, metavar="FILE", help="(default: the suite's limits.toml)"
        )
    recorder = parsers["limits"]
    recorder.add_argument(
        "--record", type=path, metavar="RESULTS", help="write down the limits that this run lacked instead"
    )
    recorder.add_argument("-o", "--output", type=path, metavar="FILE.toml", help="where those go (default: stdout)")
    accept = parsers["accept"]
    accept.add_argument(
        "--batch", type=number(1, 4096), default=None, metavar="N", help="only the OM for this batch size"
    )
    accept.add_argument("--om", type=path, default=None, metavar="FILE", help="the OM, if it was not built by the run")
    accept.add_argument("--why", default="", metavar="TEXT", help="kept with the champion")
    accept.add_argument("--who", default="", metavar="NAME", help="(default: user@host)")
    accept.add_argument("--despite", default="", metavar="TEXT", help="accept it in spite of red gates, and why")
    history.add_actions(parsers["history"])


def _add_reading(parsers: _Parsers) -> None:
    for verb in ("explain", "page", "summary", "bundle"):
        _add_results(parsers[verb])
    bundle.add_options(parsers["bundle"])
    replay.add_options(parsers["replay"])
    explain, diff = parsers["explain"], parsers["diff"]
    explain.add_argument(
        "--batch", type=number(1, 1024), default=None, metavar="N", help="the batch size (default: the first that failed)"
    )  # fmt: skip
    explain.add_argument(
        "--layers", action="store_true", help="compare layers even if the network moved the mAP by next to nothing"
    )
    parsers["page"].add_argument(
        "-o", "--output", type=path, default=None, metavar="FILE.html", help="(default: evidence.html beside RESULTS)"
    )
    _add_results(diff, "before", "A")
    _add_results(diff, "after", "B", "that of another one")
    diff.add_argument("--json", action="store_true", help="print all of it as JSON")


def _add_results(
    parser: argparse.ArgumentParser, name: str = "results", metavar: str = "RESULTS", text: str = "the results.json of a run"
) -> None:  # fmt: skip
    parser.add_argument(name, type=path, metavar=metavar, help=text)


def _add_path(parser: argparse.ArgumentParser, name: str, metavar: str, text: str | None) -> None:
    """Add an option for a path that has to be given."""
    parser.add_argument(name, type=path, required=True, metavar=metavar, help=text)


def _add_contract(parser: argparse._ActionsContainer, default: str) -> None:
    parser.add_argument(
        "--contract", type=contract, default=None, metavar="NAME",
        help=f"the model's contract, of the verb contracts or a FILE.toml of your own (default: {default})",
    )  # fmt: skip


def _plain_name(text: str) -> str:
    if not text or text in (".", "..") or Path(text).name != text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a plain folder name")
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


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
            action.complete = shtab.DIRECTORY if action.metavar == "FOLDER" else shtab.FILE  # type: ignore[attr-defined]
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
