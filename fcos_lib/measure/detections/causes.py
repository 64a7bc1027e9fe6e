"""Causes of the differences between two sets of detections: what fp16 explains is told apart from what nothing explains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure import Measurement
from fcos_lib.measure.detections.differences import Difference, Kind, PictureDifferences
from fcos_lib.measure.detections.matching import Pairs
from fcos_lib.model.decoding import Proposals
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.sessions import Detections

BeforeNms = Callable[[int], Proposals]
"""The reference's proposals of the picture with this index: boxes float32[M, 4] and scores float32[M, C]."""
_WITHOUT_A_CAUSE = (
    "; three things to check: layout or AIPP against the type of the input (uint8 NHWC with AIPP, float32 NCHW without); mean "
    "and std applied twice (here, and by AIPP or the network); fp16 overflow in a head (`explain` shows the layers, "
    "--precision-mode force_fp32 avoids it)"
)
"""The usual causes of an OM that runs and detects nothing anywhere, as users of Ascend report them."""


def nothing_detected(pictures: int, expected: int, highest: float | None = None, threshold: float = 0) -> str:
    """The sentence about a model that ran and found nothing in any picture, in which `expected` detections should be.

    `highest` is the highest score that reaches its NMS, None if nobody knows: above `threshold` it clears the network.
    """
    sentence = f"0 detections on {pictures} pictures, in which {expected} are expected"
    if highest is None:
        return sentence + _WITHOUT_A_CAUSE
    if highest > threshold:
        return (
            f"{sentence}, although scores up to {highest:.3g} reach NMS: look at its thresholds and at what follows it"
        )
    return f"{sentence}, and the highest score that reaches NMS is {highest:.3g}{_WITHOUT_A_CAUSE}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two sets of detections of the same pictures, compared."""

    pictures: int
    pairs: Pairs
    """Every pair, moved and rescored ones included."""
    differences: tuple[Difference, ...]
    """In the order of the pictures. Pairs within the bands of `bands.py` are equal and not in here."""
    compared: int
    """Detections compared: pairs once, what only one side has once."""
    threshold: float
    """The contract's score threshold."""

    @property
    def unexplained(self) -> tuple[Difference, ...]:
        """The differences that rounding does not explain."""
        return tuple(difference for difference in self.differences if not difference.explained)

    def counts(self) -> dict[str, int]:
        """Differences by kind and cause, e.g. `missing: IoU limit`."""
        return dict(
            Counter(
                f"{difference.kind.value}: {difference.cause.value}" for difference in self.differences
            ).most_common()
        )

    def listing(self) -> str:
        """Every difference in words, a line each, the unexplained ones first."""
        ordered = sorted(self.differences, key=lambda difference: difference.explained)
        return "".join(f"{difference.text}\n" for difference in ordered)

    def measurements(
        self,
        what: str = "",
        gates: tuple[str, str] = ("consistency.unexplained", "consistency.explained"),
        highest: float | None = None,
    ) -> tuple[Measurement, Measurement]:
        """Number of unexplained differences and share of explained ones, for two gates; n is 0 if neither side found anything.

        `highest` is the highest score that reaches the candidate's NMS, if it is known, for `nothing_detected`.
        """
        suffix = f" {what}" if what else ""
        unexplained = self.unexplained
        explained = [difference for difference in self.differences if difference.explained]
        details = {
            "pictures": self.pictures,
            "pairs": len(self.pairs),
            "counts": self.counts(),
            "pictures_with_unexplained": len({difference.picture for difference in unexplained}),
            "unexplained": [difference.text for difference in unexplained[:20]],
        }
        return (
            Measurement(
                f"unexplained differences{suffix}",
                float(len(unexplained)),
                "detections",
                self.compared,
                self._where(unexplained, highest),
                details,
                gate=gates[0],
            ),
            Measurement(
                f"explained differences{suffix}",
                len(explained) / self.compared if self.compared else 0.0,
                "share",
                self.compared,
                explained[0].text if explained else "",
                {"counts": self.counts()},
                gate=gates[1],
            ),
        )

    def _where(self, unexplained: Sequence[Difference], highest: float | None) -> str:
        if not unexplained:
            return ""
        if len(self.pairs) == 0 and all(difference.kind is Kind.MISSING for difference in self.differences):
            return nothing_detected(self.pictures, self.compared, highest, self.threshold)
        return unexplained[0].text


