"""Every picture counts exactly once, whatever was lost, invented or read twice."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from fcos_lib.measure import Measurement
from fcos_lib.measure.detections.coverage import coverage, unlike
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.sessions import Detections
from tests.unit.measure.builders import NOTHING, detections
from tests.unit.stream.references_worker import HEIGHT, WIDTH, opened

PICTURES = [Picture(number, Path(f"{number}.jpg"), 10, 10) for number in (1, 2, 3)]


def one(score):
    """A single detection."""
    return detections((1, 1, 1, 1, score, 0))


LONG = detections((10, 10, 60, 40, 0.6, 0))


def parts(result):
    """Its arrays."""
    return result.boxes, result.scores, result.labels


def moved(result, score=0.0, box=0.0):
    """The same detection a little elsewhere."""
    return Detections(result.boxes + np.float32(box), result.scores + np.float32(score), result.labels)


def nobody(pictures):
    """A reference that must not be asked: it may take seconds for each picture."""
    raise AssertionError(f"the reference was asked about {len(pictures)} pictures that are not alike")


def test_different_results_for_each_picture_are_fine_and_so_are_empty_ones():
    """Two empty pictures are alike without being one."""
    measurement = coverage(PICTURES, {1: one(0.5), 2: NOTHING, 3: NOTHING}, nobody)
    assert (measurement.value, measurement.n, measurement.where, measurement.details["empty"]) == (0, 3, "", 2)


@pytest.mark.parametrize(
    ("detections", "words"),
    [
        ({1: one(0.5), 2: one(0.6)}, "1 without results: 3.jpg"),
        ({1: one(0.5), 2: one(0.6), 3: NOTHING, 9: one(0.7)}, "1 not asked for: picture 9"),
        ({1: one(0.5), 2: one(0.6), 3: one(0.6)}, "1 with the results of another picture: 3.jpg"),
    ],
)
def test_what_does_not_count_once_is_counted_and_named(detections, words):
    """Lost, invented, repeated."""
    measurement = coverage(PICTURES, detections, lambda pictures: {each.id: one(0.1 * each.id) for each in pictures})
    assert (measurement.value, measurement.where) == (1, words)


def test_three_of_each_kind_are_named_and_all_are_counted():
    """Four of six pictures are lost, three came that nobody asked for; one was empty."""
    pictures = [Picture(number, Path(f"{number}.jpg"), 10, 10) for number in range(1, 7)]
    results = {1: one(0.5), 2: NOTHING, 7: one(0.7), 8: one(0.8), 9: one(0.9)}
    counted = {"without results": 4, "not asked for": 3, "with the results of another picture": 0}
    assert coverage(pictures, results, nobody) == Measurement(
        "pictures not counted once",
        7.0,
        "pictures",
        6,
        "4 without results: 3.jpg, 4.jpg, 5.jpg, ...; 3 not asked for: picture 7, picture 8, picture 9",
        {**counted, "empty": 1, "alike": []},
        gate="accuracy.not_counted_once",
    )


def test_pictures_that_are_alike_for_the_reference_too_are_counted_once_each():
    """The same picture twice in a dataset, or two files that decode alike: nothing is wrong with the candidate."""
    measurement = coverage(
        PICTURES, {1: one(0.5), 2: one(0.6), 3: one(0.6)}, lambda pictures: {each.id: one(0.7) for each in pictures}
    )
    assert (measurement.value, measurement.where, measurement.details["alike"]) == (0, "", ["3.jpg"])


def test_a_copy_beside_twins_is_still_found():
    """Of three equal results two are of twins, and one was copied."""
    reference = {1: one(0.7), 2: one(0.7), 3: one(0.2)}
    measurement = coverage(
        PICTURES,
        dict.fromkeys((1, 2, 3), one(0.6)),
        lambda pictures: {each.id: reference[each.id] for each in pictures},
    )
    assert (measurement.value, measurement.details["alike"]) == (1, ["2.jpg"])
    assert "3.jpg" in measurement.where


def test_the_reference_is_not_asked_about_thousands_of_copies():
    """A device that returns one result for everything must not cost hours."""
    pictures = [Picture(number, Path(f"{number}.jpg"), 10, 10) for number in range(5000)]
    asked = []

    def reference(some):
        asked.extend(some)
        return {each.id: Detections(LONG.boxes, LONG.scores, LONG.labels + each.id) for each in some}

    measurement = coverage(pictures, dict.fromkeys(range(5000), one(0.6)), reference)
    assert measurement.value > 4990, f"{measurement.value} of 5000 pictures are said to have another one's results"
    assert len(asked) <= 40, f"the reference was asked about {len(asked)} pictures"


def test_copies_of_many_pictures_are_all_counted():
    """Ten pictures came three times each: all but one of each count, whether or not the reference was still asked."""
    pictures = [Picture(number, Path(f"{number}.jpg"), 10, 10) for number in range(30)]
    results = {number: one(0.5 + 0.01 * (number // 3)) for number in range(30)}
    asked = []

    def reference(some):
        asked.extend(some)
        return {each.id: Detections(LONG.boxes, LONG.scores, LONG.labels + each.id) for each in some}

    measurement = coverage(pictures, results, reference)
    assert measurement.value == 20, measurement.where
    assert len(asked) < 20, f"the reference was asked about {len(asked)} pictures"


def test_many_twins_are_all_found_to_be_alike():
    """A dataset with each picture twice: all of them are asked about, a few at a time."""
    pictures = [Picture(number, Path(f"{number}.jpg"), 10, 10) for number in range(100)]
    results = {picture.id: one(0.3 + 0.01 * (picture.id // 2)) for picture in pictures}
    measurement = coverage(pictures, results, lambda some: {each.id: results[each.id] for each in some})
    assert (measurement.value, len(measurement.details["alike"])) == (0, 50), measurement.where


@pytest.mark.parametrize(
    ("other", "wrong"),
    [
        (moved(LONG, score=0.0002), 0),
        (moved(LONG, box=0.02), 0),
        (moved(LONG, score=0.1), 1),
        (moved(LONG, box=10), 1),
        (Detections(LONG.boxes, LONG.scores, LONG.labels + 1), 1),
        (Detections(*(np.concatenate(both) for both in zip(parts(LONG), parts(moved(LONG, box=60)), strict=True))), 1),
        (NOTHING, 1),
    ],
    ids=["score_within_fp16", "box_within_fp16", "score", "box", "class", "one_more", "nothing"],
)
def test_what_fp16_cannot_tell_apart_is_alike(other, wrong):
    """Two frames of a camera that stands still: float32 shows a difference and the device does not."""
    for reference in ({1: LONG, 2: other}, {1: other, 2: LONG}):
        measurement = coverage(
            PICTURES[:2],
            dict.fromkeys((1, 2), LONG),
            lambda some, reference=reference: {each.id: reference[each.id] for each in some},
        )
        assert measurement.value == wrong, measurement.where


@pytest.mark.parametrize("first", [NOTHING, one(0.06)], ids=["nothing in both", "nothing in one"])
@pytest.mark.parametrize(("score", "wrong"), [(0.06, 0), (0.1, 1), (0.4, 1)])
def test_where_the_reference_finds_nothing_only_faint_results_are_alike(first, score, wrong):
    """Rounding brings about a score just above the threshold; a clear one was copied from somewhere."""
    reference = {1: first, 2: NOTHING}
    measurement = coverage(
        PICTURES[:2], dict.fromkeys((1, 2), one(score)), lambda some: {each.id: reference[each.id] for each in some}
    )
    assert measurement.value == wrong, measurement.where


@pytest.fixture
def folder(tmp_path):
    """Real JPEGs: two drawings, one of them twice, and once more with other metadata; and a reference that decodes them."""
    (tmp_path / "pictures").mkdir()
    random = np.random.default_rng(5)
    first, second = (random.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8) for _ in range(2))
    data = [cv2.imencode(".jpg", pixels)[1].tobytes() for pixels in (first, second)]
    comment = b"\xff\xfe" + (2 + 5).to_bytes(2, "big") + b"other"
    files = {1: data[0], 2: data[1], 3: data[0], 4: data[0][:2] + comment + data[0][2:]}
    pictures = []
    for number, content in files.items():
        path = tmp_path / "pictures" / f"{number}.jpg"
        path.write_bytes(content)
        pictures.append(Picture(number, path, WIDTH, HEIGHT))
    return pictures, opened(tmp_path / "references", audit_share=0)


def test_a_file_that_is_there_twice_and_one_that_decodes_alike_are_no_fault_of_the_candidate(folder):
    """The candidate finds the same in pictures 1, 3 and 4; so does the reference."""
    pictures, references = folder
    measurement = coverage(pictures, {1: one(0.6), 2: one(0.5), 3: one(0.6), 4: one(0.6)}, references.detections)
    assert (measurement.value, measurement.details["alike"]) == (0, ["3.jpg", "4.jpg"]), measurement.where


def test_a_copied_slot_beside_real_twins_is_found(folder):
    """All four have the results of one, and picture 2 is another picture."""
    pictures, references = folder
    measurement = coverage(pictures, dict.fromkeys((1, 2, 3, 4), one(0.6)), references.detections)
    assert (measurement.value, measurement.where) == (1, "1 with the results of another picture: 2.jpg")


def test_results_without_any_detection_are_told_of_as_a_whole():
    """Three pictures would be named otherwise, as if they were exchanged."""
    reference = dict.fromkeys((1, 2, 3), LONG)
    said = unlike(reference, dict.fromkeys(reference, NOTHING))
    assert said.value == 3
    assert said.where.startswith("0 detections on 3 pictures, in which 3 are expected; three things to check")
    partly = unlike(reference, {1: NOTHING, 2: LONG, 3: LONG})
    assert partly.where == "picture 1: 100% without a partner"


A, B, C = ((x, 0, x + 10, 10, score, 0) for x, score in ((0, 0.9), (50, 0.8), (100, 0.7)))


@pytest.mark.parametrize(
    ("expected", "seen", "share"),
    [
        ([A, B], [A], None),
        ([A, B], [A, C], "50%"),
        ([A], [(*A[:5], 1)], "100%"),
        ([A], [(0, 0, 10, 5, 0.6, 0)], None),
        ([A], [(0, 0, 10, 4.9, 0.6, 0)], "100%"),
        ([(*A[:4], 0.3, 0)], [(*B[:4], 0.29, 0)], "100%"),
        ([(*A[:4], 0.29, 0)], [(*B[:4], 0.29, 0)], None),
        ([A], [(np.inf, 0, np.inf, 10, 0.9, 0)], "100%"),
    ],
    ids=[
        "one_of_three",
        "half",
        "another_class",
        "half_the_box",
        "less_of_the_box",
        "just_strong",
        "all_faint",
        "infinite",
    ],
)
def test_a_picture_is_unlike_from_half_of_its_strong_detections_on(expected, seen, share):
    """Those of both sides count, from a score of 0.3; a partner has the same class and an IoU of 0.5."""
    reference = {7: detections(*expected), 8: LONG}
    for first, second in ((reference, {7: detections(*seen), 8: LONG}), ({7: detections(*seen), 8: LONG}, reference)):
        measurement = unlike(first, second)
        assert measurement == Measurement(
            "pictures unlike the reference's",
            1.0 if share else 0.0,
            "pictures",
            2,
            f"picture 7: {share} without a partner" if share else "",
            gate="accuracy.unlike_reference",
        ), f"{share or 'too little'} is without a partner, and this is said: {measurement}"


@pytest.mark.parametrize(
    ("expected", "seen", "strange"),
    [(5, 0, True), (4, 0, False), (5, 10, True), (6, 11, False), (10, 5, True), (100, 51, False)],
)
def test_a_picture_is_unlike_with_twice_or_half_as_many_detections(expected, seen, strange):
    """However faint they are; fewer than five more or less may come of rounding."""
    faint = ((0, 0, 10, 10, 0.06, 0),)
    measurement = unlike({7: detections(*faint * expected), 8: LONG}, {7: detections(*faint * seen), 8: LONG})
    said = f"picture 7: {seen} detections, and {expected} are expected" if strange else ""
    assert (measurement.value, measurement.where) == (float(strange), said)


@pytest.mark.parametrize(("pictures", "end"), [(3, ""), (4, "; ...")])
def test_three_pictures_of_another_one_are_named(pictures, end):
    """The first three; whether there are more shows at the end."""
    there = {number: detections(A) for number in range(pictures)}
    measurement = unlike(there, dict.fromkeys(there, detections(B)))
    named = "; ".join(f"picture {number}: 100% without a partner" for number in (0, 1, 2))
    assert (measurement.value, measurement.where) == (pictures, named + end)
