"""COCO's numbers are pycocotools', over every picture exactly once."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.errors import DatasetError
from fcos_lib.measure.coco import matching, weighted
from fcos_lib.measure.coco.matching import match, match_rows
from fcos_lib.measure.coco.metrics import TWELVE, averages, evaluate, twelve_numbers
from fcos_lib.measure.coco.result_file import read_detections
from fcos_lib.measure.coco.rows import Rows, best_first, narrow, places_in_groups
from fcos_lib.measure.coco.ruler import numbers_of_files
from fcos_lib.measure.coco.truth import read_annotation_file, read_truth
from fcos_lib.stream.dataset import picture_set
from fcos_lib.stream.sessions import Detections
from tests.unit.measure.builders import CATEGORIES, CONTRACT, NOTHING, annotation, detections, shaken, write_dataset
from tests.unit.measure.result_files import by_pycocotools


def pycocotools_twelve(path, category_ids, detected):
    """The truth of the matter."""
    rows = [
        [number, box[0], box[1], box[2] - box[0], box[3] - box[1], score, category_ids[label]]
        for number, one in sorted(detected.items())
        for box, score, label in zip(one.boxes.tolist(), one.scores.tolist(), one.labels.tolist(), strict=True)
    ]
    stats = by_pycocotools(path, np.array(rows, np.float64).reshape(-1, 7)).stats
    return dict(zip(TWELVE, stats.tolist(), strict=True))


def generated(seed, first_id=1):
    """Annotations and detections full of ties: few sizes (the area borders among them), a coarse grid, few scores."""
    random = np.random.default_rng(seed)
    pictures = random.permutation(np.arange(1, 60))[: random.integers(1, 9)].tolist()
    sides = np.array([8, 16, 31, 32, 33, 64, 95, 96, 97, 128])
    annotations, detected = [], {}
    for picture in pictures:
        rows = []
        for _ in range(random.integers(0, 12)):
            box = [*(random.integers(0, 20, 2) * 8).tolist(), *random.choice(sides, 2).tolist()]
            crowd = int(random.random() < 0.15)
            more = {"iscrowd": crowd, "area": float(random.choice([box[2] * box[3], 1024, 9216, 1024.5, 700]))}
            if random.random() < 0.2:
                more["ignore"] = 1  # in the file, pycocotools overwrites it
            name = random.choice(["dog", "cat", "bird"])
            annotations.append(annotation(len(annotations) + first_id, picture, name, box, **more))
            for _ in range(random.integers(0, 4)):
                x, y, w, h = np.array(box) + random.integers(-2, 3, 4) * random.choice([0, 1, 4])
                label = CONTRACT.classes.index(name) if random.random() < 0.9 else random.integers(3)
                rows.append([x, y, x + w, y + h, random.integers(1, 8) / 8, label])
        many = 130 if random.random() < 0.1 else random.integers(0, 10)
        corners = random.integers(0, 160, (many, 2))
        noise = [corners, corners + random.choice(sides, (many, 2)), random.random((many, 1)), np.ones((many, 1))]
        rows += np.hstack(noise).tolist() if random.random() < 0.8 else []
        detected[picture] = detections(*(rows[i] for i in random.permutation(len(rows))))
    order = random.permutation(len(annotations))
    return [annotations[i] for i in order], detected


def test_the_twelve_are_named_in_pycocotools_order(tmp_path, capsys):
    """As its own summary prints them: AP or AR, over which IoU, for which sizes, of how many detections."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    opened = write_dataset(tmp_path / "coco", [annotation(1, 1, "cat", [0, 0, 9, 9])], [1])
    truth = COCO(str(opened.annotations))
    evaluation = COCOeval(truth, truth.loadRes(np.array([[1, 0, 0, 9, 9, 0.5, CATEGORIES["cat"]]])), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    capsys.readouterr()
    evaluation.summarize()
    printed = re.findall(r"\((A[PR])\) @\[ IoU=(\S+) +\| area= *(\w)\w* \| maxDets= *(\d+)", capsys.readouterr().out)
    names = []
    for kind, iou, area, most in printed:
        size = "" if area == "a" else area
        count = most if kind == "AR" and not size else ""
        names.append(f"{kind}{'' if ':' in iou else iou[-2:]}{size}{count}")
    assert ("mAP", *names[1:]) == TWELVE
    assert names[0] == "AP"


@pytest.mark.parametrize("seed", range(60))
def test_generated_sets_have_pycocotools_numbers(tmp_path, seed):
    """All twelve, with crowds, ties, empty classes and pictures, over 100 detections, sizes on the borders."""
    annotations, detected = generated(seed)
    opened = write_dataset(tmp_path / "coco", annotations, detected)
    measured = evaluate(opened, CONTRACT, detected).details
    expected = pycocotools_twelve(opened.annotations, opened.label_ids(CONTRACT), detected)
    assert measured["numbers"] == pytest.approx(expected, rel=0, abs=1e-12)
    assert measured["detections"] == sum(map(len, detected.values())), "those beyond the first 100 were given, too"


@pytest.mark.parametrize("seed", [0, 1])
def test_the_embedded_set_has_pycocotools_numbers(dataset, perfect, seed):
    """All twelve and nothing near them."""
    detected = shaken(perfect, 8, seed)
    expected = pycocotools_twelve(dataset.annotations, dataset.label_ids(SHAPES), detected)
    assert 0.1 < expected["mAP"] < 0.9, f"mAP {expected['mAP']} is near 0 or 1, where much could hide"
    assert evaluate(dataset, SHAPES, detected).details["numbers"] == pytest.approx(expected, rel=0, abs=1e-12)


def test_annotation_zero_counts_as_in_pycocotools(tmp_path):
    """There an object with the id 0 is taken, but never found; the number of record is pycocotools', quirks included."""
    box = [10, 10, 50, 50]
    detected = {1: detections([10, 10, 60, 60, 0.9, 0])}
    opened = write_dataset(tmp_path / "coco", [annotation(0, 1, "cat", box)], [1])
    assert pycocotools_twelve(opened.annotations, opened.label_ids(CONTRACT), detected)["mAP"] == 0
    assert evaluate(opened, CONTRACT, detected).value == 0
    for seed in range(10):
        annotations, detected = generated(seed, first_id=0)
        opened = write_dataset(tmp_path / str(seed), annotations, detected)
        expected = pycocotools_twelve(opened.annotations, opened.label_ids(CONTRACT), detected)
        assert evaluate(opened, CONTRACT, detected).details["numbers"] == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_a_weighted_picture_is_so_many_pictures(tmp_path, seed):
    """Weights 0, 1, 2, 3 give pycocotools' numbers for a set where each picture is there so often."""
    annotations, detected = generated(seed)
    random = np.random.default_rng(seed)
    # Copies of a picture stand side by side only if no two of its scores are equal, so each gets its own.
    detected = {n: replace(one, scores=random.random(len(one)).astype(np.float32)) for n, one in detected.items()}
    opened = write_dataset(tmp_path / "once", annotations, detected)
    matches = match(read_truth(opened), CONTRACT, detected)
    weights = random.integers(0, 4, len(detected))
    copies = [
        (n, 100 * n + k) for n, count in zip(sorted(detected), weights.tolist(), strict=True) for k in range(count)
    ]
    repeated = [
        {**record, "id": 1 + len(copies) * i + j, "image_id": copy}
        for i, record in enumerate(annotations)
        for j, (number, copy) in enumerate(copies)
        if record["image_id"] == number
    ]
    many = {copy: detected[number] for number, copy in copies}
    again = write_dataset(tmp_path / "repeated", repeated, many or [1])
    expected = pycocotools_twelve(again.annotations, again.label_ids(CONTRACT), many)
    assert twelve_numbers(matches, weights) == pytest.approx(expected, rel=0, abs=1e-12)


def test_several_weightings_at_once_are_the_same_as_one_by_one(dataset, perfect):
    """The bootstrap computes many at a time; in one of a single picture most classes have no object, in one of none no class has."""
    matches = match(read_truth(dataset), SHAPES, shaken(perfect, 8, 3))
    weights = np.random.default_rng(0).integers(0, 3, (5, len(perfect)))
    weights = np.vstack([weights, np.eye(len(perfect), dtype=int)[:5], np.zeros_like(weights[:1])])
    together = averages(matches, weights)
    assert together.twelve.shape == (12, len(weights))
    assert np.isnan(together.per_class[:, 5:10]).any(), "some class is missing in some picture"
    assert np.isnan(together.twelve[:, -1]).all()
    for index, row in enumerate(weights):
        alone = averages(matches, row[None])
        np.testing.assert_allclose(together.twelve[:, index], alone.twelve[:, 0], rtol=0, atol=1e-14)
        np.testing.assert_allclose(together.per_class[:, index], alone.per_class[:, 0], rtol=0, atol=1e-14)


def test_without_weights_every_picture_counts_once(dataset, perfect):
    """One weighting, the numbers of record."""
    matches = match(read_truth(dataset), SHAPES, shaken(perfect, 8, 3))
    once, ones = averages(matches), averages(matches, np.ones((1, len(perfect))))
    np.testing.assert_array_equal(once.twelve, ones.twelve)
    np.testing.assert_array_equal(once.per_class, ones.per_class)


@pytest.mark.parametrize("seed", range(0, 60, 3))
def test_the_layout_of_the_tables_changes_no_bit(tmp_path, seed, monkeypatch):
    """Columns that are full, begun and missing, parts of a few weightings and thresholds; with crowds, ties and other sizes."""
    annotations, detected = generated(seed)
    matches = match(read_truth(write_dataset(tmp_path, annotations, detected)), CONTRACT, detected)
    drawn = np.random.default_rng(seed).integers(0, 3, (11, len(detected)))
    drawn[0] = 1
    expected = averages(matches, drawn)
    once = averages(matches)
    np.testing.assert_allclose(expected.twelve[:, 0], once.twelve[:, 0], rtol=0, atol=1e-15)
    np.testing.assert_allclose(expected.per_class[:, 0], once.per_class[:, 0], rtol=0, atol=1e-15)
    for deep, least, at_once in ((2, 2, 1), (3, 5, 40), (100, 2, 1 << 18)):
        for name, value in (("DEEP", deep), ("LEAST", least), ("AT_ONCE", at_once)):
            monkeypatch.setattr(weighted, name, value)
        others = averages(matches, drawn)
        np.testing.assert_array_equal(others.twelve, expected.twelve, f"{deep} in a column, {at_once} at once")
        np.testing.assert_array_equal(others.per_class, expected.per_class, f"{deep} in a column, {at_once} at once")


@pytest.mark.parametrize("at_once", [1, 7, 50])
def test_how_many_overlaps_are_computed_together_changes_nothing(tmp_path, monkeypatch, at_once):
    """Whole detections at a time, with crowds and ties; a detection may share its picture with more objects than that."""
    annotations, detected = generated(4)
    truth = read_truth(write_dataset(tmp_path, annotations, detected))
    whole = match(truth, CONTRACT, detected)
    assert len(whole.rows) > 20, f"only {len(whole.rows)} detections overlap an object"
    monkeypatch.setattr(matching, "_PAIRS_AT_ONCE", at_once)
    parts = match(truth, CONTRACT, detected)
    for name in ("picture", "scores", "starts", "inside", "rows", "rank", "right", "moved", "objects"):
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name), err_msg=name)


