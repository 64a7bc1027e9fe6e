"""What can be asked of `python -m fcos_lib`? Every line of the recipe by hand, one verb each.

What a verb is for, and every exit status, is in what the command line without a verb prints.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from fcos_lib.cli.terminal import Overview, report, versions
from fcos_lib.contract import CONTRACTS
from fcos_lib.errors import UsageError
from fcos_lib.files import close_umask

FAILED, USAGE, ERROR, INTERRUPTED = 1, 2, 3, 130
LIMITS = Path(__file__).parents[1] / "limits.toml"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit status. `SystemExit` (2, or 0 for --help) comes from argparse."""
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
        status = int(_verb(args.verb)(args))
        sys.stdout.flush()
        return status
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
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str | Path) and not str(one).isprintable():
                raise UsageError(f"{name} is {str(one)!a}, which cannot be printed in a line", "pass another value")


_VERBS = {
    "preprocess": "pictures:preprocess",
    "info": "pictures:info",
    "export": "models:export",
    "compile": "models:compile_onnx",
    "infer": "runs:infer",
    "evaluate": "results:evaluate",
    "bench": "runs:bench",
    "limits": "verdicts:limits",
    "judge": "verdicts:judge",
    "verify": "verdicts:verify",
    "accept": "accept:accept",
    "history": "history:history",
    "page": "results:page",
    "diff": "diff:diff",
    "summary": "results:summary",
    "explain": "explain:explain",
    "completion": "shared:completion",
}


def _verb(name: str) -> Callable[[argparse.Namespace], int]:
    """The function behind a verb; imported now, so that `doctor` and `--help` work without what other verbs need."""
    if name == "doctor":
        return _doctor
    module, _, function = _VERBS[name].partition(":")
    found: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(f"fcos_lib.cli.{module}"), function)
    return found


