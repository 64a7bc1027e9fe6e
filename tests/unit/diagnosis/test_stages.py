"""The stages' shares of a difference in mAP add up to it, whatever the detections."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.diagnosis.blame import STAGES
from fcos_lib.diagnosis.stages import Ladder, Stage, swap_ladder, usable
from fcos_lib.stream.sessions import Detections
from tests.unit.measure.builders import found_objects, objects, with_own_scores

PICTURES = 6


def truth():
    """One object of every class in every picture."""
    places = np.arange(PICTURES * len(SHAPES.classes))
    corners = np.stack([places % 8 * 30, places // 8 * 30], axis=1)
    boxes = np.concatenate([corners, corners + 20], axis=1)
    return objects(boxes, places % len(SHAPES.classes), SHAPES, places // len(SHAPES.classes), PICTURES)


def moved(noise, seed):
    """The objects, moved at random by up to `noise` px, in a random order of score."""
    random, detections = np.random.default_rng(seed), with_own_scores(found_objects(truth(), SHAPES), seed)
    return {
        picture: replace(side, boxes=side.boxes + random.uniform(-noise, noise, side.boxes.shape).astype(np.float32))
        for picture, side in detections.items()
    }


@pytest.mark.parametrize("seed", range(4))
def test_the_stages_add_up_exactly(seed):
    """In decimals, to the last digit that is shown."""
    rungs = [moved(noise, seed + noise) for noise in (0, 3, 1, 6, 4)]
    ladder = swap_ladder(truth(), SHAPES, rungs, resamples=20)
    assert sum(Decimal(str(stage.value)) for stage in ladder.stages) == Decimal(str(ladder.total.value))
    assert ladder.pictures == PICTURES
    wrong = [stage for stage in ladder.stages if not stage.low <= stage.value <= stage.high]
    assert not wrong, f"intervals without their value: {wrong}"


def test_a_stage_that_changes_nothing_has_no_share():
    """Equal rungs differ by 0, with an interval of 0."""
    same, other = moved(0, 1), moved(8, 1)
    ladder = swap_ladder(truth(), SHAPES, [same, same, other, other, other], resamples=20)
    assert [bool(stage.value) for stage in ladder.stages] == [False, True, False, False]
    assert (ladder.stages[0].low, ladder.stages[0].high) == (0, 0)


def test_detections_that_are_none_are_left_out():
    """NaN and labels that no class has do not keep the rest from being counted."""
    whole = moved(0, 1)
    first = whole[0]
    boxes, labels = first.boxes.copy(), first.labels.copy()
    boxes[0, 0], labels[1] = np.nan, 99
    hurt = whole | {0: Detections(boxes, first.scores, labels)}
    assert len(usable(hurt[0], SHAPES)) == len(first) - 2
    ladder = swap_ladder(truth(), SHAPES, [whole, hurt], ["network"], resamples=20)
    assert ladder.total.value < 0, f"two lost detections change mAP by {ladder.total.value}"


def test_the_sentence_names_the_largest_first():
    """Small stages become the rest, so that the parts still add up."""
    stages = [Stage(name, value, 0, 0) for name, value in zip(STAGES, (0.0, -0.039, 0.001, -0.004), strict=True)]
    assert Ladder(Stage("total", -0.042, 0, 0), tuple(stages), 5).sentence == (
        "of -0.0420: -0.0390 network, -0.0040 NMS, +0.0010 the rest"
    )


def test_as_many_stages_as_steps():
    """Anything else is a mistake of the caller's."""
    with pytest.raises(ValueError, match="1 rungs for 4 stages"):
        swap_ladder(truth(), SHAPES, [moved(0, 1)])
