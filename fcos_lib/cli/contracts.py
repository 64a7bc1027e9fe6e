"""The verb `contracts`: every model that has a contract here, and how each differs from the recipe's."""

from __future__ import annotations

import textwrap
from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from fcos_lib.contract import COCO_R50, CONTRACTS, ModelContract
from fcos_lib.judge.limits import find_limit
from fcos_lib.model.zoo import METAFILE, Published, known_contracts, zoo

_WIDTH = 110
_UNTOLD = ("limits_of", "loss_cls", "loss_bbox", "loss_centerness", "center_sampling")
"""Fields that nothing which is computed depends on."""


def contracts(args: Namespace) -> int:
    """Print each contract: its name, published AP, input, and what differs from the recipe's."""
    for name in (*CONTRACTS, *zoo()):
        contract, entry = known_contracts().get(name), zoo().get(name)
        size = f"{contract.height} x {contract.width}" if contract else "refused"
        print(f"{name}\n    {size}, {_ap(name, entry.published if entry else None)}")
        said = (
            _differences(contract)
            if contract
            else entry.refused.found.partition(": ")[2]
            if entry and entry.refused
            else ""
        )
        print(textwrap.fill(said, _WIDTH, initial_indent="    ", subsequent_indent="      "))
    print(f"AP is box AP on val2017 in percent; lines are those of {METAFILE}")
    return 0


def _ap(name: str, published: Published | None) -> str:
    """The AP of mmdetection's metafile, or of ModelZoo, whose figure is a limit itself."""
    if published:
        return f"AP {published.box_ap} (line {published.line})"
    limit = find_limit("accuracy", name, "mAP_as_published")
    return f"AP {100 * limit.bound:.1f} (ModelZoo)" if limit else "no AP published"


def _differences(contract: ModelContract) -> str:
    """`depth 101, not 50; style pytorch, not caffe`, or that there is no difference."""
    found: Mapping[str, tuple[Any, Any]] = contract.differences(COCO_R50)
    said = [
        f"{name} {_short(own)}, not {_short(recipe)}" for name, (own, recipe) in found.items() if name not in _UNTOLD
    ]
    return "; ".join(said) or "the recipe's"


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return f"{len(value)} names" if value and isinstance(value[0], str) else " ".join(map(str, value))
    return str(value)
