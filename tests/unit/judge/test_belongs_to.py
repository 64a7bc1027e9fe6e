"""A limit judges what it was published or measured for, and a broken instrument judges nothing."""

import json
from dataclasses import replace

import pytest

from fcos_lib.evidence.results import stored_verdict
from fcos_lib.judge.gate import Scope
from fcos_lib.judge.gates import GATES
from fcos_lib.judge.limits import PictureSet, all_limits, find_limit
from fcos_lib.judge.limits_file import expected_limits
from fcos_lib.judge.verdict import Outcome, decide, judge_gate, paragraph
from fcos_lib.measure import Measurement
from fcos_lib.stream.dataset import Picture, open_dataset, picture_set
from fixtures.settings import EMBEDDED

COCO, SHAPES = Scope("coco_r50", batch=8), Scope("shapes", batch=8)
VAL2017 = {"count": 5000, "first": 139, "last": 581781, "ids_sha256": "0" * 64}


@pytest.fixture(scope="module")
def shapes():
    """The embedded default."""
    return open_dataset(EMBEDDED)


def published(value, **pictures):
    """mAP as published over these pictures."""
    details = {"data_set": VAL2017 | pictures}
    return Measurement("mAP as published", value, "AP", 4952, details=details, gate="accuracy.mAP_as_published")


def test_the_published_limit_judges_val2017():
    """Either way."""
    for value, outcome in ((0.3591, Outcome.PASS), (0.3589, Outcome.FAIL)):
        verdict = judge_gate(published(value), COCO, "batch8", stand_in=False)
        assert verdict.outcome is outcome
        assert not verdict.says_nothing


@pytest.mark.parametrize("stand_in", [True, False], ids=["emulator", "hardware"])
@pytest.mark.parametrize("value", [0.5094, 0.1])
@pytest.mark.parametrize(
    ("pictures", "words"),
    [
        ({"count": 8, "first": 139, "last": 1000}, "0.359 is a limit for val2017; this folder holds 8 pictures"),
        ({"count": 1}, "this folder holds 1 picture"),
        ({"count": 4999, "last": 581615}, "this folder holds 4,999 pictures"),
        ({"last": 581615}, "this folder holds 5,000 other pictures"),
        ({"first": 9}, "this folder holds 5,000 other pictures"),
    ],
    ids=["eight", "one", "all_but_one", "another_last", "another_first"],
)
def test_other_pictures_are_no_verdict(stand_in, value, pictures, words):
    """Eight pictures of it were "PASS, 0.5094 AP over 8 samples"; a low mAP of others is no FAIL either."""
    verdict = judge_gate(published(value, **pictures), COCO, "batch8", stand_in=stand_in)
    assert verdict.outcome is Outcome.NO_VERDICT
    assert not verdict.green, "the test that asked has to fail"
    assert words in verdict.sentence()
    assert f"  but       {verdict.says_nothing}" in paragraph(verdict, again="pytest")


def test_pictures_that_are_not_named_are_no_verdict():
    """A run that an earlier release stored does not say what it saw."""
    old = replace(published(0.4), details={})
    verdict = judge_gate(old, COCO, "batch8", stand_in=False)
    assert (verdict.outcome, verdict.green) == (Outcome.NO_VERDICT, False)
    assert "does not say which pictures it is about" in verdict.sentence()


@pytest.mark.parametrize("name", ["accuracy.shapes.mAP", "accuracy.shapes.mAP_most", "accuracy_aipp.shapes.mAP"])
def test_the_limits_of_shapes_are_for_the_embedded_pictures(shapes, name):
    """By the digest of their ids: neither fewer nor the same number with one exchanged."""
    limit = all_limits()[name]
    assert not limit.foreign({"data_set": picture_set(shapes)})
    fewer = replace(shapes, pictures=shapes.pictures[:-1])
    assert "this folder holds 239 pictures" in limit.foreign({"data_set": picture_set(fewer)})
    exchanged = (*shapes.pictures[:100], Picture(shapes.pictures[99].id + 1, EMBEDDED, 1, 1), *shapes.pictures[101:])
    others = replace(shapes, pictures=exchanged)
    assert picture_set(others) != picture_set(shapes)
    assert "this folder holds 240 other pictures" in limit.foreign({"data_set": picture_set(others)})


def test_every_absolute_limit_of_accuracy_names_its_pictures():
    """A new one must not judge any folder that has the right categories."""
    absolute = [
        limit for name, limit in all_limits().items() if name.partition(".")[0].startswith("accuracy") and "mAP" in name
    ]
    assert len(absolute) >= 5, f"only {len(absolute)} absolute limits of accuracy were found"
    assert [limit.name for limit in absolute if limit.pictures is None] == []


def test_relative_limits_are_for_any_pictures():
    """Candidate against reference says as much on other pictures."""
    for name in ("paired.coco_r50.loss", "consistency.coco_r50.unexplained", "accuracy.unlike_reference"):
        assert all_limits()[name].pictures is None