def _doctor(args: argparse.Namespace) -> int:
    """Print what is here and what is missing; 1 if no NPU run is possible."""
    from fcos_lib.device.doctor import as_lines, examine

    examination = examine(args.device_id)
    print("\n".join(as_lines(examination)))
    return 0 if examination.possible else FAILED


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
        found = verbs.add_parser(name, help=text, description=text, allow_abbrev=False)
        found.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error"
        )
        return found

    pictures = verb("preprocess", "write the network input of every picture as a .bin file")
    _dataset(pictures, required=True)
    _contract(pictures, "the one of the dataset's categories")
    pictures.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the .bin files go")
    pictures.add_argument(
        "--jobs", type=_number(1, 256), default=_cores(), metavar="N", help="processes (default: cores)"
    )
    pictures.add_argument("--fresh", action="store_true", help="write files again that are already there")

    info = verb("info", "write the list of pictures and sizes that get_info.py writes")
    _dataset(info, required=True)
    info.add_argument("--output", type=Path, required=True, metavar="FILE", help="such as fcos_jpeg.info")

    export = verb("export", "write both ONNX endings of a checkpoint")
    export.add_argument("--checkpoint", type=Path, required=True, metavar="FILE", help="the .pth")
    which = export.add_mutually_exclusive_group(required=True)
    _dataset(which, required=False)
    _contract(which, "the one of the dataset's categories")
    export.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the .onnx files go")
    _artifacts(export)

    compiling = verb("compile", "compile ascend.onnx to an OM with atc")
    compiling.add_argument("--onnx", type=Path, required=True, metavar="FILE", help="the ascend.onnx that export wrote")
    batch = compiling.add_mutually_exclusive_group(required=True)
    batch.add_argument("--batch-size", type=_number(1, 1024), metavar="N", help="the OM's batch size")
    batch.add_argument(
        "--dynamic-batch", type=_numbers(1, 1024), metavar="N,N,...", help="batch sizes of one OM for all of them"
    )
    compiling.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the OM and atc.log go")
    _contract(compiling, "the one with the ONNX's input size")
    compiling.add_argument(
        "--soc-version", default="auto", metavar="NAME", help="such as Ascend310P3 (default: the device's)"
    )
    compiling.add_argument("--precision-mode", default="force_fp16", metavar="MODE", help="atc's (default: force_fp16)")
    compiling.add_argument("--op-select-implmode", default="", metavar="MODE", help="atc's (default: high_performance)")
    compiling.add_argument(
        "--atc-option", action="append", default=[], metavar="=--NAME=VALUE", help="passed on to atc; may be repeated"
    )
    compiling.add_argument(
        "--atc-time-limit", type=_number(1, 1440), default=60, metavar="MINUTES",
        help="kill atc after this (default: 60)",
    )  # fmt: skip
    _device(compiling)

    infer = verb("infer", "run a folder of .bin files through an OM, as ais_bench does")
    infer.add_argument("--om", type=Path, required=True, metavar="FILE")
    infer.add_argument("--input", type=Path, required=True, metavar="FOLDER", help="the .bin files of preprocess")
    infer.add_argument(
        "--output", type=Path, default=Path(), metavar="FOLDER", help="where the results go (default: .)"
    )
    infer.add_argument("--output-dirname", type=_plain_name, default="result", metavar="NAME", help="(default: result)")
    infer.add_argument("--batch-size", type=_number(1, 1024), default=None, metavar="N", help="(default: the OM's)")
    infer.add_argument("--fresh", action="store_true", help="replace results that are already there")
    _om_contract(infer)
    _device(infer)

    evaluate = verb("evaluate", "judge the mAP of a result folder of infer, ais_bench or the retired benchmark tool")
    evaluate.add_argument("--results", type=Path, required=True, metavar="FOLDER")
    _dataset(evaluate, required=True)
    _contract(evaluate, "the one of the dataset's categories")

    bench = verb("bench", "measure the throughput of an OM on zeros, as ais_bench does")
    bench.add_argument("--om", type=Path, required=True, metavar="FILE")
    bench.add_argument("--batch-size", type=_number(1, 1024), required=True, metavar="N", help="must be the OM's")
    bench.add_argument("--loop", type=_number(1, 100000), default=20, metavar="N", help="timed runs (default: 20)")
    _om_contract(bench)
    _device(bench)

    judge = verb("judge", "decide a stored run again under other limits, without inference")
    judge.add_argument("results", type=Path, metavar="RESULTS", help="the results.json of a run")
    for parser_of_limits in (verb("limits", "print every limit with where it comes from"), judge):
        parser_of_limits.add_argument(
            "--limits", type=Path, default=LIMITS, metavar="FILE", help="(default: the suite's limits.toml)"
        )

    verifying = verb("verify", "say whether a stored run is complete and green; its exit status is for scripts")
    verifying.add_argument("results", type=Path, metavar="RESULTS", help="the results.json of a run")
    verifying.add_argument(
        "--require",
        default="",
        metavar="PROMISE,...",
        help="promises of which every gate has to have judged, or all (default: those that the run required)",
    )
    verifying.add_argument(
        "--npu",
        choices=("auto", "emulated", "required"),
        default="auto",
        help="required: STAND-IN is not green (default: auto)",
    )

    explaining = verb("explain", "say which stage, kind of mistake and layer lost the mAP of a stored run")
    explaining.add_argument("results", type=Path, metavar="RESULTS", help="the results.json of a run")
    explaining.add_argument(
        "--batch",
        type=_number(1, 1024),
        default=None,
        metavar="N",
        help="the batch size (default: the first that failed)",
    )
    explaining.add_argument(
        "--pictures", type=_number(1, 1_000_000), default=None, metavar="N", help="(default: the run's, 500 at most)"
    )
    explaining.add_argument(
        "--layers", action="store_true", help="compare layers even if the network moved the mAP by next to nothing"
    )
    explaining.add_argument("--dataset", type=Path, default=None, metavar="FOLDER", help="(default: the run's)")
    _device(explaining)
    explaining.set_defaults(artifacts=None)  # the run's

    accept = verb("accept", "make the OMs of a run the champions that later ones are compared with")
    accept.add_argument("results", type=Path, metavar="RESULTS", help="the results.json of a run")
    accept.add_argument(
        "--batch", type=_number(1, 4096), default=None, metavar="N", help="only the OM for this batch size"
    )
    accept.add_argument("--om", type=Path, default=None, metavar="FILE", help="the OM, if it was not built by the run")
    accept.add_argument("--why", default="", metavar="TEXT", help="kept with the champion")
    accept.add_argument("--who", default="", metavar="NAME", help="(default: user@host)")
    accept.add_argument("--despite", default="", metavar="TEXT", help="accept it in spite of red gates, and why")
    _artifacts(accept)

    page = verb("page", "draw a stored run as one HTML page, to be read or mailed")
    page.add_argument("results", type=Path, metavar="RESULTS", help="the results.json of a run")
    page.add_argument(
        "-o", "--output", type=Path, default=None, metavar="FILE.html", help="(default: evidence.html beside RESULTS)"
    )

    diff = verb("diff", "say what moved between two stored runs, and whether beyond noise")
    diff.add_argument("before", type=Path, metavar="A", help="the results.json of a run")
    diff.add_argument("after", type=Path, metavar="B", help="that of another one")
    diff.add_argument("--json", action="store_true", help="print all of it as JSON")

    summary = verb("summary", "print a stored run as Markdown, for the page of a CI job")
    summary.add_argument("results", type=Path, metavar="RESULTS", help="the results.json of a run")

    from fcos_lib.cli.history import add_actions  # as light as this module

    add_actions(verb("history", "list, compare, accept, draw or export the throughput of stored runs"))

    doctor = verb("doctor", "say what is here for a run on an NPU, and what is missing")
    doctor.add_argument("--device-id", type=_number(0, 255), default=0, metavar="N", help="which NPU (default: 0)")

    completing = verb("completion", "print a script for bash or zsh that completes verbs and options")
    completing.add_argument("shell", choices=("bash", "zsh"), metavar="SHELL", help="bash or zsh")
    return parser