def explain(
    reference: Sequence[Detections],
    candidate: Sequence[Detections],
    names: Sequence[str],
    contract: ModelContract,
    before_nms: BeforeNms | None = None,
) -> Comparison:
    """Pair the detections of each picture and find a cause for every difference.

    All three sequences are in the same order, empty pictures included. `before_nms` is asked only for pictures that
    differ; without it ties that swapped one box for another stay unexplained, and nothing asks whether an extra box is
    one that the reference had, too. `ValueError` if the lengths differ.
    """
    if not (len(reference) == len(candidate) == len(names)):
        raise ValueError(f"{len(reference)} reference and {len(candidate)} candidate pictures, {len(names)} names")
    differences: list[Difference] = []
    pairs_of: list[tuple[int, NDArray[np.int64]]] = []
    compared = 0
    for index, (expected, seen, name) in enumerate(zip(reference, candidate, names, strict=True)):
        with np.errstate(invalid="ignore"):  # infinite values compare with nothing, and stay unexplained
            picture = PictureDifferences(expected, seen, name, contract)
            if picture.open:
                picture.explain(before_nms(index) if before_nms else None)
                differences += picture.differences()
            pairs = picture.kept_pairs()
        pairs_of.append((index, pairs))
        compared += len(expected) + len(seen) - len(pairs)
    collected = _collect(reference, candidate, pairs_of)
    return Comparison(len(names), collected, tuple(differences), compared, contract.score_threshold)


def _collect(
    reference: Sequence[Detections], candidate: Sequence[Detections], pairs_of: list[tuple[int, NDArray[np.int64]]]
) -> Pairs:
    def side(detections: Sequence[Detections], column: int) -> Detections:
        boxes = [detections[index].boxes[rows[:, column]] for index, rows in pairs_of]
        scores = [detections[index].scores[rows[:, column]] for index, rows in pairs_of]
        labels = [detections[index].labels[rows[:, column]] for index, rows in pairs_of]
        if not pairs_of:
            return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
        return Detections(np.concatenate(boxes), np.concatenate(scores), np.concatenate(labels))

    pictures = np.repeat([index for index, _ in pairs_of], [len(rows) for _, rows in pairs_of]).astype(np.int64)
    return Pairs(pictures, side(reference, 0), side(candidate, 1))


def against_mmdet(
    pictures: Sequence[Picture],
    reference: Mapping[int, tuple[Detections, NDArray[np.float32], NDArray[np.float32]]],
    mmdet: Mapping[int, Detections],
    contract: ModelContract,
) -> tuple[Measurement, ...]:
    """The reference against mmdet's own `predict`: unexplained and explained differences, and the usual (median) difference
    of scores and of boxes in network pixels.

    The check of the export ends at mmdet's head and decodes by arithmetic of ours, so an error that is in the exporter and in
    that arithmetic passes it. Here nothing of ours lies between the checkpoint and mmdet's detections.

    `reference` has detections and what reached NMS, `mmdet` its detections, both by picture id in network pixels. Of mmdet's
    those count whose score is above the contract's threshold: it compares the class score with it before centerness comes in.
    Of the reference's those count that have an area, since mmdet drops others (`min_bbox_size`); they suppress nothing. If they
    took rows of a full output, mmdet's last detections had none there, and do not count.
    A picture in which the reference's cut to the best points of a level left out points above the threshold is left out, since
    mmdet's was not cut. `n` is 0 if nothing was compared.
    """
    whole = [picture for picture in pictures if not _cut(reference[picture.id][1:], contract)]
    ours = [reference[picture.id] for picture in whole]
    with_area = [_with_area(detections) for detections, _, _ in ours]
    rows = [
        len(kept) if len(detections) == contract.max_detections else contract.max_detections
        for (detections, _, _), kept in zip(ours, with_area, strict=True)
    ]
    theirs = [
        _above(mmdet[picture.id], contract.score_threshold, most) for picture, most in zip(whole, rows, strict=True)
    ]
    compared = explain(
        with_area,
        theirs,
        [picture.name for picture in whole],
        contract,
        lambda index: ours[index][1:],
    )
    pairs = compared.pairs
    score = np.abs(pairs.reference.scores - pairs.candidate.scores)
    box = np.abs(pairs.reference.boxes - pairs.candidate.boxes).max(axis=1)
    left_out = [picture.name for picture in pictures if picture not in whole]
    unexplained, explained = compared.measurements(
        "from mmdet", ("against_mmdet.unexplained", "against_mmdet.explained")
    )
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
    return Measurement(f"usual difference of {what} from mmdet", value, unit, len(values), where, gate=gate)


def _cut(proposals: Proposals, contract: ModelContract) -> bool:
    """True if a level had more points above the threshold than reach NMS."""
    best, threshold, start = proposals[1].max(axis=1), np.float32(contract.score_threshold), 0
    for (rows, columns), kept in zip(contract.level_shapes, contract.proposals_by_level, strict=True):
        if rows * columns > kept and best[start : start + kept].min() > threshold:
            return True
        start += kept
    return False


def _with_area(detections: Detections) -> Detections:
    return detections.only(np.asarray((detections.boxes[:, 2:] > detections.boxes[:, :2]).all(axis=1)))


def _above(detections: Detections, threshold: float, most: int) -> Detections:
    best = np.argsort(-detections.scores, kind="stable")
    return detections.only(best[detections.scores[best] > np.float32(threshold)][:most])
