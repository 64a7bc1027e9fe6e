"""What each verb takes besides the options that it shares with pytest. Light: every command line builds all of it."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path

from fcos_lib.cli import attest, bundle, history
from fcos_lib.judge.limits import FILE as LIMITS
from fcos_lib.options.option import Option, contract, number, numbers, path

RESULT_FILE = "a COCO result file (a JSON list) of any detector"

_Parsers = Mapping[str, argparse.ArgumentParser]


def add_options(parsers: _Parsers) -> None:
    """Add to each parser, by its verb, what the verb takes besides the options of the table."""
    _add_models_way(parsers)
    _add_pictures_way(parsers)
    _add_verdicts(parsers)
    _add_reading(parsers)
    _add_two_detectors(parsers)


def _add(parser: argparse._ActionsContainer, *options: Option) -> None:
    for option in options:
        option.add_to(parser)


def contract_option(default: str) -> Option:
    """The option `--contract`; `default` says which contract is taken without it."""
    meaning = "the model's contract, of the verb contracts or a FILE.toml of your own"
    return Option("--contract", meaning, "NAME", contract, default_words=default)


def _add_models_way(parsers: _Parsers) -> None:
    compiling = parsers["compile"]
    _add(
        parsers["contract"],
        Option("config", "the config that the checkpoint was trained with", "CONFIG.py", path),
        Option("--output", "where the contract goes", "FILE.toml", path, default_words="stdout", short="-o"),
        Option("--name", "what limits and results are kept under", "NAME", default_words="the config's"),
        Option(
            "--input-size", "rows and columns of the network's input", ("H", "W"), number(32, 4096), nargs=2,
            default_words="the test pipeline's Resize",
        ),
        Option("--classes", "in label order", "NAME,NAME", _names, (), "the config's"),
        Option(
            "--config-root", "what no _base_ file may lie outside of", "FOLDER", path,
            default_words="the folder above the config's",
        ),
        Option("--run-config", "have mmengine run a config that computes, in a process without network", default=False),
        Option("--yes", "do not ask before --run-config runs it", default=False),
    )  # fmt: skip
    _add(parsers["export"], Option("--output", "where the .onnx files go", "FOLDER", path, required=True))
    _add(compiling, Option("--onnx", "the ascend.onnx that export wrote", "FILE", path, required=True))
    _add(
        compiling.add_mutually_exclusive_group(required=True),
        Option("--batch-size", "the OM's batch size", "N", number(1, 1024)),
        Option("--dynamic-batch", "batch sizes of one OM for all of them", "N,N,...", numbers(1, 1024)),
    )
    _add(
        compiling,
        Option("--output", "where the OM and atc.log go", "FOLDER", path, required=True),
        contract_option("the one with the ONNX's input size"),
    )


def _add_pictures_way(parsers: _Parsers) -> None:
    of_the_categories = contract_option("the one of the dataset's categories")
    om = Option("--om", "", "FILE", path, required=True)
    _add(
        parsers["preprocess"],
        of_the_categories,
        Option("--output", "where the .bin files go", "FOLDER", path, required=True),
        Option("--jobs", "processes", "N", number(1, 256), default_words="cores"),
        Option("--fresh", "write files again that are already there", default=False),
    )
    _add(parsers["info"], Option("--output", "such as fcos_jpeg.info", "FILE", path, required=True))
    _add(
        parsers["infer"],
        om,
        Option("--input", "the .bin files of preprocess", "FOLDER", path, required=True),
        Option("--output", "where the results go", "FOLDER", path, Path()),
        Option("--output-dirname", "", "NAME", _plain_name, "result"),
        Option("--batch-size", "", "N", number(1, 1024), default_words="the OM's"),
        Option("--fresh", "replace results that are already there", default=False),
    )
    of_a_folder = "of infer, ais_bench or the retired benchmark tool; with --dataset"
    _add(
        parsers["evaluate"].add_mutually_exclusive_group(required=True),
        Option("--results", of_a_folder, "FOLDER", path),
        Option("--detections", f"{RESULT_FILE}; with --annotations", "FILE", path),
    )
    slow = "let pycocotools compute the numbers of --detections as well: a minute for 5,000 pictures"
    _add(parsers["evaluate"], of_the_categories, *_OF_RESULT_FILES, Option("--ruler", slow, default=False))
    _add(
        parsers["bench"],
        om,
        Option("--batch-size", "must be the OM's", "N", number(1, 1024), required=True),
        Option("--loop", "timed runs", "N", number(1, 100000), 20),
    )


def _results(name: str = "results", metavar: str = "RESULTS", text: str = "the results.json of a run") -> Option:
    return Option(name, text, metavar, path)


def _add_verdicts(parsers: _Parsers) -> None:
    for verb in ("judge", "accept", "attest"):
        _add(parsers[verb], _results())
    _add(parsers["verify"], _results(text="the results.json of a run, or a statement of attest"))
    attest.add_options(parsers["attest"], parsers["verify"])
    for verb in ("limits", "judge"):
        _add(parsers[verb], Option("--limits", "", "FILE", path, LIMITS, "the suite's limits.toml"))
    _add(
        parsers["limits"],
        Option("--record", "write down the limits that this run lacked instead", "RESULTS", path),
        Option("--output", "where those go", "FILE.toml", path, default_words="stdout", short="-o"),
    )
    _add(
        parsers["accept"],
        Option("--batch", "only the OM for this batch size", "N", number(1, 4096)),
        Option("--om", "the OM, if it was not built by the run", "FILE", path),
        Option("--why", "kept with the champion", "TEXT", default=""),
        Option("--who", "", "NAME", default="", default_words="user@host"),
        Option("--despite", "accept it in spite of red gates, and why", "TEXT", default=""),
    )
    history.add_actions(parsers["history"])


def _add_reading(parsers: _Parsers) -> None:
    for verb in ("explain", "page", "summary", "bundle"):
        _add(parsers[verb], _results())
    bundle.add_options(parsers["bundle"])
    _add(
        parsers["replay"],
        Option("bundle", "what bundle wrote", "BUNDLE", path),
        Option("--onnx", "the ascend.onnx of the run", "FILE", path, default_words="the bundle's"),
        Option("--statement", "what attest wrote about the run it should be of", "FILE", path),
        Option(
            "--layers", "compare the network layer by layer with this machine's device, as explain does", default=False
        ),
    )
    _add(
        parsers["explain"],
        Option("--batch", "the batch size", "N", number(1, 1024), default_words="the first that failed"),
        Option("--layers", "compare layers even if the network moved the mAP by next to nothing", default=False),
    )
    beside = "evidence.html beside RESULTS"
    _add(parsers["page"], Option("--output", "", "FILE.html", path, default_words=beside, short="-o"))
    _add(
        parsers["diff"],
        _results("before", "A"),
        _results("after", "B", "that of another one"),
        Option("--json", "print all of it as JSON", default=False),
    )


_OF_RESULT_FILES = (
    Option("--annotations", "COCO's instances file of the same pictures", "FILE", path),
    Option("--format", "what is printed", choices=("text", "json", "markdown"), default="text"),
    Option("--resamples", "drawings of the bootstrap", "N", number(100, 100_000), 1000),
    Option("--seed", "of the bootstrap", "N", number(0, 2**32 - 1), 0),
)
"""What the verbs that read COCO result files share."""


def _add_two_detectors(parsers: _Parsers) -> None:
    least = (
        "the least mAP of B - A, such as -0.002: the exit status is 0 if all of the interval is at least that, 1 if "
        "nothing of it is, and 7 if it lies inside"
    )
    _add(
        parsers["compare"],
        Option("before", f"{RESULT_FILE}, or the results.json of a run", "A", path),
        Option("after", "that of another detector, or of another run", "B", path),
        *_OF_RESULT_FILES,
        Option("--min-delta", least, "AP", _delta),
        Option("--page", "draw it as a page, too", "FILE.html", path),
    )


def _delta(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not -1 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no difference in AP, which is -1 to 1")
    return value


def _plain_name(text: str) -> str:
    if not text or text in (".", "..") or Path(text).name != text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a plain folder name")
    return text


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))
