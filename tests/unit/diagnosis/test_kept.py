"""What an NMS kept tells its thresholds."""

import numpy as np

from fcos_lib.diagnosis.stages import kept
from fcos_lib.evidence.explained import kept_in_words
from fcos_lib.stream.sessions import Detections


def found(*rows):
    """Detections of one picture: score, label, and where a box of 10 x 10 begins."""
    boxes = np.array([[x, 0, x + 10, 10] for _, _, x in rows], np.float32).reshape(-1, 4)
    scores, labels = np.array([row[0] for row in rows], np.float32), np.array([row[1] for row in rows], np.int64)
    return Detections(boxes, scores, labels)


def test_thresholds_show_in_what_was_kept():
    """Only boxes of one class in one picture suppress each other."""
    pictures = [found((0.9, 1, 0.0), (0.2, 1, 5.0), (0.3, 2, 5.1)), found((0.8, 1, 5.0)), found()]
    assert kept(pictures) == {"score": 0.2, "overlap": 0.333, "rows": 3}
    assert kept([found()]) == {"score": 0.0, "overlap": 0.0, "rows": 0}


def test_both_sides_are_said():
    """In the order of a reader's question: what should be, and what is."""
    text = kept_in_words({"reference": kept([found((0.05, 1, 0.0))]), "candidate": kept([found((0.2, 1, 0.0))])})
    assert "the reference's NMS keeps scores from 0.0500" in text
    assert "the OM's keeps scores from 0.2000, overlaps in a class to 0.000, at most 1 rows" in text
