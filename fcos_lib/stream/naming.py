"""Naming as a run says it: `--contract`, `--category` and `--checkpoint`, with every contract of the zoo and of users' files.

Apart from `stream.categories`, so that what depends on a dataset alone does not depend on the zoo.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from fcos_lib.model.zoo import chosen_contract, named_contract
from fcos_lib.stream.categories import Naming


def naming(contract: str | None, pairs: Sequence[str] = (), checkpoint: Path | None = None) -> Naming:
    """Which contract a dataset is meant for, and which category is which class of it; `UsageError` if that makes no sense.

    Where none is named, the checkpoint tells contracts of the same classes apart.
    """
    named = named_contract(contract) if contract is not None else None
    return replace(Naming.said(named, pairs), choose=partial(chosen_contract, checkpoint=checkpoint))
