"""Proposals are compared level by level, and replaying them is what the portable ONNX does."""

import json
import math
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from fcos_lib.contract import SHAPES
from fcos_lib.measure.proposals.comparison import aligned_rows, compare_proposals, measurements, non_finite
from fcos_lib.measure.proposals.replay import replay
from fcos_lib.model import endings as nms
from fcos_lib.stream.sessions import Outputs

CONTRACT = replace(SHAPES, name="few", height=64, width=128, proposals_per_level=40)
"""Levels of 128, 32, 8, 2 and 2 points, of which the first is cut to 40."""
NAMES = ["a.jpg", "b.jpg"]
P4 = slice(40, 72)


@pytest.fixture
def tensors():
    """Boxes [2, M, 4] and scores [2, M, C] as a network makes them; the rows of the cut level by falling score."""
    random = np.random.default_rng(2)
    corner = random.uniform(0, 100, (2, CONTRACT.proposals, 2))
    boxes = np.concatenate([corner, corner + random.uniform(5, 40, corner.shape)], axis=2).astype(np.float32)
    scores = random.uniform(0.001, 0.4, (2, CONTRACT.proposals, len(CONTRACT.classes))).astype(np.float32)
    for picture in range(2):
        order = np.argsort(-scores[picture, :40].max(axis=1))
        boxes[picture, :40], scores[picture, :40] = boxes[picture, order], scores[picture, order]
    return boxes, scores


def copied(tensors):
    """Both arrays, free to be changed."""
    return tuple(array.copy() for array in tensors)


def compared(reference, candidate):
    """Level differences by output and level."""
    levels = compare_proposals(reference, candidate, NAMES, CONTRACT)
    return {(level.output, level.level): level for level in levels}


def test_equal_proposals_do_not_differ(tensors):
    """Ten comparisons, all perfect."""
    levels = compared(tensors, tensors)
    assert len(levels) == 2 * len(CONTRACT.strides)
    for level in levels.values():
        assert (level.largest, level.relative_distance, level.at_the_cut) == (0, 0, 0)
        assert level.cosine == pytest.approx(1)


def test_the_order_within_the_cut_level_is_free(tensors):
    """The TopK orders its rows by scores that fp16 rounds: near ones may change places."""
    boxes, scores = copied(tensors)
    order = np.random.default_rng(1).permutation(40)
    boxes[:, :40], scores[:, :40] = boxes[:, order], scores[:, order]
    assert all(level.largest == 0 for level in compared(tensors, (boxes, scores)).values())


def test_the_order_within_other_levels_is_not(tensors):
    """Their rows are points of the picture: an exchange there is a defect."""
    boxes, scores = copied(tensors)
    boxes[:, [45, 46]] = boxes[:, [46, 45]]
    largest = compared(tensors, (boxes, scores))["boxes", "P4"].largest
    assert largest > 1, f"two rows were exchanged, and the largest difference is {largest} px"


def test_another_point_at_the_end_of_the_cut_level_is_left_out_and_counted(tensors):
    """Both sides have a last row with the same score, but not of the same point."""
    boxes, scores = copied(tensors)
    boxes[0, 39] = (1, 1, 3, 3)
    levels = compared(tensors, (boxes, scores))
    assert (levels["boxes", "P3"].largest, levels["boxes", "P3"].at_the_cut) == (0, 1)
    boxes[1, 39] = (1, 1, 3, 3)
    assert compared(tensors, (boxes, scores))["boxes", "P3"].at_the_cut == 2, "one in each picture"
    boxes[0, 0] = (1, 1, 3, 3)
    assert compared(tensors, (boxes, scores))["boxes", "P3"].largest > 1, "a lost first row is no matter of rounding"


def test_aligned_rows_belong_together(tensors):
    """A permutation with a little noise is undone."""
    boxes, scores = tensors[0][0, :40], tensors[1][0, :40]
    order = np.random.default_rng(3).permutation(40)
    first, second = aligned_rows((boxes, scores), (boxes[order] + 0.05, scores[order] + 1e-4), 8)
    assert (order[second] == first).all()


