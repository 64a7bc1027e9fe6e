"""The reference against mmdet itself: what its own `predict` finds in the same pictures, compared within the same bands.

The check of the export ends at mmdet's head and decodes by arithmetic of ours, so an error that is in the exporter and in that
arithmetic passes it. Here nothing of ours lies between the checkpoint and mmdet's detections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure import Measurement
from fcos_lib.measure.detections.causes import explain
from fcos_lib.model.decoding import Candidates
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.sessions import Detections

WHAT = "from mmdet"


def against_mmdet(
    pictures: Sequence[Picture],
    reference: Mapping[int, tuple[Detections, NDArray[np.float32], NDArray[np.float32]]],
    mmdet: Mapping[int, Detections],
    contract: ModelContract,
) -> tuple[Measurement, ...]:
    """Unexplained and explained differences, and the usual (median) difference of scores and of boxes in network pixels.

    `reference` has detections and what reached NMS, `mmdet` its detections, both by picture id in network pixels. Of mmdet's
    those count whose score is above the contract's threshold: it compares the class score with it before centerness comes in.
    A picture in which the reference's cut to the best points of a level left out points above the threshold is left out, since
    mmdet's was not cut. `n` is 0 if nothing was compared.
    """
    whole = [picture for picture in pictures if not _cut(reference[picture.id][1:], contract)]
    ours = [reference[picture.id] for picture in whole]
    theirs = [_above(mmdet[picture.id], contract.score_threshold) for picture in whole]
    compared = explain(
        [detections for detections, _, _ in ours],
        theirs,
        [picture.path.name for picture in whole],
        contract,
        lambda index: ours[index][1:],
    )
    pairs = compared.pairs
    score = np.abs(pairs.reference.scores - pairs.candidate.scores)
    box = np.abs(pairs.reference.boxes - pairs.candidate.boxes).max(axis=1, initial=0)
    left_out = [picture.path.name for picture in pictures if picture not in whole]
    unexplained, explained = compared.measurements(WHAT, ("against_mmdet.unexplained", "against_mmdet.explained"))
    unexplained.details["left_out"] = left_out
    return (
        unexplained,
        explained,
        _usual("scores", "score", score, "against_mmdet.score"),
        _usual("boxes", "px", box, "against_mmdet.box"),
    )


def _usual(what: str, unit: str, values: NDArray[np.float32], gate: str) -> Measurement:
    """The median, which no tie that was broken the other way moves, and an error that all detections share does."""
    largest = float(values.max(initial=0))
    value = float(np.median(values)) if len(values) else 0.0
    where = f"the largest of {len(values)} pairs is {largest:.3g} {unit}" if len(values) else ""
    return Measurement(f"usual difference of {what} {WHAT}", value, unit, len(values), where, gate=gate)


def _cut(candidates: Candidates, contract: ModelContract) -> bool:
    """True if a level had more points above the threshold than reach NMS."""
    best, start = candidates[1].max(axis=1), 0
    for (rows, columns), kept in zip(contract.level_shapes, contract.candidates_by_level, strict=True):
        if rows * columns > kept and float(best[start : start + kept].min()) > contract.score_threshold:
            return True
        start += kept
    return False


def _above(found: Detections, threshold: float) -> Detections:
    kept = found.scores > np.float32(threshold)
    return Detections(found.boxes[kept], found.scores[kept], found.labels[kept])