def test_the_truth_scores_one(dataset, perfect):
    """And every class has its number."""
    measured = evaluate(dataset, SHAPES, perfect)
    assert measured.value == pytest.approx(1.0)
    assert measured.n == len(dataset.pictures)
    assert set(measured.details["numbers"]) == set(TWELVE)
    assert set(measured.details["per_class"]) == set(SHAPES.classes)


def test_the_measurement_names_the_lowest_class(tmp_path):
    """The number of record with its unit, over how many pictures, and the class to look at first; a class without objects is none."""
    box = [10, 10, 50, 50]
    opened = write_dataset(
        tmp_path / "coco",
        [annotation(1, 1, "cat", box), annotation(2, 1, "dog", box), annotation(3, 2, "dog", box)],
        [1, 2],
    )
    rows = [[10, 10, 60, 60, 0.9, 0], [10, 10, 60, 60, 0.8, 1]]
    measured = evaluate(opened, CONTRACT, {1: detections(*rows), 2: NOTHING})
    half = 51 / 101  # of the recalls 0, 0.01 ... 1 the first 51 are reached
    assert (measured.name, measured.unit, measured.n) == ("mAP", "AP", 2)
    assert measured.value == measured.details["numbers"]["mAP"] == pytest.approx((1 + half) / 2)
    assert measured.details["per_class"] == {"cat": pytest.approx(1.0), "dog": pytest.approx(half)}
    assert measured.where == "lowest class: dog 0.505"
    assert (measured.details["detections"], measured.details["empty_pictures"]) == (2, 1)


