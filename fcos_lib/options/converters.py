"""Converters from the text of an option to its value; each raises `argparse.ArgumentTypeError` with one sentence."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from fcos_lib.errors import UsageError


def number(lowest: int, highest: int, of: str = "") -> Callable[[str], int]:
    """A converter to a whole number from `lowest` to `highest`; `of` says what is counted."""
    kind = f"number of {of}" if of else "number"

    def convert(text: str) -> int:
        if not text.isdecimal() or not lowest <= int(text) <= highest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a {kind} from {lowest} to {highest}")
        return int(text)

    return convert


def numbers(lowest: int, highest: int) -> Callable[[str], tuple[int, ...]]:
    """A converter to the numbers of a comma list, in the order in which they were typed."""
    convert = number(lowest, highest)
    return lambda text: tuple(convert(part) for part in text.split(","))


def batch_sizes(text: str) -> tuple[int, ...]:
    """Different batch sizes from 1 to 1024, ascending."""
    try:
        sizes = tuple(int(part) for part in text.split(","))
    except ValueError:
        sizes = ()
    if not sizes or len(set(sizes)) != len(sizes) or not all(1 <= size <= 1024 for size in sizes):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of different batch sizes such as 1,4,8")
    return tuple(sorted(sizes))


def device_ids(text: str) -> tuple[int, ...]:
    """Different device ids from 0 to 255, in the order in which they were typed."""
    parts = text.split(",")
    if not all(part.isdecimal() and int(part) <= 255 for part in parts) or len(set(parts)) != len(parts):
        raise argparse.ArgumentTypeError(f"{text!r} is not a device id from 0 to 255, nor a list of different ones")
    return tuple(map(int, parts))


def promises(text: str) -> tuple[str, ...]:
    """The promises of a comma list, or all of them."""
    from fcos_lib.judge.roll_call import parse_promises  # every start of pytest reads the table; few need the gates

    try:
        return parse_promises(text)
    except UsageError as error:
        raise argparse.ArgumentTypeError(f"{error.found}: {error.advice}") from None


def cluster(text: str) -> str:
    """`auto`, `local` or the HOST:PORT of a cluster."""
    host, _, port = text.rpartition(":")
    if text not in ("auto", "local") and not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is neither auto, local nor HOST:PORT")
    return text


def path(text: str) -> Path:
    """A path with `~` resolved, not made absolute; an empty text is refused."""
    if not text.strip():  # of a variable that nobody set: the current folder would be taken
        raise argparse.ArgumentTypeError("an empty text is not a path")
    try:
        return Path(text).expanduser()  # no shell does so behind a `=`
    except RuntimeError:
        raise argparse.ArgumentTypeError(f"{text!r}: there is no such user, so no home either") from None