def test_a_stored_verdict_is_read_back_with_its_pictures():
    """`judge` and the page decide and explain it as the run did."""
    verdict = judge_gate(published(0.5094, count=8), COCO, "batch8", stand_in=False)
    again = stored_verdict(json.loads(json.dumps(verdict.as_dict())))
    assert again.limit.pictures == PictureSet("val2017", 5000, 139, 581781)
    assert again.says_nothing == verdict.says_nothing
    assert decide("accuracy", "batch8", again.measurement, again.limit, stand_in=False).outcome is Outcome.NO_VERDICT


@pytest.mark.parametrize(("stand_in", "within"), [(True, Outcome.STAND_IN), (False, Outcome.PASS)])
@pytest.mark.parametrize("gate", ["accuracy.ruler", "accuracy.reference_ruler"])
def test_a_ruler_that_is_off_fails_no_model(gate, stand_in, within):
    """NO VERDICT, with which number and by how much; within its limit it is as green as anything else."""
    where = "mAP of the reference is 0.739 here and 0.668 by pycocotools"
    off = Measurement("distance from pycocotools", 0.071, "AP", 20, where, gate=gate)
    verdict = judge_gate(off, SHAPES, "batch8", stand_in=stand_in)
    assert (verdict.outcome, verdict.green) == (Outcome.NO_VERDICT, False)
    text = paragraph(verdict, again="pytest")
    assert "but       the ruler is off: nothing is known about the model" in text
    assert where in text
    right = judge_gate(replace(off, value=2e-16), SHAPES, "batch8", stand_in=stand_in)
    assert (right.outcome, right.says_nothing) == (within, "")
    nothing = judge_gate(replace(off, value=0.0, n=0), SHAPES, "batch8", stand_in=stand_in)
    assert (nothing.outcome, nothing.green) == (Outcome.NO_VERDICT, False)


def test_a_nan_of_the_ruler_is_no_verdict():
    """And so is infinity, which stands for a number that is missing."""
    for value in (float("nan"), float("inf")):
        measured = Measurement("distance from pycocotools", value, "AP", 20, gate="accuracy.ruler")
        assert judge_gate(measured, SHAPES, "batch8", stand_in=False).outcome is Outcome.NO_VERDICT


def test_a_stored_ruler_is_judged_again_as_it_was():
    """`judge` must not make a FAIL of it."""
    off = Measurement("distance from pycocotools", 0.071, "AP", 20, gate="accuracy.ruler")
    stored = stored_verdict(judge_gate(off, SHAPES, "batch8", stand_in=False).as_dict())
    assert decide("accuracy", "batch8", stored.measurement, stored.limit, stand_in=False).outcome is Outcome.NO_VERDICT


def test_ours_is_recorded_where_the_recipes_number_is_judged():
    """For coco_r50; for all others the other way round."""
    ours = Measurement("mAP", 0.2, "AP", 5000, details={"data_set": VAL2017}, gate="accuracy.mAP")
    verdict = judge_gate(ours, COCO, "batch8", stand_in=False)
    assert (verdict.limit, verdict.lacks, verdict.green) == (None, "", True)
    assert judge_gate(published(0.2), SHAPES, "batch8", stand_in=False).limit is None
    mine = judge_gate(ours, Scope("mine", batch=8), "batch8", stand_in=False)
    assert (mine.lacks, mine.green) == ("accuracy.mine.mAP", False), "a new contract has to have a limit for its mAP"


def test_limits_that_a_contract_does_not_have_are_not_asked_for():
    """And those that it has are."""
    coco, shapes, mine = (expected_limits(contract).keys() for contract in ("coco_r50", "shapes", "mine"))
    asked = {"accuracy.coco_r50.mAP_as_published", "accuracy_aipp.coco_r50.mAP_as_published"} - coco
    asked |= {"accuracy.shapes.mAP", "accuracy.shapes.mAP_most", "accuracy_aipp.shapes.mAP"} - shapes
    assert not asked, f"nobody asks for {sorted(asked)}"
    assert not {"accuracy.coco_r50.mAP", "accuracy.coco_r50.mAP_most", "accuracy.shapes.mAP_as_published"} & {
        *coco,
        *shapes,
    }
    assert "accuracy.mine.mAP" in mine
    assert find_limit("accuracy", "coco_r50", "mAP") is None


def test_the_references_mAP_is_bounded_on_both_sides():
    """0.739 was PASS when the IoU thresholds ended at 0.90."""
    lower, upper = all_limits()["accuracy.shapes.mAP"], all_limits()["accuracy.shapes.mAP_most"]
    assert lower.holds(0.668)
    assert upper.holds(0.668)
    assert not upper.holds(0.739)
    assert GATES["accuracy.reference_mAP_most"].limit_name(SHAPES) == upper.name