def test_coverage_is_recorded(dataset, perfect):
    """Which annotations, which category for which class, how many pictures without a detection: JSON-ready."""
    details = evaluate(dataset, SHAPES, {**perfect, dataset.pictures[0].id: NOTHING}).details
    assert details["annotations_sha256"] == dataset.annotations_sha256
    assert details["data_set"] == picture_set(dataset)
    remarked = evaluate(replace(dataset, remarks=("an area of 0", "two names")), SHAPES, perfect)
    assert (remarked.details["remarks"], remarked.gate) == (["an area of 0", "two names"], "accuracy.mAP")
    assert details["category_ids"] == {name: dataset.category_ids[name] for name in SHAPES.classes}
    assert list(details["category_ids"]) == list(SHAPES.classes)
    assert details["empty_pictures"] == 1 + sum(not len(perfect[picture.id]) for picture in dataset.pictures[1:])
    assert json.loads(json.dumps(details)) == details


def test_labels_shifted_by_one_score_nothing(dataset, perfect):
    """The category map matters: ids are neither contiguous nor alphabetical."""
    shifted = {
        number: Detections(detected.boxes, detected.scores, (detected.labels + 1) % len(SHAPES.classes))
        for number, detected in perfect.items()
    }
    value = evaluate(dataset, SHAPES, shifted).value
    assert value < 0.05, f"mAP {value} with every label shifted by one"


