"""Does every picture count exactly once, with its own results? An average over anything else is another number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from fcos_lib.measure import Measurement
from fcos_lib.measure.matching import PAIR_IOU, iou_matrix
from fcos_lib.sessions import Detections
from fcos_lib.stream.dataset import Picture

STRONG = 0.3
"""Score of a detection that no rounding brings about or takes away."""


def coverage(pictures: Sequence[Picture], detections: Mapping[int, Detections]) -> Measurement:
    """How many pictures do not count exactly once: without results, not asked for, or with the results of another one.

    Results are another picture's if they are the same to the last bit and not empty: two pictures never give that, a
    file read twice or a slot copied does.
    """
    names = {picture.id: picture.path.name for picture in pictures}
    missing = [names[number] for number in names if number not in detections]
    strange = [f"picture {number}" for number in detections if number not in names]
    same: dict[tuple[bytes, bytes, bytes], list[int]] = defaultdict(list)
    for number, found in detections.items():
        if number in names and len(found):
            same[found.boxes.tobytes(), found.scores.tobytes(), found.labels.tobytes()].append(number)
    repeated = [names[number] for numbers in same.values() for number in numbers[1:]]
    problems = {"without results": missing, "not asked for": strange, "with the results of another picture": repeated}
    where = "; ".join(
        f"{len(found)} {what}: {', '.join(sorted(found)[:3])}{', ...' * (len(found) > 3)}"
        for what, found in problems.items()
        if found
    )
    empty = sum(not len(found) for found in detections.values())
    return Measurement(
        "pictures not counted once",
        float(sum(map(len, problems.values()))),
        "pictures",
        len(names),
        where,
        {**{what: len(found) for what, found in problems.items()}, "empty": empty},
        gate="accuracy.not_counted_once",
    )


def unlike(reference: Mapping[int, Detections], found: Mapping[int, Detections]) -> Measurement:
    """Pictures in which half of the strong detections of either side have no partner on the other: another picture's results.

    Both by picture id, boxes in picture pixels. An average over thousands of pictures does not show two that were exchanged.
    """
    strange: dict[int, float] = {}
    for number, seen in reference.items():
        strong = alone = 0
        for one, other in ((seen, found[number]), (found[number], seen)):
            chosen = one.scores >= STRONG
            same = one.labels[chosen][:, None] == other.labels[None]
            partner = (same & (iou_matrix(one.boxes[chosen], other.boxes) >= PAIR_IOU)).any(axis=1)
            strong, alone = strong + len(partner), alone + int((~partner).sum())
        if alone and 2 * alone >= strong:
            strange[number] = alone / strong
    where = "; ".join(f"picture {number}: {share:.0%} without a partner" for number, share in list(strange.items())[:3])
    return Measurement(
        "pictures unlike the reference's",
        float(len(strange)),
        "pictures",
        len(reference),
        where + "; ..." * (len(strange) > 3),
        gate="accuracy.unlike_reference",
    )
