"""`summary`: what a stored run comes to, as Markdown for the page of a CI job."""

from __future__ import annotations

from argparse import Namespace

from fcos_lib.evidence.markdown import MOST_BYTES
from fcos_lib.evidence.markdown import summary as markdown
from fcos_lib.evidence.reading import read_results
from fcos_lib.untrusted import printable


def summary(args: Namespace) -> int:
    """Print it; at most 1 MiB, which is what GitHub takes as the summary of a step."""
    print(printable(markdown(read_results(args.results)), MOST_BYTES), end="")
    return 0
