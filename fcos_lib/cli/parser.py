"""The parser of all verbs. What a verb shares with pytest comes from the table of options, the rest is said here."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from fcos_lib.cli.history import add_actions
from fcos_lib.cli.terminal import Overview
from fcos_lib.contract import CONTRACTS
from fcos_lib.judge.limits import FILE as LIMITS
from fcos_lib.options.converters import number, numbers, path
from fcos_lib.options.table import options_of

_DATASET_OR_CONTRACT = {
    "export": "the one of the dataset's categories",
    "infer": "the one with the OM's input size",
    "bench": "the one with the OM's input size",
}
"""Verbs that take a data set to know the contract by it, and what the contract is without either."""
_RESULTS = "the results.json of a run"

_NewVerb = Callable[[str, str], argparse.ArgumentParser]
"""Makes the parser of a verb, given its name and what it does, with the options of the table in it."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of all verbs; options are never abbreviated."""
    parser = Overview(prog="python -m fcos_lib", description="FCOS on Ascend NPUs, step by step", allow_abbrev=False)
    parser.add_argument("--version", action="store_true", help="print the versions of fcos_lib, CANN and Python")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", parser_class=argparse.ArgumentParser)
    texts: dict[str, str] = {}
    parser.verbs = texts

    def verb(name: str, text: str) -> argparse.ArgumentParser:
        texts[name] = text
        of_verb = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        of_verb.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
        _add_shared(of_verb, name)
        return of_verb

    _add_models_way(verb)
    _add_pictures_way(verb)
    _add_verdicts(verb)
    _add_reading(verb)
    verb("doctor", "say what is here for a run on an NPU, and what is missing")
    completing = verb("completion", "print a script for bash or zsh that completes verbs and options")
    completing.add_argument("shell", choices=("bash", "zsh"), metavar="SHELL", help="bash or zsh")
    return parser


def _add_shared(parser: argparse.ArgumentParser, verb: str) -> None:
    """The options of the table that this verb takes."""
    for option in options_of(verb):
        if option.name == "--dataset" and verb in _DATASET_OR_CONTRACT:
            which = parser.add_mutually_exclusive_group(required=verb == "export")
            which.add_argument(option.name, **option.arguments())
            _add_contract(which, _DATASET_OR_CONTRACT[verb])
        else:
            parser.add_argument(option.name, **option.arguments())


def _add_models_way(verb: _NewVerb) -> None:
    export = verb("export", "write both ONNX endings of a checkpoint")
    export.add_argument("--output", type=path, required=True, metavar="FOLDER", help="where the .onnx files go")

    compiling = verb("compile", "compile ascend.onnx to an OM with atc")
    compiling.add_argument("--onnx", type=path, required=True, metavar="FILE", help="the ascend.onnx that export wrote")
    batch = compiling.add_mutually_exclusive_group(required=True)
    batch.add_argument("--batch-size", type=number(1, 1024), metavar="N", help="the OM's batch size")
    batch.add_argument(
        "--dynamic-batch", type=numbers(1, 1024), metavar="N,N,...", help="batch sizes of one OM for all of them"
    )
    compiling.add_argument("--output", type=path, required=True, metavar="FOLDER", help="where the OM and atc.log go")
    _add_contract(compiling, "the one with the ONNX's input size")


