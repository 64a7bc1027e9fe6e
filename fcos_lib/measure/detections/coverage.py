"""Coverage: every picture counts exactly once, with its own results. An average over anything else is another number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from fcos_lib.measure import Measurement
from fcos_lib.measure.detections.bands import iou_band, score_band
from fcos_lib.measure.detections.causes import nothing_detected
from fcos_lib.measure.detections.matching import CLEAR_SCORE, PAIR_IOU, iou_matrix, iou_of, pair
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.sessions import Detections

STRONG = 0.3
"""Score of a detection that no rounding brings about or takes away."""
SURPLUS = 5
"""Detections of any score more or fewer in a picture, and twice or half as many, that no rounding brings about. A decision."""

ENOUGH = 10
"""Pictures with another one's results after which the reference is asked about no more: it may take seconds for each."""
_AT_ONCE = 10
"""Pictures that the reference is asked about at a time, or those of one group."""

Ask = Callable[[Sequence[Picture]], Mapping[int, Detections]]
"""What the reference finds in some pictures, by picture id."""


def coverage(pictures: Sequence[Picture], detections: Mapping[int, Detections], reference: Ask) -> Measurement:
    """How many pictures do not count exactly once: without results, not asked for, or with the results of another one.

    Results are another picture's if they are the same to the last bit, not empty, and the reference's differ: a slot that was copied
    shows that. The same picture twice in a dataset, and two that decode alike, have the same results from the reference as well.
    """
    names = {picture.id: picture.name for picture in pictures}
    missing = [names[number] for number in names if number not in detections]
    strange = [f"picture {number}" for number in detections if number not in names]
    same: dict[tuple[bytes, ...], list[int]] = defaultdict(list)
    for number, seen in detections.items():
        if number in names and len(seen):
            same[_bits(seen)].append(number)
    groups = [numbers for numbers in same.values() if len(numbers) > 1]
    repeated, alike = _told_apart(pictures, groups, detections, reference)
    problems = {"without results": missing, "not asked for": strange, "with the results of another picture": repeated}
    where = "; ".join(
        f"{len(listed)} {what}: {', '.join(sorted(listed)[:3])}{', ...' * (len(listed) > 3)}"
        for what, listed in problems.items()
        if listed
    )
    empty = sum(not len(seen) for seen in detections.values())
    return Measurement(
        "pictures not counted once",
        float(sum(map(len, problems.values()))),
        "pictures",
        len(names),
        where,
        {**{what: len(listed) for what, listed in problems.items()}, "empty": empty, "alike": alike},
        gate="accuracy.not_counted_once",
    )


def _told_apart(
    pictures: Sequence[Picture], groups: Sequence[Sequence[int]], results: Mapping[int, Detections], reference: Ask
) -> tuple[list[str], list[str]]:
    """Pictures, by name, with another one's results, and those in which the reference finds the same as in another one.

    `groups` are ids of pictures with equal results. After `ENOUGH` of the first kind all others are taken for such.
    """
    by_id = {picture.id: picture for picture in pictures}
    repeated: list[str] = []
    alike: list[str] = []
    for numbers in groups:
        seen: dict[int, Detections] = {}
        kinds: list[list[int]] = []
        for number in numbers:
            if number not in seen:
                if len(repeated) + len(kinds) > ENOUGH:
                    break
                start = len(seen)
                seen |= reference([by_id[other] for other in numbers[start : start + _AT_ONCE]])
            own_kind = (kind for kind in kinds if _alike(seen[kind[0]], seen[number], results[number]))
            kind = next(own_kind, None)
            if kind is None:
                kinds.append([number])
            else:
                kind.append(number)
        # The results are those of one kind of pictures, let it be the commonest: all others have another's.
        own = max(kinds or [list(numbers[:1])], key=len)
        others = set(numbers) - set(own)
        repeated += [by_id[number].name for number in numbers if number in others]
        alike += [by_id[number].name for number in own[1:]]
    return repeated, alike


def _bits(detections: Detections) -> tuple[bytes, ...]:
    return detections.boxes.tobytes(), detections.scores.tobytes(), detections.labels.tobytes()


def _alike(first: Detections, second: Detections, results: Detections) -> bool:
    """True if the reference finds the same in two pictures, to within what fp16 may round away.

    If it finds nothing in one of them, only `results` that may themselves come and go with rounding can belong to both.
    """
    clear = [np.flatnonzero(side.scores >= CLEAR_SCORE) for side in (first, second, results)]
    if not (len(first) and len(second)):
        return not any(map(len, clear))
    if _bits(first) == _bits(second):
        return True
    first_rows, second_rows = pair(first, second).pairs.T
    if not (np.isin(clear[0], first_rows).all() and np.isin(clear[1], second_rows).all()):
        return False
    boxes = first.boxes[first_rows], second.boxes[second_rows]
    near = iou_of(*boxes) >= 1 - iou_band(*boxes)
    close = np.abs(first.scores[first_rows] - second.scores[second_rows]) <= score_band(first.scores[first_rows])
    return bool(near.all() and close.all())


def unlike(reference: Mapping[int, Detections], detections: Mapping[int, Detections]) -> Measurement:
    """Pictures in which half of the strong detections of either side have no partner on the other, or half of all are too many or few.

    Both by picture id, boxes in picture pixels. An average over thousands of pictures shows neither two that were exchanged nor
    faint detections that are none.
    """
    strange: dict[int, str] = {}
    for number, expected in reference.items():
        strong = alone = 0
        seen = detections[number]
        for side, other in ((expected, seen), (seen, expected)):
            chosen = side.scores >= STRONG
            same = side.labels[chosen][:, None] == other.labels[None]
            partner = (same & (iou_matrix(side.boxes[chosen], other.boxes) >= PAIR_IOU)).any(axis=1)
            strong, alone = strong + len(partner), alone + int((~partner).sum())
        few, many = sorted((len(expected), len(seen)))
        if alone and 2 * alone >= strong:
            strange[number] = f"{alone / strong:.0%} without a partner"
        elif many - few >= SURPLUS and many >= 2 * few:
            strange[number] = f"{len(seen)} detections, and {len(expected)} are expected"
    where = "; ".join(f"picture {number}: {why}" for number, why in list(strange.items())[:3])
    where += "; ..." * (len(strange) > 3)
    if strange and not any(map(len, detections.values())):
        where = nothing_detected(len(detections), sum(map(len, reference.values())))
    return Measurement(
        "pictures unlike the reference's",
        float(len(strange)),
        "pictures",
        len(reference),
        where,
        gate="accuracy.unlike_reference",
    )
