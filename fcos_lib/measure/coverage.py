"""Does every picture count exactly once? An average over other pictures than the annotated ones is another number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from fcos_lib.measure import Measurement
from fcos_lib.sessions import Detections
from fcos_lib.stream.dataset import Picture


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
    )
