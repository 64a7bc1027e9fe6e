"""Error types: TIDE's six kinds of mistake, and how much AP each of them costs.

What an error type costs is how much AP (IoU 0.50, mean over classes) rises when all of its errors are mended and nothing
else: a wrong class becomes the right one, a box off its object the object's, a second box on an object, a box on nothing and
one that is wrong in both ways disappear, a missed object is no longer asked for. The types are those of "TIDE: A General
Toolbox for Identifying Object Detection Errors" (Bolya et al., ECCV 2020) at its thresholds 0.5 and 0.1.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure.coco.curves import RECALLS
from fcos_lib.measure.coco.matching import AREA_RANGES, MAX_DETECTIONS
from fcos_lib.measure.coco.truth import Truth
from fcos_lib.measure.detections.matching import iou_of
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.letterbox import geometry
from fcos_lib.stream.sessions import Detections

RANGE_PER_STRIDE = 8
"""FCOS gives a level the objects whose largest distance is at most 8 strides: 64, 128, ... px (mmdet's `regress_ranges`)."""
TYPES = ("class", "location", "both", "duplicate", "background", "missed")
FOREGROUND, BACKGROUND = 0.5, 0.1
"""IoU from which a detection is on an object, and below which it is on nothing."""
SIZES = ("small", "medium", "large")
GROUPS = ("class", "size", "level")
_RIGHT = "right"


@dataclass(frozen=True, slots=True)
class ErrorTypes:
    """What each type costs, and how often it occurs where."""

    ap50: float
    """AP at IoU 0.50 as it is, mean over the classes that have an object."""
    lost: dict[str, float]
    """AP that mending a type would gain. They do not add up to 1 - AP: mending one error makes room for another."""
    counts: dict[str, dict[str, dict[str, int]]]
    """Errors by `class`, `size` and `level`, then by its name, then by type; detections of any score are counted."""


@dataclass(frozen=True, slots=True)
class _Judged:
    """One detection, what it is, and what mending it would make of it."""

    row: int
    """Its place among those of its picture, best first."""
    score: float
    category: int
    kind: str
    target: int = -1
    """The object that it would find, as an index into the truth's; -1 if it would disappear."""


def error_types(
    truth: Truth,
    contract: ModelContract,
    detections: Mapping[int, Detections],
    pictures: Sequence[Picture],
    reach: float = RANGE_PER_STRIDE,
) -> ErrorTypes:
    """Sort every mistake in `pictures`; `detections` by picture id, boxes in picture pixels, finite, with known labels.

    A box counts for the level that boxes of its size come from, `reach` saying which (see `reach_of`). Detections beyond the first 100 of a picture and class do not count, nor do those on a crowd that found nothing else.
    """
    judged: list[_Judged] = []
    missed: list[int] = []
    counts: dict[str, Counter[tuple[str, str]]] = {group: Counter() for group in GROUPS}
    objects: Counter[int] = Counter()
    corners = truth.corners
    for picture in pictures:
        errors = _Picture(truth, contract, detections[picture.id], picture, corners)
        errors.match()
        judged += errors.judged
        missed += errors.missed
        for group, entries in errors.counts(reach).items():
            counts[group].update(entries)
        objects.update(truth.categories[errors.objects].tolist())
    base = _mean_ap(truth, judged, objects, "")
    lost = {kind: _mean_ap(truth, judged, objects, kind) - base for kind in TYPES[:-1]}
    lost["missed"] = _mean_ap(truth, judged, objects - Counter(truth.categories[missed].tolist()), "") - base
    return ErrorTypes(
        base, {kind: round(max(0.0, value), 5) for kind, value in lost.items()},
        {group: _table(counted) for group, counted in counts.items()},
    )  # fmt: skip


class _Picture:
    """One picture's detections, best first, and its objects."""

    def __init__(
        self, truth: Truth, contract: ModelContract, seen: Detections, picture: Picture, corners: NDArray[np.float64]
    ) -> None:
        """`corners` are the truth's, which makes them each time that it is asked."""
        self.truth, self.contract = truth, contract
        rows = np.flatnonzero(truth.pictures == np.searchsorted(truth.picture_ids, picture.id))
        self.crowd, self.objects = rows[truth.crowd[rows]], rows[~truth.crowd[rows]]
        order = np.argsort(-seen.scores, kind="stable")
        self.boxes, self.scores = seen.boxes[order].astype(np.float64), seen.scores[order]
        self.labels = truth.label_categories(contract)[seen.labels[order]]
        self.corners = corners
        self.iou = iou_of(self.boxes[:, None], self.corners[self.objects][None])
        self.same = self.labels[:, None] == truth.categories[self.objects][None]
        letterbox = geometry(picture.width, picture.height, contract)
        self.to_network = np.array([letterbox.scale_x, letterbox.scale_y] * 2)
        self.judged: list[_Judged] = []
        self.missed: list[int] = []

    def match(self) -> None:
        """Assign objects as COCO does at IoU 0.50, then give every other detection its type."""
        taken = np.zeros(len(self.objects), bool)
        covered = taken.copy()
        order = np.argsort(self.labels, kind="stable")
        ordered = self.labels[order]
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
        left = rank < MAX_DETECTIONS
        own = np.where(self.same, self.iou, -1.0)
        for row in np.flatnonzero(left & (own.max(axis=1, initial=-1.0) >= FOREGROUND)).tolist():
            overlaps = np.where(taken, -1.0, own[row])
            if overlaps.max() >= FOREGROUND:
                taken[np.flatnonzero(overlaps == overlaps.max())[-1]] = True  # of equal overlaps the last, as COCO
                self.judged.append(_Judged(row, float(self.scores[row]), int(self.labels[row]), _RIGHT))
                left[row] = False
        wrong = np.flatnonzero(left & ~self._on_crowd())
        scores, labels = self.scores.tolist(), self.labels.tolist()
        for row, kind, index in zip(wrong.tolist(), *self._mistakes(wrong), strict=True):
            target = -1
            if index >= 0:
                covered[index] = True
                target = -1 if taken[index] else int(self.objects[index])
            self.judged.append(_Judged(row, scores[row], labels[row], kind, target))
        self.missed = self.objects[~taken & ~covered].tolist()

    def _on_crowd(self) -> NDArray[np.bool_]:
        """Which detections lie for the most part on a region of their class that holds too many objects to annotate each."""
        if not len(self.crowd):
            return np.zeros(len(self.labels), bool)
        boxes, regions = self.boxes[:, None], self.corners[self.crowd][None]
        sides = np.minimum(boxes[..., 2:], regions[..., 2:]) - np.maximum(boxes[..., :2], regions[..., :2])
        areas = (self.boxes[:, 2:] - self.boxes[:, :2]).prod(axis=1)
        same = self.labels[:, None] == self.truth.categories[self.crowd]
        on: NDArray[np.bool_] = np.maximum(sides, 0).prod(axis=2) >= FOREGROUND * np.maximum(areas, 1e-9)[:, None]
        on_one: NDArray[np.bool_] = (on & same).any(axis=1)
        return on_one

    def _mistakes(self, rows: NDArray[np.int64]) -> tuple[list[str], list[int]]:
        """The types of detections that found nothing, and the indices of the objects that explain them (-1: none)."""
        if not len(self.objects):
            return ["background"] * len(rows), [-1] * len(rows)
        iou, same = self.iou[rows], self.same[rows]
        own, other = np.where(same, iou, 0.0), np.where(same, 0.0, iou)
        near, wrong, best = own.max(axis=1), other.max(axis=1), iou.max(axis=1)
        location, class_ = (near >= BACKGROUND) & (near < FOREGROUND), wrong >= FOREGROUND
        # A better detection has the object of a duplicate.
        kinds = np.select(
            [location, class_, near >= FOREGROUND, best >= BACKGROUND], ["location", "class", "duplicate", "both"], "background"
        )  # fmt: skip
        targets = np.select([location, class_], [own.argmax(axis=1), other.argmax(axis=1)], -1)
        return kinds.tolist(), targets.tolist()

    def counts(self, reach: float) -> dict[str, list[tuple[str, str]]]:
        """(name, type) of every mistake, for each group; a detection is counted by its own class and box."""
        wrong = [mistake for mistake in self.judged if mistake.kind != _RIGHT]
        boxes = np.concatenate([self.boxes[[mistake.row for mistake in wrong]], self.corners[self.missed]])
        kinds = [mistake.kind for mistake in wrong] + ["missed"] * len(self.missed)
        categories = [mistake.category for mistake in wrong] + self.truth.categories[self.missed].tolist()
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        sizes = np.searchsorted(AREA_RANGES[2:, 0], areas, side="right")
        levels = level_by_size(boxes * self.to_network, reach, self.contract)
        first, names = self.contract.strides[0].bit_length() - 1, self.truth.names
        return {
            "class": [(names[category], kind) for category, kind in zip(categories, kinds, strict=True)],
            "size": [(SIZES[size], kind) for size, kind in zip(sizes, kinds, strict=True)],
            "level": [(f"P{first + level}", kind) for level, kind in zip(levels, kinds, strict=True)],
        }


def reach_of(boxes: NDArray[np.floating], levels: NDArray[np.int64], contract: ModelContract) -> float:
    """How many strides from a point to the farthest side a level learned to look, for FCOS 8 (mmdet's `regress_ranges`).

    From boxes [K, 4] in network pixels and the levels that they came from (0 is the first): the reach that explains most of
    them. Without boxes it is mmdet's.
    """
    if not len(boxes):
        return RANGE_PER_STRIDE
    reaches = RANGE_PER_STRIDE * 2.0 ** np.arange(-4, 1.25, 0.25)
    agreed = [int((level_by_size(boxes, reach, contract) == levels).sum()) for reach in reaches]
    best = np.flatnonzero(np.array(agreed) == max(agreed))
    return float(reaches[best[np.abs(reaches[best] - RANGE_PER_STRIDE).argmin()]])


def level_by_size(boxes: NDArray[np.floating], reach: float, contract: ModelContract) -> NDArray[np.int64]:
    """The level (0 is the first) that learned to find each box of [K, 4]; lengths in network pixels.

    The largest distance from a point to a side is at least half of the longer side, and little more near the centre.
    """
    distance = (boxes[:, 2:] - boxes[:, :2]).max(axis=1, initial=0) / 2
    level: NDArray[np.int64] = np.searchsorted([reach * stride for stride in contract.strides[:-1]], distance)
    return level


def _mean_ap(truth: Truth, judged: Sequence[_Judged], objects: Counter[int], mended: str) -> float:
    """AP at IoU 0.50, mean over classes, with one type mended: an object goes to the best of those that claim it."""
    by_class: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    claims: dict[int, float] = {}
    for detection in judged:
        if detection.kind != mended:
            by_class[detection.category].append((detection.score, detection.kind == _RIGHT))
        elif detection.target >= 0:
            claims[detection.target] = max(detection.score, claims.get(detection.target, 0.0))
    for target, score in claims.items():
        by_class[int(truth.categories[target])].append((score, True))
    values = [_ap(by_class[category], count) for category, count in objects.items()]
    return float(np.mean(values)) if values else 0.0


def _ap(scored: list[tuple[float, bool]], objects: int) -> float:
    """AP as COCO interpolates it."""
    order = np.argsort([-score for score, _ in scored], kind="stable")
    right = np.cumsum(np.array([hit for _, hit in scored], float)[order])
    recall, precision = right / objects, right / np.arange(1, len(right) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    reached = np.searchsorted(recall, RECALLS)
    return float(np.append(precision, 0.0)[reached].mean())


def _table(counted: Counter[tuple[str, str]]) -> dict[str, dict[str, int]]:
    table: dict[str, dict[str, int]] = {}
    for (name, kind), count in sorted(counted.items()):
        table.setdefault(name, {})[kind] = count
    return table
