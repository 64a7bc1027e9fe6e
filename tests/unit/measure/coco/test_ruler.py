"""The ruler sees what is wrong with our own evaluation, whichever constant or table it is in."""

import dataclasses
import json
import math

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.errors import DatasetError
from fcos_lib.measure import Measurement
from fcos_lib.measure.coco import curves as coco_curves
from fcos_lib.measure.coco import matching as coco_matching
from fcos_lib.measure.coco import metrics as coco_metrics
from fcos_lib.measure.coco.metrics import TWELVE, evaluate
from fcos_lib.measure.coco.paired import paired_difference
from fcos_lib.measure.coco.ruler import SUMMARY, Readings, Ruler
from fcos_lib.measure.coco.truth import Truth, read_truth
from fcos_lib.stream.sessions import Detections
from tests.unit.measure.builders import NOTHING


@pytest.fixture(scope="module")
def ruler(dataset):
    """pycocotools on its annotations."""
    return Ruler(dataset.annotations, SHAPES)


@pytest.fixture(scope="module")
def detected(perfect):
    """Objects, shaken, each beside a dozen worse ones of its class: more than ten of a class in most pictures."""
    random = np.random.default_rng(3)
    beside = {}
    for number, one in perfect.items():
        boxes = np.repeat(one.boxes[:7], 13, axis=0)
        boxes += random.normal(0, 6, boxes.shape).astype(np.float32)
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 2)
        scores = random.random(len(boxes)).astype(np.float32)
        beside[number] = Detections(boxes, scores, np.repeat(one.labels[:7], 13))
    return beside


def error(dataset, ruler, detected):
    """The measurement, as the accuracy run makes it."""
    readings = Readings(ruler)
    readings.read_evaluation("of the candidate", evaluate(dataset, SHAPES, detected), detected)
    return readings.measurement("accuracy.ruler")


def test_the_names_are_ours():
    """In pycocotools' order, which test_coco_metrics holds to what it prints."""
    assert SUMMARY == TWELVE


def test_a_right_evaluation_has_no_error(dataset, ruler, detected):
    """All twelve numbers and every class, on detections where each constant matters."""
    measured = error(dataset, ruler, detected)
    assert measured.value <= 1e-12, measured.where
    assert (measured.n, measured.unit, measured.where) == (12 + len(SHAPES.classes), "AP", "")
    names = [*SUMMARY, *(f"AP of {name}" for name in SHAPES.classes)]
    assert set(measured.details["pycocotools"]) == {f"{name} of the candidate" for name in names}


IOU = coco_matching.IOU_THRESHOLDS


def _without_crowds(truth):
    return dataclasses.replace(truth, crowd=np.zeros_like(truth.crowd))


def _patched(monkeypatch, **constants):
    for module in (coco_curves, coco_matching, coco_metrics):
        for name, value in constants.items():
            if hasattr(module, name):
                monkeypatch.setattr(module, name, value)


def _rolled(self, contract):
    index = {name: place for place, name in enumerate(self.category_ids)}
    return np.roll([index[name] for name in contract.classes], 1)


DEFECTS = {
    "IoU only to 0.90": lambda patch: _patched(patch, IOU_THRESHOLDS=np.linspace(0.5, 0.9, 9)),
    "IoU from 0.45": lambda patch: _patched(patch, IOU_THRESHOLDS=IOU - 0.05),
    "IoU in steps of 0.049": lambda patch: _patched(patch, IOU_THRESHOLDS=np.linspace(0.5, 0.941, 10)),
    "ten detections": lambda patch: _patched(patch, MAX_DETECTIONS=10),
    "areas shifted": lambda patch: _patched(patch, AREA_RANGES=coco_matching.AREA_RANGES * 1.05),
    "small and medium exchanged": lambda patch: _patched(patch, AREA_RANGES=coco_matching.AREA_RANGES[[0, 2, 1, 3]]),
    "eleven recalls": lambda patch: _patched(patch, RECALLS=np.linspace(0.0, 1.0, 11)),
    "another category for each class": lambda patch: patch.setattr(Truth, "label_categories", _rolled),
    "names of classes rolled": lambda patch: patch.setattr(
        Truth, "names", property(lambda self: (*list(self.category_ids)[1:], next(iter(self.category_ids))))
    ),
    "crowds are objects": lambda patch: patch.setattr(
        coco_metrics, "read_truth", lambda opened: _without_crowds(read_truth(opened))
    ),
    "mAP 1e-8 too high": lambda patch: _added(patch, 1e-8),
}  # fmt: skip


def _added(monkeypatch, much):
    original = coco_metrics._coco_convention
    monkeypatch.setattr(coco_metrics, "_coco_convention", lambda twelve: original(twelve + much))


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda name: name.replace(" ", "_"))
def test_the_ruler_sees(dataset, ruler, detected, monkeypatch, defect):
    """Both sides of a comparison have the same error then, so nothing that compares the two can see it."""
    DEFECTS[defect](monkeypatch)
    measured = error(dataset, ruler, detected)
    assert measured.value > 1e-9, f"{defect}: the ruler reads an error of {measured.value}"
    assert " here and " in measured.where, measured.where