@pytest.mark.parametrize(("px", "score", "rows"), [(3, 0, 40), (5, 0, 39), (0, 0.004, 40), (0, 0.006, 39)])
def test_rows_are_near_within_half_a_stride_and_half_a_hundredth_of_a_score(tensors, px, score, rows):
    """The last row, which either side may have cut off, is left out if it is further away than that."""
    boxes, scores = tensors[0][0, :40], tensors[1][0, :40]
    moved, lower = boxes.copy(), scores.copy()
    moved[39, 0] -= px
    lower[39] -= score
    first, _ = aligned_rows((boxes, scores), (moved, lower), 8)
    assert len(first) == rows, f"{40 - len(first)} rows were left out"


def test_each_figure_is_of_its_own_worst_picture(tensors):
    """One picture has corners exchanged, the other a single edge far away."""
    boxes, scores = copied(tensors)
    boxes[0, P4] = boxes[0, P4][:, [2, 3, 0, 1]]
    boxes[1, 50, 2] += 90
    level = compared(tensors, (boxes, scores))["boxes", "P4"]
    before, after = (side[0, P4].astype(np.float64).ravel() for side in (tensors[0], boxes))
    assert level.largest == pytest.approx(90)
    assert level.cosine == pytest.approx(before @ after / np.linalg.norm(before) / np.linalg.norm(after))
    assert level.relative_distance == pytest.approx(np.linalg.norm(after - before) / np.linalg.norm(before))


def test_figures_are_the_vendors(tensors):
    """One value changed by 4 px: largest difference, relative distance and cosine by hand, and where."""
    boxes, scores = copied(tensors)
    boxes[1, 50, 2] += 4
    level = compared(tensors, (boxes, scores))["boxes", "P4"]
    before, after = tensors[0][1, P4].astype(np.float64).ravel(), boxes[1, P4].astype(np.float64).ravel()
    assert level.largest == pytest.approx(4)
    assert level.relative_distance == pytest.approx(np.linalg.norm(after - before) / np.linalg.norm(before))
    assert level.cosine == pytest.approx(before @ after / np.linalg.norm(before) / np.linalg.norm(after))
    assert "P4 row 10 column 2 of b.jpg" in level.where


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("row", [3, 50])
def test_a_value_that_is_not_finite_is_the_worst_error(tensors, value, row):
    """In a cut level or not, it is never skipped, and no limit holds it."""
    boxes, scores = copied(tensors)
    scores[1, row, 5] = value
    measured = measurements(compare_proposals(tensors, (boxes, scores), NAMES, CONTRACT))
    cosine, relative, largest = measured[3:]
    assert (cosine.value, relative.value, largest.value) == (-1, math.inf, math.inf)
    assert "class 5 of b.jpg" in largest.where
    assert json.dumps(cosine.details, allow_nan=False)


def test_a_dead_level_is_seen(tensors):
    """All scores of a level are zero: nothing in common with the reference."""
    boxes, scores = copied(tensors)
    scores[:, P4] = 0
    level = compared(tensors, (boxes, scores))["scores", "P4"]
    assert (level.cosine, level.relative_distance) == (0, 1)
    both = compared((boxes, scores), (boxes, scores))["scores", "P4"]
    assert (both.cosine, both.relative_distance) == (1, 0), "dead on both sides is no difference"
    assert compared((boxes, scores), tensors)["scores", "P4"].relative_distance == math.inf


def test_measurements_name_the_worst_level(tensors):
    """Three figures for each output; every level's figures in the details."""
    boxes, scores = copied(tensors)
    boxes[0, P4] *= 1.1
    measured = measurements(compare_proposals(tensors, (boxes, scores), NAMES, CONTRACT))
    assert [(each.name, each.unit, each.gate) for each in measured] == [
        (f"{figure} of {output}", unit, f"proposals.{figure.replace(' ', '_')}_{output}")
        for output, of in (("boxes", "px"), ("scores", "score"))
        for figure, unit in (("cosine", "cosine"), ("relative distance", "share"), ("largest difference", of))
    ]
    assert measurements([]) == ()
    assert measured[1].value == pytest.approx(0.1, rel=1e-3)
    assert measured[1].where == "P4"
    assert set(measured[1].details) == {"P3", "P4", "P5", "P6", "P7"}
    assert measured[3].value == pytest.approx(1), "scores did not change"
    assert measured[0].n == 2 * CONTRACT.proposals * 4


def test_other_shapes_are_refused(tensors):
    """A batch of another size would compare pictures with strangers."""
    boxes, scores = tensors
    with pytest.raises(ValueError, match="proposals are"):
        compare_proposals(tensors, (boxes[:1], scores[:1]), NAMES, CONTRACT)


