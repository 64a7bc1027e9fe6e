"""The ladder of stages: the same pictures with one stage after the other taken from the candidate, to find which lost the mAP.

The first rung is the reference, the last the candidate; between two rungs one stage changes: what the network is given, the
network, the decoding of its head, NMS. The differences between neighbours add up to the difference between the ends, exactly,
because they are taken between rounded mAPs. A stage that works on wrong inputs may hide or amplify what came before it, so
the order matters: each stage is judged on what the device really handed to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fcos_lib.contract import ModelContract
from fcos_lib.measure.coco.paired import PairedDifference, paired_difference
from fcos_lib.measure.coco.truth import Truth
from fcos_lib.stream.sessions import Detections

STAGES = ("preprocess", "network", "decoding", "NMS")
_DIGITS = 5
_SHOWN = 0.05
"""A stage with less than this share of all that was lost or gained is summed up in a sentence as the rest."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage adds to the difference in mAP, candidate minus reference."""

    stage: str
    value: float
    low: float
    high: float
    """With 95 % confidence (see `paired`)."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The difference in mAP, and how the stages share it."""

    total: Stage
    stages: tuple[Stage, ...]
    """In the order of a picture's way."""
    pictures: int

    @property
    def sentence(self) -> str:
        """`of -0.0420: -0.0390 network, -0.0030 NMS`, the largest first."""
        whole = sum(abs(one.value) for one in self.stages)
        named = [one for one in self.stages if whole and abs(one.value) >= _SHOWN * whole]
        named.sort(key=lambda one: -abs(one.value))
        parts = [f"{one.value:+.4f} {one.stage}" for one in named]
        rest = round(self.total.value - sum(one.value for one in named), _DIGITS)
        if len(named) < len(self.stages) and abs(rest) >= 0.00005:
            parts.append(f"{rest:+.4f} the rest")
        return f"of {self.total.value:+.4f}: {', '.join(parts) or 'nothing in any stage'}"

    def as_evidence(self) -> dict[str, Any]:
        """The evidence of kind `ladder`; JSON-ready."""
        return {
            "total": {"value": self.total.value, "low": self.total.low, "high": self.total.high},
            "stages": [
                {"stage": one.stage, "value": one.value, "low": one.low, "high": one.high} for one in self.stages
            ],
            "pictures": self.pictures,
            "sentence": self.sentence,
        }


def swap_ladder(
    truth: Truth,
    contract: ModelContract,
    rungs: Sequence[Mapping[int, Detections]],
    stages: Sequence[str] = STAGES,
    resamples: int = 300,
) -> Ladder:
    """Share out the difference between the first and the last of `rungs`, of which neighbours differ in one of `stages`.

    Each rung holds the detections of the same pictures of `truth` by id, boxes in picture pixels; values that no detection
    may have are left out (`usable`). `ValueError` if the numbers do not fit, `DatasetError` if pictures differ.
    """
    if len(rungs) != len(stages) + 1:
        raise ValueError(f"{len(rungs)} rungs for {len(stages)} stages")
    pictures = list(rungs[0])
    truth = truth.only(pictures)
    clean = [{number: usable(found, contract) for number, found in rung.items()} for rung in rungs]

    def between(low: int, high: int) -> PairedDifference:
        same = all(clean[low][number] is clean[high][number] for number in pictures)  # then the interval is 0
        return paired_difference(truth, contract, clean[low], clean[high], resamples=2 if same else resamples)

    steps = [between(place, place + 1) for place in range(len(stages))]
    whole = between(0, len(stages))
    averages = [round(step.reference["mAP"], _DIGITS) for step in steps] + [round(whole.candidate["mAP"], _DIGITS)]
    values = [round(after - before, _DIGITS) for before, after in pairwise(averages)]
    return Ladder(
        _stage("total", round(averages[-1] - averages[0], _DIGITS), whole),
        tuple(_stage(name, value, step) for name, value, step in zip(stages, values, steps, strict=True)),
        len(pictures),
    )


def _stage(name: str, value: float, difference: PairedDifference) -> Stage:
    if not difference.numbers:  # no picture has an object
        return Stage(name, 0.0, 0.0, 0.0)
    return Stage(name, value, round(difference.low, _DIGITS), round(difference.high, _DIGITS))


def usable(found: Detections, contract: ModelContract) -> Detections:
    """Without detections that are none: NaN, infinite, or of a label that no class has."""
    kept = np.isfinite(found.boxes).all(axis=1) & np.isfinite(found.scores)
    kept &= (found.labels >= 0) & (found.labels < len(contract.classes))
    return found if kept.all() else Detections(found.boxes[kept], found.scores[kept], found.labels[kept])
