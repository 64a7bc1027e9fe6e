"""Faults of the pictures during a run."""

from __future__ import annotations

from tests.unit.faults.fault import Fault
from tests.unit.faults.stage import Said, Stage

FEED = """
import cv2
import numpy as np
from fcos_lib.contract import SHAPES
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.feed import Feed
def picture(number, width, height):
    path = folder / f"{number}.jpg"
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))
    return Picture(number, path, width, height)
pictures = [picture(number, 64, 48) for number in range(6)]
def feed(between=lambda: None):
    found = []
    with Feed([[one] for one in pictures], SHAPES, 1, workers=1) as batches:
        for number, batch in enumerate(batches):
            found.append(int(np.isfinite(batch.tensor).all()))
            if number == 0:
                between()
    return f"{sum(found)} of {len(pictures)} pictures prepared"
"""


def _fed(text: str) -> object:
    def play(stage: Stage) -> Said:
        return stage.program(FEED + text)

    return play


def _fault(name: str, what: str, status: int, says: str, text: str) -> Fault:
    return Fault(name, what, status, (says,), _fed(text))  # type: ignore[arg-type]


FAULTS = (
    _fault("picture_replaced", "a picture is replaced by one of another size during the run", 1, "5.jpg is 32 x 32 pixels, annotated as 64 x 48",
           "judged(lambda: feed(lambda: picture(5, 32, 32)))"),
    _fault("picture_removed", "a picture is removed during the run", 1, "5.jpg cannot be read (No such file or directory)",
           "judged(lambda: feed(lambda: pictures[5].path.unlink()))"),
    _fault("picture_truncated", "a picture loses its second half during the run", 1, "5.jpg is not a picture that OpenCV can decode",
           "judged(lambda: feed(lambda: os.truncate(pictures[5].path, 300)))"),
    _fault("picture_on_a_broken_disk", "a disk fails under a picture, or a network folder goes away", 8, "cannot be read (Input/output error)",
           "pictures[5] = Picture(5, Path('/proc/self/mem'), 64, 48)  # the system itself refuses to read it\njudged(feed)"),
    _fault("picture_wide", "a picture is 10,000 pixels wide and one high", 0, "7 of 7 pictures prepared",
           "pictures.append(picture(9, 10_000, 1))\njudged(feed)"),
    _fault("picture_large", "a picture is 10,000 pixels wide and 2,000 high", 0, "7 of 7 pictures prepared",
           "pictures.append(picture(9, 10_000, 2_000))\njudged(feed)"),
    _fault("picture_tiny", "a picture has one pixel", 0, "7 of 7 pictures prepared",
           "pictures.append(picture(9, 1, 1))\njudged(feed)"),
)  # fmt: skip