@pytest.fixture(scope="module")
def ending():
    """A session on the portable ending behind a trunk whose outputs are its inputs."""
    shapes = {"boxes": 4, "scores": len(CONTRACT.classes)}
    values = {
        name: [
            helper.make_tensor_value_info(kind, TensorProto.FLOAT, ["batch", CONTRACT.proposals, last])
            for kind in (f"given_{name}", name)
        ]
        for name, last in shapes.items()
    }
    trunk = helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", [f"given_{name}"], [name]) for name in shapes],
            "stub",
            [given for given, _ in values.values()],
            [output for _, output in values.values()],
        ),
        opset_imports=[helper.make_opsetid("", 11)],
        ir_version=8,
    )
    onnx.checker.check_model(trunk)
    model = nms.portable(trunk, CONTRACT).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])

    def run(boxes, scores):
        labels, dets = session.run(["labels", "dets"], {"given_boxes": boxes, "given_scores": scores})
        outputs = Outputs(labels, dets)
        return [outputs.detections(slot) for slot in range(len(boxes))]

    return run


def quantised(boxes, scores):
    """Whole pixels and eighths of a score: equal scores, equal boxes and overlaps of exactly 0.5 abound."""
    return np.round(boxes / 10) * 10, np.round(scores * 8) / 8


def degenerate(boxes, scores):
    """Some boxes without area, some with less than a pixel and one upon the other, some scores of exactly the threshold."""
    boxes, scores = boxes.copy(), scores.copy()
    boxes[:, 1::5] = (7, 7, 7.5, 8.5)
    boxes[:, ::5, 2] = boxes[:, ::5, 0]
    scores[:, ::3] = np.float32(CONTRACT.score_threshold)
    return boxes, scores


@pytest.mark.parametrize(
    "change",
    [
        lambda boxes, scores: (boxes, scores),
        quantised,
        degenerate,
        lambda boxes, scores: (boxes, scores * np.float32(0.13)),
        lambda boxes, scores: (boxes, np.zeros_like(scores)),
    ],
    ids=["random", "ties", "degenerate", "sparse", "nothing"],
)
def test_a_replay_is_what_the_portable_ending_does(ending, tensors, change):
    """To the bit, row by row: labels, boxes and scores."""
    boxes, scores = change(*tensors)
    for expected, found in zip(ending(boxes, scores), replay(boxes, scores, CONTRACT), strict=True):
        assert expected.labels.tolist() == found.labels.tolist()
        assert np.array_equal(expected.boxes, found.boxes)
        assert np.array_equal(expected.scores, found.scores)


def test_a_replay_fills_all_rows_and_no_more(tensors):
    """Random proposals of eight classes are more than the outputs hold."""
    assert [len(found) for found in replay(*tensors, CONTRACT)] == [CONTRACT.max_detections] * 2


def test_nan_is_never_detected(tensors):
    """Neither a score that is NaN, nor a NaN box as the end of its neighbours."""
    boxes, scores = copied(tensors)
    scores[0] = np.nan
    boxes[1, 0] = np.nan
    nothing, something = replay(boxes, scores, CONTRACT)
    assert len(nothing) == 0
    assert len(something) > 10, f"one NaN box left {len(something)} detections"


def test_non_finite_proposals_are_counted_and_placed():
    """NaN and infinity of both outputs; the first one is named."""
    boxes, scores = np.zeros((2, 5, 4), np.float32), np.zeros((2, 5, 3), np.float32)
    tensors = {"boxes": boxes, "scores": scores}
    clean = non_finite("proposals", tensors, ["a.jpg", "b.jpg"], "proposals.non_finite")
    assert (clean.name, clean.value, clean.n) == ("non-finite proposals", 0, 70)
    scores[1, 2, 1], boxes[1, 4, 0] = np.nan, np.inf
    boxes[0, 3, 2] = -np.inf
    measurement = non_finite("proposals", tensors, ["a.jpg", "b.jpg"], "proposals.non_finite")
    assert (measurement.value, measurement.unit, measurement.gate) == (3, "values", "proposals.non_finite")
    assert measurement.where == "boxes row 3 column 2 of a.jpg: -inf"
    boxes[:] = 0
    assert non_finite("x", tensors, ["a.jpg", "b.jpg"], "").where == "scores row 2 column 1 of b.jpg: nan"