def test_nothing_found_is_zero_and_not_a_crash(dataset):
    """An untrained model may find nothing at all."""
    assert evaluate(dataset, SHAPES, {picture.id: NOTHING for picture in dataset.pictures}).value == 0


def test_no_object_is_minus_one_and_not_a_crash(tmp_path):
    """pycocotools' word for "nothing to find"."""
    opened = write_dataset(tmp_path / "coco", [], [1, 2])
    measured = evaluate(opened, CONTRACT, {1: detections([0, 0, 9, 9, 0.5, 0]), 2: NOTHING})
    assert set(measured.details["numbers"].values()) == {-1.0}
    assert (measured.n, measured.where) == (0, "no class has an object")


FABLED = replace(SHAPES, classes=(*SHAPES.classes, "unicorn", "griffin", "dragon", "yeti"))


@pytest.mark.parametrize(
    ("contract", "change", "words"),
    [
        (
            SHAPES,
            lambda detected: dict(list(detected.items())[5:]) | dict.fromkeys((99, 6, 88, 77), NOTHING),
            "5 of 240 pictures have no result (first: [1000, 1007, 1014]) and 4 results belong to no picture (first: [6, 77, 88])",
        ),
        (SHAPES, lambda detected: detected | {99: NOTHING}, "0 of 240 pictures have no result (first: []) and 1 results"),
        (FABLED, lambda detected: detected, "4 classes of contract 'shapes' are no categories of the dataset (first: ['unicorn', 'griffin', 'dragon'])"),
    ],
    ids=["missing_pictures", "unknown_picture", "unknown_class"],
)  # fmt: skip
def test_what_is_of_another_data_set_is_refused(dataset, perfect, contract, change, words):
    """An average over other pictures is another number, and a class that is not there was not missed."""
    with pytest.raises(DatasetError, match=f"^{re.escape(words)}"):
        evaluate(dataset, contract, change(perfect))


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([0, 1, 8, 9, 0.5, 3], "label 3, score 0.5, box [0.0, 1.0, 8.0, 9.0]\n  → labels are 0 to 2, scores and boxes"),
        ([0, 1, 8, 9, 0.5, -1], "label -1, score 0.5"),
        ([0, 1, 8, np.nan, 0.5, 0], "label 0, score 0.5, box [0.0, 1.0, 8.0, nan]"),
        ([0, 1, 8, 9, np.inf, 0], "label 0, score inf"),
    ],
)
def test_what_is_no_detection_is_refused(tmp_path, row, words):
    """A negative label would otherwise be another class, a NaN would sort anywhere. The first of them is named."""
    opened = write_dataset(tmp_path / "coco", [annotation(1, 7, "cat", [0, 0, 9, 9])], [5, 7, 9])
    good = [0, 0, 9, 9, 0.5, 2]
    found = {5: detections(good), 7: detections(good, row), 9: detections(row)}
    words = f"2 detections are no results of contract 'shapes', the first in picture 7: {words}"
    with pytest.raises(DatasetError, match=f"^{re.escape(words)}"):
        evaluate(opened, CONTRACT, found)


