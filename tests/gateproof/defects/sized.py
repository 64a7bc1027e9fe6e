"""Defects that come in every size: a way to make each, and sizes between which it begins to be caught."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from tests.gateproof.case import Case
from tests.gateproof.defects import network, throughput

QUICK = "consistency"


@dataclass(frozen=True, slots=True)
class Sized:
    """A defect of any size."""

    what: str
    unit: str
    smallest: float
    """Too small to be caught."""
    largest: float
    """Caught for certain."""
    case: Callable[[str, float], Case]
    """Of a name and a size."""


def _graph(edit: Callable[[float], object]) -> Callable[[str, float], Case]:
    return lambda name, size: replace(network.compiled(name, "", edit(size), "any"), marks=QUICK, options=())


SIZED = {
    "score_too_low": Sized("scores too low", "%", 0.01, 3, _graph(lambda size: partial(network.score_factor, 1 - size / 100))),
    "boxes_too_large": Sized("all boxes too large", "%", 0.05, 5,
                             _graph(lambda size: partial(network.level_scale, 1 + size / 100, -1))),
    "boxes_of_p5_too_large": Sized("boxes of P5 too large", "%", 0.05, 10,
                                   _graph(lambda size: partial(network.level_scale, 1 + size / 100, 2))),
    "boxes_shifted": Sized("all boxes shifted right and down", "px", 0.01, 2,
                           _graph(lambda size: partial(network.shifted, size))),
    "weights_noisy": Sized("noise in all weights, of their spread", "%", 0.01, 5,
                           _graph(lambda size: partial(network.noisy, size / 100))),
    "om_slower": Sized("slower than the champion", "%", 0.3, 8, lambda name, size: throughput.slower(name, size)),
}  # fmt: skip
"""By name, as `name=size` in `FCOS_DEFECT`."""
