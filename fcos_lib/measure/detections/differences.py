"""Differences between two sets of detections of one picture, and the cause of each.

Boxes are network pixels: the bands are those of the device's arithmetic there. A difference is explained if the rounding
that fp16 imposes is enough to decide the other way: at the score threshold, at the IoU limit of NMS, at the last row of
the outputs, or between two boxes of the same score. NMS passes a decision on, so a box is explained as well if what
suppressed it, or no longer does, is an explained difference itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure.detections.bands import box_band, iou_band, score_band
from fcos_lib.measure.detections.matching import PAIR_IOU, describe, iou_of, pair
from fcos_lib.model.decoding import Candidates
from fcos_lib.stream.sessions import Detections


class Kind(str, Enum):
    """What a difference looks like."""

    MISSING = "missing"
    """The reference has it, the candidate does not."""
    EXTRA = "extra"
    """The candidate has it, the reference does not."""
    MOVED = "moved"
    """Both have it, at places further apart than rounding can bring them."""
    SCORE = "score"
    """Both have it in the same place, with scores further apart than rounding can bring them."""
    CLASS = "class"
    """Both have it in the same place, as different classes."""


class Cause(str, Enum):
    """What explains a difference."""

    THRESHOLD = "score threshold"
    """Its score is within a band of the threshold."""
    CUT = "last row"
    """The other side's rows are all used, by detections that do not rank behind it by more than a band."""
    SUPPRESSION = "IoU limit"
    """On the other side a box that ranks before it overlaps it by the IoU limit, within a band, or overlaps it by more
    and is an explained difference itself."""
    TIE = "tie"
    """Two of the reference's boxes have the same score within a band, and each side kept another."""
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference between reference and candidate in one picture."""

    kind: Kind
    cause: Cause
    picture: str
    reference_row: int | None
    """Index into the reference's detections; None if it has none."""
    candidate_row: int | None
    text: str
    """The difference in words."""

    @property
    def explained(self) -> bool:
        """True if rounding is enough to bring this about."""
        return self.cause is not Cause.UNEXPLAINED


REFERENCE, CANDIDATE = 0, 1
_Item = tuple[int, int]
"""A detection: side and row."""