def test_part_of_the_pictures_and_the_difference(dataset, ruler, detected):
    """With --pictures both sides are read on the part, and what their difference must be follows from pycocotools' numbers."""
    chosen = sorted(detected)[::5]
    part = {number: detected[number] for number in chosen}
    worse = {number: dataclasses.replace(one, scores=one.scores[::-1].copy()) for number, one in part.items()}
    paired = paired_difference(read_truth(dataset), SHAPES, part, worse, chosen, resamples=4)
    assert abs(paired.value) > 0.01, "the two sides are to differ"
    numbers = 2 * len(SUMMARY) + len(paired.numbers) + len(paired.per_class)
    right = read_pair(ruler, paired, part, worse)
    assert (right.n, right.value <= 1e-12) == (numbers, True), right.where
    named = {f"{name} of the {side}" for name in SUMMARY for side in ("reference", "candidate")}
    named |= {f"difference in {name}" for name in SUMMARY}
    named |= {f"difference in AP of {name}" for name in paired.per_class}
    assert set(right.details["pycocotools"]) == named
    higher = dataclasses.replace(paired.numbers["mAP"], value=paired.value + 0.001)
    wrong = read_pair(ruler, dataclasses.replace(paired, numbers=paired.numbers | {"mAP": higher}), part, worse)
    assert wrong.value == pytest.approx(0.001)
    assert wrong.where.startswith("difference in mAP is ")
    swapped = dict(zip(paired.per_class, [*paired.per_class.values()][::-1], strict=True))
    wrong = read_pair(ruler, dataclasses.replace(paired, per_class=swapped), part, worse)
    assert wrong.where.startswith("difference in AP of "), "classes under each other's names"
    unknown = {"unicorn": paired.numbers["mAP"]}
    wrong = read_pair(ruler, dataclasses.replace(paired, per_class=unknown), part, worse)
    where = f"difference in AP of unicorn is {paired.value:.9g} here and nan by pycocotools"
    assert (wrong.value, wrong.where) == (math.inf, where)


def read_pair(ruler, paired, reference, candidate):
    """The measurement of a run on part of the pictures."""
    readings = Readings(ruler)
    readings.read_pair(paired, reference, candidate)
    return readings.measurement("accuracy.ruler")


@pytest.mark.parametrize("ours", [{}, {"mAP": float("nan")}, {"AP of a class that is none": 0.5}])
def test_a_number_that_is_missing_is_infinitely_wrong(ruler, detected, ours):
    """Neither fewer numbers nor NaN make a right ruler, nor does a class that pycocotools does not know."""
    readings, theirs = Readings(ruler), ruler.numbers(detected)
    readings.read("", {name: theirs[name] for name in SUMMARY} | ours if ours else {}, detected)
    assert readings.measurement("accuracy.ruler").value == float("inf")


def test_a_class_that_is_missing_is_infinitely_wrong(ruler, detected):
    """An evaluation without classes lacks none; one with some has all that pycocotools has."""
    some = dict(list(detected.items())[::12])
    readings, theirs = Readings(ruler), ruler.numbers(some, list(some))
    lost = next(name for name in theirs if name.startswith("AP of "))
    assert readings.read("of us", {name: theirs[name] for name in SUMMARY}, some, list(some)) == theirs
    assert readings.measurement("accuracy.ruler").value == 0
    readings.read("of us", {name: value for name, value in theirs.items() if name != lost}, some, list(some))
    wrong = readings.measurement("accuracy.ruler")
    assert (wrong.n, wrong.value) == (len(SUMMARY) + len(theirs), math.inf)
    assert wrong.where == f"{lost} of us is nan here and {theirs[lost]:.9g} by pycocotools"


def test_nothing_read_is_nothing_measured(ruler):
    """`n` 0 is NO VERDICT."""
    nothing = Measurement("distance from pycocotools", 0.0, "AP", 0, "", {"pycocotools": {}}, gate="accuracy.ruler")
    assert Readings(ruler).measurement("accuracy.ruler") == nothing


def test_the_largest_error_is_named(ruler):
    """Of either sign, with both numbers and all of pycocotools'; what it does not have is text, since JSON has no NaN."""
    readings = Readings(ruler, [("mAP of us", 0.5, 0.375), ("AP50 of us", 0.125, 0.875), ("APs of us", 0.25, 0.75)])
    where = "AP50 of us is 0.125 here and 0.875 by pycocotools"
    theirs = {"mAP of us": 0.375, "AP50 of us": 0.875, "APs of us": 0.75}
    assert readings.measurement("accuracy.ruler") == Measurement(
        "distance from pycocotools", 0.75, "AP", 3, where, {"pycocotools": theirs}, gate="accuracy.ruler"
    )
    missing = Readings(ruler, [("mAP of us", 0.5, math.nan)]).measurement("accuracy.ruler")
    assert (missing.value, missing.details) == (math.inf, {"pycocotools": {"mAP of us": "nan"}})
    assert Readings(ruler, [("mAP of us", 1e-12, 0.0)]).measurement("accuracy.ruler").where == "", "a last bit is none"