def _add_pictures_way(verb: _NewVerb) -> None:
    pictures = verb("preprocess", "write the network input of every picture as a .bin file")
    _add_contract(pictures, "the one of the dataset's categories")
    pictures.add_argument("--output", type=path, required=True, metavar="FOLDER", help="where the .bin files go")
    pictures.add_argument(
        "--jobs", type=number(1, 256), default=_cores(), metavar="N", help="processes (default: cores)"
    )
    pictures.add_argument("--fresh", action="store_true", help="write files again that are already there")

    info = verb("info", "write the list of pictures and sizes that get_info.py writes")
    info.add_argument("--output", type=path, required=True, metavar="FILE", help="such as fcos_jpeg.info")

    infer = verb("infer", "run a folder of .bin files through an OM, as ais_bench does")
    infer.add_argument("--om", type=path, required=True, metavar="FILE")
    infer.add_argument("--input", type=path, required=True, metavar="FOLDER", help="the .bin files of preprocess")
    infer.add_argument(
        "--output", type=path, default=Path(), metavar="FOLDER", help="where the results go (default: .)"
    )
    infer.add_argument("--output-dirname", type=_plain_name, default="result", metavar="NAME", help="(default: result)")
    infer.add_argument("--batch-size", type=number(1, 1024), default=None, metavar="N", help="(default: the OM's)")
    infer.add_argument("--fresh", action="store_true", help="replace results that are already there")

    evaluate = verb("evaluate", "judge the mAP of a result folder of infer, ais_bench or the retired benchmark tool")
    evaluate.add_argument("--results", type=path, required=True, metavar="FOLDER")
    _add_contract(evaluate, "the one of the dataset's categories")

    bench = verb("bench", "measure the throughput of an OM on zeros, as ais_bench does")
    bench.add_argument("--om", type=path, required=True, metavar="FILE")
    bench.add_argument("--batch-size", type=number(1, 1024), required=True, metavar="N", help="must be the OM's")
    bench.add_argument("--loop", type=number(1, 100000), default=20, metavar="N", help="timed runs (default: 20)")


def _add_verdicts(verb: _NewVerb) -> None:
    judge = verb("judge", "decide a stored run again under other limits, without inference")
    judge.add_argument("results", type=path, metavar="RESULTS", help=_RESULTS)
    for parser in (verb("limits", "print every limit with where it comes from"), judge):
        parser.add_argument(
            "--limits", type=path, default=LIMITS, metavar="FILE", help="(default: the suite's limits.toml)"
        )
    verifying = verb("verify", "say whether a stored run is complete and green; its exit status is for scripts")
    verifying.add_argument("results", type=path, metavar="RESULTS", help=_RESULTS)

    accept = verb("accept", "make the OMs of a run the champions that later ones are compared with")
    accept.add_argument("results", type=path, metavar="RESULTS", help=_RESULTS)
    accept.add_argument(
        "--batch", type=number(1, 4096), default=None, metavar="N", help="only the OM for this batch size"
    )
    accept.add_argument("--om", type=path, default=None, metavar="FILE", help="the OM, if it was not built by the run")
    accept.add_argument("--why", default="", metavar="TEXT", help="kept with the champion")
    accept.add_argument("--who", default="", metavar="NAME", help="(default: user@host)")
    accept.add_argument("--despite", default="", metavar="TEXT", help="accept it in spite of red gates, and why")
    add_actions(verb("history", "list, compare, accept, draw or export the throughput of stored runs"))


def _add_reading(verb: _NewVerb) -> None:
    explaining = verb("explain", "say which stage, kind of mistake and layer lost the mAP of a stored run")
    explaining.add_argument("results", type=path, metavar="RESULTS", help=_RESULTS)
    explaining.add_argument(
        "--batch", type=number(1, 1024), default=None, metavar="N", help="the batch size (default: the first that failed)"
    )  # fmt: skip
    explaining.add_argument(
        "--layers", action="store_true", help="compare layers even if the network moved the mAP by next to nothing"
    )
    page = verb("page", "draw a stored run as one HTML page, to be read or mailed")
    page.add_argument("results", type=path, metavar="RESULTS", help=_RESULTS)
    page.add_argument(
        "-o", "--output", type=path, default=None, metavar="FILE.html", help="(default: evidence.html beside RESULTS)"
    )
    diff = verb("diff", "say what moved between two stored runs, and whether beyond noise")
    diff.add_argument("before", type=path, metavar="A", help=_RESULTS)
    diff.add_argument("after", type=path, metavar="B", help="that of another one")
    diff.add_argument("--json", action="store_true", help="print all of it as JSON")
    summary = verb("summary", "print a stored run as Markdown, for the page of a CI job")
    summary.add_argument("results", type=path, metavar="RESULTS", help=_RESULTS)


def _add_contract(parser: argparse._ActionsContainer, default: str) -> None:
    parser.add_argument(
        "--contract", choices=sorted(CONTRACTS), default=None, help=f"the model's contract (default: {default})"
    )


def _plain_name(text: str) -> str:
    if not text or text in (".", "..") or Path(text).name != text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a plain folder name")
    return text


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
