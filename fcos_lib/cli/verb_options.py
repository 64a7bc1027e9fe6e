"""What each verb takes besides the options that it shares with pytest. Light: every command line builds all of it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path

from fcos_lib.cli import attest, bundle, history
from fcos_lib.judge.limits import FILE as LIMITS
from fcos_lib.options.option import contract, number, numbers, path

RESULT_FILE = "a COCO result file (a JSON list) of any detector"

_Parsers = Mapping[str, argparse.ArgumentParser]


def add_options(parsers: _Parsers) -> None:
    """Add to each parser, by its verb, what the verb takes besides the options of the table."""
    _add_models_way(parsers)
    _add_pictures_way(parsers)
    _add_verdicts(parsers)
    _add_reading(parsers)
    _add_compare(parsers["compare"])


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
    add_contract(compiling, "the one with the ONNX's input size")


def _add_pictures_way(parsers: _Parsers) -> None:
    pictures, infer, bench = parsers["preprocess"], parsers["infer"], parsers["bench"]
    add_contract(pictures, "the one of the dataset's categories")
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
    add_contract(evaluate, "the one of the dataset's categories")
    _add_result_files(evaluate)
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
    _add_replay(parsers["replay"])
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


def _add_replay(replay: argparse.ArgumentParser) -> None:
    replay.add_argument("bundle", type=path, metavar="BUNDLE", help="what bundle wrote")
    replay.add_argument(
        "--onnx", type=path, default=None, metavar="FILE", help="the ascend.onnx of the run (default: the bundle's)"
    )
    replay.add_argument(
        "--statement",
        type=path,
        default=None,
        metavar="FILE",
        help="what attest wrote about the run it should be of",
    )
    replay.add_argument(
        "--layers",
        action="store_true",
        help="compare the network layer by layer with this machine's device, as explain does",
    )


def _add_result_files(parser: argparse.ArgumentParser) -> None:
    """Add what the verbs that read COCO result files share."""
    parser.add_argument("--annotations", type=path, metavar="FILE", help="COCO's instances file of the same pictures")
    parser.add_argument(
        "--format", choices=("text", "json", "markdown"), default="text", help="what is printed (default: text)"
    )
    parser.add_argument(
        "--resamples",
        type=number(2, 100_000),
        default=1000,
        metavar="N",
        help="drawings of the bootstrap (default: 1000)",
    )
    parser.add_argument(
        "--seed", type=number(0, 2**32 - 1), default=0, metavar="N", help="of the bootstrap (default: 0)"
    )


def _add_compare(compare: argparse.ArgumentParser) -> None:
    """Add the options of `compare`."""
    compare.add_argument("before", type=path, metavar="A", help=f"{RESULT_FILE}, or the results.json of a run")
    compare.add_argument("after", type=path, metavar="B", help="that of another detector, or of another run")
    _add_result_files(compare)
    compare.add_argument(
        "--min-delta",
        type=_delta,
        default=None,
        metavar="AP",
        help="the least mAP of B - A, such as -0.002: the exit status is 0 if all of the interval is at least that, 1 if "
        "nothing of it is, and 7 if it lies inside",
    )
    compare.add_argument("--page", type=path, default=None, metavar="FILE.html", help="draw it as a page, too")  # fmt: skip


def _delta(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not -1 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no difference in AP, which is -1 to 1")
    return value


def _add_results(
    parser: argparse.ArgumentParser, name: str = "results", metavar: str = "RESULTS", text: str = "the results.json of a run"
) -> None:  # fmt: skip
    parser.add_argument(name, type=path, metavar=metavar, help=text)


def _add_path(parser: argparse.ArgumentParser, name: str, metavar: str, text: str | None) -> None:
    """Add an option for a path that has to be given."""
    parser.add_argument(name, type=path, required=True, metavar=metavar, help=text)


def add_contract(parser: argparse._ActionsContainer, default: str) -> None:
    """Add `--contract`; `default` says which contract is taken without it."""
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