def test_the_same_detections_are_evaluated_once(ruler, detected, monkeypatch):
    """The reference is read for its own gate and again beside the candidate."""
    expected = ruler.numbers(detected)
    chosen = sorted(detected)[::3]
    of_some = ruler.numbers(detected, chosen)
    assert of_some != expected, "a part of the pictures has its own numbers"
    monkeypatch.setattr(Ruler, "_evaluate", lambda *_: pytest.fail("evaluated again"))
    assert ruler.numbers(detected) == ruler.numbers(detected, sorted(detected)[::-1]) == expected
    assert ruler.numbers(detected, chosen[::-1]) == of_some


def test_nothing_found_is_zero(dataset, ruler):
    """loadRes cannot take it."""
    assert error(dataset, ruler, {picture.id: NOTHING for picture in dataset.pictures}).value == 0


def test_it_says_nothing_on_the_terminal(dataset, detected, capsys):
    """pycocotools reports every step."""
    Ruler(dataset.annotations, SHAPES).numbers(detected)
    assert capsys.readouterr().out == ""


def test_classes_may_have_other_names_than_categories(dataset, ruler, detected, tmp_path):
    """Where somebody said which is which. What is found of a class without a category counts for nothing, not for category 1."""
    document = json.loads(dataset.annotations.read_bytes())
    moved = next(record for record in document["categories"] if record["name"] == SHAPES.classes[0])["id"]
    for record, key in [
        *((each, "id") for each in document["categories"]),
        *((each, "category_id") for each in document["annotations"]),
    ]:
        record[key] = 1 if record[key] == moved else record[key]
    annotations = tmp_path / "with_a_category_1.json"
    annotations.write_text(json.dumps(document))
    first, *others = SHAPES.classes
    contract = dataclasses.replace(SHAPES, classes=("square", *others, "unicorn"))
    unicorn = Detections(np.array([[0, 0, 40, 40]], np.float32), np.ones(1, np.float32), np.array([len(others) + 1]))
    some = dict(list(detected.items())[::12])
    number = next(iter(some))
    joined = Detections(
        *(np.concatenate([getattr(side, part) for side in (some[number], unicorn)]) for part in ("boxes", "scores", "labels"))
    )  # fmt: skip
    found = Ruler(annotations, contract, {first: "square"}).numbers({**some, number: joined}, list(some))
    assert found == {name.replace(first, "square"): value for name, value in ruler.numbers(some, list(some)).items()}


def test_what_an_annotation_file_leaves_out_is_completed(dataset, detected, ruler, tmp_path):
    """pycocotools stops without an area or a crowd flag; that ids are written 7.0 makes no difference."""
    document = json.loads(dataset.annotations.read_bytes())
    for record in document["annotations"]:
        record |= {"area": record["bbox"][2] * record["bbox"][3], "iscrowd": 0}
    paths = [tmp_path / "complete.json", tmp_path / "bare.json"]
    paths[0].write_text(json.dumps(document))
    for record in document["annotations"]:
        del record["area"], record["iscrowd"]
    for record in [*document["images"], *document["categories"], *document["annotations"]]:
        record |= {key: float(value) for key, value in record.items() if key in ("id", "image_id", "category_id")}
    paths[1].write_text(json.dumps(document))
    some = dict(list(detected.items())[::5])
    complete, bare = (Ruler(path, SHAPES).numbers(some, list(some)) for path in paths)
    assert bare == complete
    assert complete != ruler.numbers(some, list(some)), "areas of masks are to differ from those of boxes"


def test_two_categories_of_one_name_are_refused(dataset, tmp_path):
    """Nothing says which of them a class is."""
    document = json.loads(dataset.annotations.read_bytes())
    document["categories"].append({"id": 999, "name": SHAPES.classes[0]})
    (tmp_path / "two.json").write_text(json.dumps(document))
    with pytest.raises(DatasetError, match="no category of its own for each name"):
        Ruler(tmp_path / "two.json", SHAPES)


def test_a_class_without_a_category_is_refused(dataset):
    """As in the evaluation."""
    classes = ("unicorn", *SHAPES.classes, "griffin", "dragon", "yeti")
    with pytest.raises(DatasetError, match="no category of its own for unicorn, griffin, dragon\n"):
        Ruler(dataset.annotations, dataclasses.replace(SHAPES, classes=classes))
