"""The options of `compare`, and of `evaluate` for the results of any detector. Light: every command line builds them."""

from __future__ import annotations

import argparse
import math

from fcos_lib.options.option import number, path

RESULT_FILE = "a COCO result file (a JSON list) of any detector"


def add_result_files(parser: argparse.ArgumentParser) -> None:
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


def add_compare(compare: argparse.ArgumentParser) -> None:
    """Add the options of `compare`."""
    compare.add_argument("before", type=path, metavar="A", help=f"{RESULT_FILE}, or the results.json of a run")
    compare.add_argument("after", type=path, metavar="B", help="that of another detector, or of another run")
    add_result_files(compare)
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
