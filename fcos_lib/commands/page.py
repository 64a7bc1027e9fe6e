"""`page`: a stored run as one HTML page, which needs nothing else to be read."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from fcos_lib.errors import UsageError
from fcos_lib.evidence.page import NAME, write_page_of


def page(args: Namespace) -> int:
    """Write it, beside the results unless another place is named, and print where it is."""
    output: Path = args.output or args.results.with_name(NAME)
    if output.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{output} is no .html", "name a file that a browser opens")
    write_page_of(args.results, output)
    print(output)
    return 0