def _dataset(parser: argparse._ActionsContainer, *, required: bool) -> None:
    parser.add_argument(
        "--dataset", type=Path, default=None, required=required, metavar="FOLDER",
        help="COCO folder with annotations/instances_val2017.json and val2017/, such as fixtures/shapes in a checkout",
    )  # fmt: skip


def _contract(parser: argparse._ActionsContainer, default: str) -> None:
    parser.add_argument(
        "--contract", choices=sorted(CONTRACTS), default=None, help=f"the model's contract (default: {default})"
    )


def _om_contract(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group()
    _dataset(which, required=False)
    _contract(which, "the one with the OM's input size")


def _artifacts(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--artifacts", type=Path, default=Path(".artifacts"), metavar="FOLDER",
        help="where ONNX and the emulator are kept between runs (default: .artifacts)",
    )  # fmt: skip


def _device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--npu", choices=("auto", "emulated", "required"), default="auto",
        help="auto: the NPU if there is one, else the emulator (STAND-IN); required: an NPU or an error (default: auto)",
    )  # fmt: skip
    parser.add_argument("--device-id", type=_number(0, 255), default=0, metavar="N", help="which NPU (default: 0)")
    _artifacts(parser)


def _number(lowest: int, highest: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {lowest} to {highest}")
        return int(text)

    return convert


def _numbers(lowest: int, highest: int) -> Callable[[str], tuple[int, ...]]:
    convert = _number(lowest, highest)
    return lambda text: tuple(convert(part) for part in text.split(","))


def _plain_name(text: str) -> str:
    if not text or text in (".", "..") or Path(text).name != text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a plain folder name")
    return text


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