class PictureDifferences:
    """The differences of one picture while causes are sought; an item without an entry in `cause` is unexplained."""

    def __init__(self, reference: Detections, candidate: Detections, name: str, contract: ModelContract) -> None:
        self.sides = (reference, candidate)
        self.name = name
        self.contract = contract
        pairing = pair(reference, candidate)
        rows, columns = pairing.pairs.T
        near = np.abs(reference.boxes[rows] - candidate.boxes[columns]) <= box_band(reference.boxes[rows])
        alike = np.abs(reference.scores[rows] - candidate.scores[columns]) <= score_band(reference.scores[rows])
        apart = ~(near.all(axis=1) & alike)  # NaN is neither near nor alike
        self.equal = pairing.pairs[~apart]
        self.apart = [(int(row), int(column)) for row, column in pairing.pairs[apart]]
        """Pairs outside the bands: one box that changed, or two boxes of which each side kept another."""
        self.open: list[_Item] = [(REFERENCE, int(row)) for row in pairing.missing]
        self.open += [(CANDIDATE, int(row)) for row in pairing.extra]
        self.open += [item for row, column in self.apart for item in ((REFERENCE, row), (CANDIDATE, column))]
        self.cause: dict[_Item, Cause] = {}

    def explain(self, before_nms: Candidates | None) -> None:
        """Find causes until no more is found, since a cause may follow from another."""
        if before_nms is not None:
            for row, column in self.apart:
                if self._is_tie(row, column, *before_nms):
                    self.cause[REFERENCE, row] = self.cause[CANDIDATE, column] = Cause.TIE
        ghosts = {
            (side, row)
            for side, row in self.open
            if side == CANDIDATE and before_nms is not None and not self._was_candidate(row, *before_nms)
        }
        waiting = [item for item in self.open if item not in self.cause and item not in ghosts]
        before = -1
        while before != len(self.cause):
            before = len(self.cause)
            for item in waiting:
                if item not in self.cause and (cause := self._cause(*item)):
                    self.cause[item] = cause

    def _cause(self, side: int, row: int) -> Cause | None:
        """Why the other side may lack this detection."""
        own, other = self.sides[side], self.sides[1 - side]
        score, threshold = own.scores[row], np.float32(self.contract.score_threshold)
        band = score_band(score)
        if abs(score - threshold) <= band:
            return Cause.THRESHOLD
        if len(other) >= self.contract.max_detections and score <= other.scores.min() + band:
            return Cause.CUT  # the other side is full of others, each of which has to be explained itself
        rivals = np.flatnonzero((other.labels == own.labels[row]) & (other.scores >= score - band))
        if not len(rivals):
            return None
        threshold = self.contract.iou_threshold
        width = iou_band(other.boxes[rivals], own.boxes[row], threshold)
        above = iou_of(other.boxes[rivals], own.boxes[row]) - threshold
        changed = np.array([(1 - side, int(rival)) in self.cause for rival in rivals])
        return Cause.SUPPRESSION if ((above >= -width) & (changed | (above <= width))).any() else None

    def _is_tie(self, row: int, column: int, boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> bool:
        """True if the candidate kept another of the reference's boxes, whose score is the same within rounding."""
        reference, candidate = self.sides
        rival = scores[self._near(column, boxes), candidate.labels[column]]
        kept = reference.scores[row]
        same = np.abs(rival - candidate.scores[column]) <= score_band(rival)
        return bool((same & (np.abs(rival - kept) <= score_band(kept))).any())

    def _was_candidate(self, column: int, boxes: NDArray[np.float32], scores: NDArray[np.float32]) -> bool:
        """True if the reference handed this detection of the candidate to NMS."""
        candidate = self.sides[CANDIDATE]
        if not 0 <= candidate.labels[column] < scores.shape[1]:  # no class at all
            return False
        same = scores[self._near(column, boxes), candidate.labels[column]]
        return bool((np.abs(same - candidate.scores[column]) <= score_band(same)).any())

    def _near(self, column: int, boxes: NDArray[np.float32]) -> NDArray[np.int64]:
        """Rows of the reference's candidates that are this box of the candidate, to within rounding."""
        gaps = np.abs(boxes - self.sides[CANDIDATE].boxes[column])
        return np.flatnonzero((gaps <= box_band(boxes)).all(axis=1))

    def kept_pairs(self) -> NDArray[np.int64]:
        """Pairs int64[P, 2] that are one detection: all but those that turned out to be two."""
        still = [(row, column) for row, column in self.apart if not self._are_two(row, column)]
        return np.concatenate([self.equal, np.array(still, np.int64).reshape(-1, 2)])

    def _are_two(self, row: int, column: int) -> bool:
        causes = self.cause.get((REFERENCE, row)), self.cause.get((CANDIDATE, column))
        return None not in causes and causes != (Cause.TIE, Cause.TIE)

    def differences(self) -> list[Difference]:
        """Records of this picture: of pairs, then of what only one side has, as classes where two of those meet."""
        differences = []
        alone = set(self.open)
        for row, column in self.apart:
            if not self._are_two(row, column):
                alone -= {(REFERENCE, row), (CANDIDATE, column)}
                tie = self.cause.get((REFERENCE, row)) is Cause.TIE
                differences.append(self._both(row, column, Cause.TIE if tie else Cause.UNEXPLAINED))
        lost = [row for side, row in sorted(alone) if side == REFERENCE and (side, row) not in self.cause]
        strange = [row for side, row in sorted(alone) if side == CANDIDATE and (side, row) not in self.cause]
        for row in lost:
            if strange:
                iou = iou_of(self.sides[CANDIDATE].boxes[strange], self.sides[REFERENCE].boxes[row])
                if iou.max() >= PAIR_IOU:
                    column = strange.pop(int(iou.argmax()))
                    alone -= {(REFERENCE, row), (CANDIDATE, column)}
                    differences.append(self._both(row, column, Cause.UNEXPLAINED))
        differences += [self._one(side, row) for side, row in sorted(alone)]
        return differences

    def _both(self, row: int, column: int, cause: Cause) -> Difference:
        reference, candidate = self.sides
        gaps = np.abs(reference.boxes[row] - candidate.boxes[column])
        kind = Kind.SCORE
        if reference.labels[row] != candidate.labels[column]:
            kind = Kind.CLASS
        elif not (gaps <= box_band(reference.boxes[row])).all():
            kind = Kind.MOVED
        text = f"{kind.value} ({cause.value}): {describe(reference, row)} became {describe(candidate, column)} in {self.name}"
        return Difference(kind, cause, self.name, row, column, text)

    def _one(self, side: int, row: int) -> Difference:
        kind = Kind.MISSING if side == REFERENCE else Kind.EXTRA
        cause = self.cause.get((side, row), Cause.UNEXPLAINED)
        text = f"{kind.value} ({cause.value}): {describe(self.sides[side], row)} in {self.name}"
        ours, theirs = (row, None) if side == REFERENCE else (None, row)
        return Difference(kind, cause, self.name, ours, theirs, text)