def test_part_of_the_pictures_is_what_pycocotools_finds_in_them(tmp_path):
    """A subset is a dataset of its own."""
    annotations, detected = generated(5)
    opened = write_dataset(tmp_path / "all", annotations, detected)
    chosen = sorted(detected)[::2]
    part = write_dataset(tmp_path / "part", [a for a in annotations if a["image_id"] in chosen], chosen)
    some = {number: detected[number] for number in chosen}
    expected = pycocotools_twelve(part.annotations, part.label_ids(CONTRACT), some)
    measured = twelve_numbers(match(read_truth(opened).only(chosen), CONTRACT, some))
    assert measured == pytest.approx(expected, rel=0, abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("scores", [[-2.5, -1.0, -0.0, 0.0, 1e-310, 7.0], [0.1, float(np.nextafter(0.1, 1)), 0.5]])
def test_rows_in_any_order_have_pycocotools_numbers(tmp_path, seed, scores):
    """Scores of either sign, of either zero and a last bit apart, not in the order of the pictures, over 100 of a category."""
    random = np.random.default_rng(seed)
    pictures = [3, 70_000, 12, 5]
    objects = [
        annotation(number, int(random.choice(pictures)), str(random.choice(["cat", "dog"])), [*(random.integers(0, 9, 2) * 8).tolist(), 40, 30])
        for number in range(1, 30)
    ]  # fmt: skip
    path = write_dataset(tmp_path, objects, pictures).annotations
    entries = [
        {"image_id": each["image_id"], "category_id": each["category_id"], "bbox": (np.array(each["bbox"]) + random.integers(-4, 5, 4)).tolist(), "score": float(random.choice(scores))}
        for each in random.choice(objects, 1200)
    ]  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps(entries))
    truth = read_annotation_file(path).truth
    ours = twelve_numbers(match_rows(truth, read_detections(tmp_path / "results.json", truth)))
    theirs = numbers_of_files(path, tmp_path / "results.json")
    assert set(theirs) == {*TWELVE, "AP of cat", "AP of dog"}, "classes without an object have no AP"
    for name in TWELVE:
        assert abs(ours[name] - theirs[name]) <= 1e-12, f"{name} is {ours[name]!r}, pycocotools has {theirs[name]!r}"


@pytest.mark.parametrize(("largest", "below"), [(65_535, 65_536), (65_536, 65_537)])
def test_indices_are_sorted_in_a_type_that_holds_them(largest, below):
    """More pictures or categories than 16 bits can count must not become each other."""
    assert narrow(np.array([3, largest]), below).tolist() == [3, largest]


def test_scores_are_sorted_by_every_bit():
    """Numbers of either sign that differ in one bit each from two others, as Python sorts them."""
    bits = np.concatenate([np.float64([value]).view(np.int64) ^ (1 << np.arange(63)) for value in (0.3, -0.3)])
    scores = bits.view(np.float64)
    scores = np.random.default_rng(0).permutation(scores[np.isfinite(scores)])
    none = np.zeros(len(scores), np.int64)
    rows = Rows(np.zeros((len(scores), 4)), scores, none, none)
    assert best_first(rows, 1, 1).tolist() == sorted(range(len(scores)), key=lambda row: -scores[row])


def test_an_object_of_part_of_a_pixel_is_found(tmp_path):
    """Objects that are far away are small."""
    opened = write_dataset(tmp_path, [annotation(1, 1, "cat", [10, 10, 0.5, 0.25])], [1])
    assert evaluate(opened, CONTRACT, {1: detections([10, 10, 10.5, 10.25, 0.9, 0])}).value == pytest.approx(1.0)


def test_places_in_groups_begin_anew_with_each_group():
    """Whatever its number is."""
    assert places_in_groups(np.array([1, 1, 1, 4, 0, 0])).tolist() == [0, 1, 2, 0, 0, 1]
    assert places_in_groups(np.array([0, 2, 2])).tolist() == [0, 0, 1]
