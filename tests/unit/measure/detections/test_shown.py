"""Figures for the page say what the measurements say, and stay small."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from benchmarks.generated import contract_of, draw_dataset, draw_detections, rounded, thinned
from fcos_lib.contract import SHAPES
from fcos_lib.measure.coco.matching import match
from fcos_lib.measure.coco.metrics import averages, twelve_numbers
from fcos_lib.measure.coco.paired import paired_difference
from fcos_lib.measure.coco.truth import read_truth
from fcos_lib.measure.detections.bias import bias
from fcos_lib.measure.detections.causes import explain
from fcos_lib.measure.detections.shown import (
    POINTS,
    classes,
    levels_by_bias,
    levels_by_proposals,
    precision_at_recalls,
    precision_recall,
    scatter,
)
from fcos_lib.measure.proposals.comparison import LevelDifference
from fcos_lib.stream.sessions import Detections
from tests.unit.measure.builders import NOTHING, objects
from tests.unit.measure.builders import detections as rows


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    """Generated pictures with crowds and all sizes, what a reference finds in them, and a worse candidate."""
    random = np.random.default_rng(5)
    dataset = draw_dataset(tmp_path_factory.mktemp("generated"), random, pictures=60, classes=7, boxes=8)
    reference = draw_detections(dataset, random, classes=7, wrong=6)
    return read_truth(dataset), contract_of(7), reference, thinned(rounded(reference, random), random)


def test_the_mean_of_the_curve_is_ap50(case):
    """Crowds, sizes and annotation 0 are treated as pycocotools does, or the curve would be of something else."""
    truth, contract, reference, candidate = case
    for side in (reference, candidate, dict.fromkeys(reference, NOTHING)):
        matches = match(truth, contract, side)
        assert precision_at_recalls(matches).mean() == pytest.approx(twelve_numbers(matches)["AP50"], abs=1e-9)


def test_the_curve_is_the_mean_of_those_of_the_classes_with_objects():
    """Right, wrong, half in a crowd, right: 1 up to a recall of 0.5, 2/3 from there; a class of which nothing was found has 0."""
    boxes = [(0, 0, 100, 100), (200, 0, 300, 100), (500, 0, 552, 100), (700, 0, 800, 100)]
    truth = objects(boxes, [0, 0, 0, 2], SHAPES, crowd=[False, False, True, False])
    found = [(*boxes[0], 0.9, 0), (0, 200, 100, 300, 0.8, 0), (500, 0, 600, 100, 0.75, 0), (*boxes[1], 0.7, 0)]
    sides = {0: rows(*found[:2])}, {0: rows(*found)}
    matched = [match(truth, SHAPES, side) for side in sides]
    data, per_class = precision_recall(*matched), [averages(side).per_class[:, 0] for side in matched]
    recalls, last = [hundredth / 100 for hundredth in range(101)], 50
    assert data == {
        "recall": recalls,
        "reference": [0.5] * (last + 1) + [0.0] * last,
        "candidate": [0.5] * (last + 1) + [0.33333] * last,
    }
    above = (2 / 3 + 9 * 1 / 2) / 10  # at the nine higher IoUs the one that is half in the crowd is wrong
    expected = [(51 / 101, 0), ((51 + 50 * above) / 101, 0)]
    for side, values in zip(per_class, expected, strict=True):
        assert side[[0, 2]] == pytest.approx(values)
    nothing = objects([], [], SHAPES)
    assert precision_recall(*[match(nothing, SHAPES, {0: NOTHING})] * 2)["candidate"] == [0.0] * 101


def test_classes_are_those_of_the_paired_difference(case):
    """AP of both sides, and their difference with its interval; JSON-ready."""
    truth, contract, reference, candidate = case
    paired = paired_difference(truth, contract, reference, candidate, resamples=50)
    matched = [match(truth, contract, side) for side in (reference, candidate)]
    curves, data = precision_recall(*matched), classes(paired, *matched)
    json.dumps([curves, data], allow_nan=False)
    expected = dict(zip(truth.names, averages(match(truth, contract, candidate)).per_class[:, 0], strict=True))
    assert len(data["classes"]) == 7
    for entry in data["classes"]:
        assert entry["candidate"] == round(expected[entry["name"]], 5)
        change = asdict(paired.per_class[entry["name"]])
        assert entry["difference"] == {name: round(value, 5) for name, value in change.items()}
        assert entry["candidate"] - entry["reference"] == pytest.approx(entry["difference"]["value"], abs=3e-5)
    (whole,) = data["all"]
    assert (whole["name"], whole["difference"]["value"]) == ("mAP", round(paired.value, 5))
    assert {entry["name"] for entry in data["sizes"]} == {"small", "medium", "large"}
    assert {entry["name"] for entry in data["iou"]} == {"0.50", "0.75"}
    assert classes(replace(paired, numbers={}), *matched)["all"] == []
    assert len(curves["recall"]) == len(curves["reference"]) == len(curves["candidate"]) == 101


def detections(scores, shift=0.0):
    """Boxes in a row, one for each score."""
    x = 60.0 * np.arange(len(scores))
    boxes = np.stack([x + shift, np.full_like(x, 10), x + 40 + shift, np.full_like(x, 50)], axis=1)
    return Detections(boxes.astype(np.float32), np.array(scores, np.float32), np.zeros(len(scores), np.int64))


def test_scores_meet_and_what_is_alone_lies_on_an_axis():
    """A pair is a point, of one class or of two; what only one side has is 0 for the other. The least difference comes first."""
    reference, candidate = [detections([0.9, 0.51239]), NOTHING, detections([0.8])], [detections([0.88])]
    candidate += [detections([0.3]), replace(detections([0.7]), labels=np.array([4]))]
    data = scatter(explain(reference, candidate, list("abc"), SHAPES), reference, candidate, list("abc"))
    assert data == {"points": [[0.9, 0.88], [0.8, 0.7], [0.0, 0.3], [0.5124, 0.0]], "total": 4}


def test_many_scores_become_few_and_the_largest_difference_stays():
    """A page does not grow with the dataset."""
    names = [str(number) for number in range(700)]
    reference = [detections(np.full(10, 0.5)) for _ in names]
    candidate = [detections(np.full(10, 0.5)) for _ in names]
    candidate[300] = detections([0.5] * 4 + [0.1] + [0.5] * 5)
    data = scatter(explain(reference, candidate, names, SHAPES), reference, candidate, names)
    assert data["total"] == 7000
    assert len(data["points"]) == POINTS
    assert [0.5, 0.1] in data["points"]


def test_levels_have_their_medians_and_unknown_bounds_are_null():
    """From the biases that were judged; fewer than six pairs have no interval, and JSON has no infinity."""
    reference, candidate = [detections([0.5] * 8)], [detections([0.75] * 8, shift=0.25)]
    pairs = explain(reference, candidate, ["a"], SHAPES).pairs
    data = levels_by_bias(bias(pairs, np.repeat([0, 1], [6, 2]), SHAPES))

    def entry(level, pairs):
        medians = {"log_size": 0.0, "centre_x": 0.25, "centre_y": 0.0, "score": 0.25}
        bounds = [None if pairs < 6 else value for value in medians.values()]
        figures = {
            name: {"value": value, "low": bound, "high": bound}
            for (name, value), bound in zip(medians.items(), bounds, strict=True)
        }
        return {"level": level, "pairs": pairs, **figures, "proposals": None}

    assert data == {"levels": [entry("P3", 6), entry("P4", 2), entry("all levels", 8)]}
    nothing = explain([NOTHING], [NOTHING], ["a"], SHAPES).pairs
    assert levels_by_bias(bias(nothing, np.zeros(0, np.int64), SHAPES)) == {"levels": []}


def test_a_level_whose_boxes_have_no_area_has_no_median_of_their_size():
    """Its pairs count for centres and scores alone."""
    flat = detections([0.5] * 6)
    flat.boxes[:, 3] = flat.boxes[:, 1]
    pairs = explain([flat], [flat], ["a"], SHAPES).pairs
    level, _ = levels_by_bias(bias(pairs, np.zeros(6, np.int64), SHAPES))["levels"]
    assert (level["pairs"], level["log_size"]) == (6, None), level


def test_proposals_are_level_by_level():
    """Both outputs of a level in one entry, with six digits; what is infinite is null."""
    found = [
        LevelDifference("boxes", "P3", 0.98765432, float("inf"), 3.0, "somewhere", 10, 0),
        LevelDifference("scores", "P3", 0.75, 0.125, 0.5, "elsewhere", 20, 0),
        LevelDifference("boxes", "P4", 1.0, 0.0625, 7.0, "somewhere", 10, 0),
    ]
    biases = dict.fromkeys(("pairs", "log_size", "centre_x", "centre_y", "score"))
    boxes = {"cosine_boxes": 0.987654, "relative_distance_boxes": None, "largest_boxes": 3.0}
    scores = {"cosine_scores": 0.75, "relative_distance_scores": 0.125, "largest_scores": 0.5}
    others = {"cosine_boxes": 1.0, "relative_distance_boxes": 0.0625, "largest_boxes": 7.0}
    assert levels_by_proposals(found)["levels"] == [
        {"level": "P3", **biases, "proposals": {**boxes, **scores}},
        {"level": "P4", **biases, "proposals": others},
    ]
