"""A number becomes the right word, and the failure message can be read by a stranger."""

import math

import pytest

from fcos_lib.judge.limits import FILE, Limit, all_limits, find_limit
from fcos_lib.judge.verdict import Outcome, close_pair, decide, paragraph
from fcos_lib.measure import Measurement

AT_LEAST = Limit("accuracy.x", 0.359, True, "AP", "a paper")
AT_MOST = Limit("consistency.x", 3.0, False, "px", "a study")


def measured(value, n=10):
    """A measurement of this value."""
    return Measurement("mAP", value, "AP", n, "lowest class: cat 0.1")


@pytest.mark.parametrize(
    ("value", "limit", "stand_in", "outcome"),
    [
        (0.36, AT_LEAST, False, Outcome.PASS),
        (0.359, AT_LEAST, False, Outcome.PASS),
        (0.3589999, AT_LEAST, False, Outcome.FAIL),
        (3.0, AT_MOST, False, Outcome.PASS),
        (3.0001, AT_MOST, False, Outcome.FAIL),
        (math.nan, AT_LEAST, False, Outcome.FAIL),
        (math.nan, AT_MOST, False, Outcome.FAIL),
        (0.36, AT_LEAST, True, Outcome.STAND_IN),
        (0.1, AT_LEAST, True, Outcome.FAIL),
        (58.0, None, True, Outcome.STAND_IN),
        (58.0, None, False, Outcome.NO_VERDICT),
    ],
)
def test_the_outcome_follows_from_value_limit_and_place(value, limit, stand_in, outcome):
    """The limit itself is allowed, NaN never is, and the emulator never passes."""
    assert decide("accuracy", "batch8", measured(value), limit, stand_in=stand_in).outcome is outcome


def test_nothing_measured_is_never_green():
    """Zero samples against a limit must not let a test pass, whatever the value says."""
    for stand_in in (False, True):
        verdict = decide("accuracy", "batch8", measured(1.0, n=0), AT_LEAST, stand_in=stand_in)
        assert verdict.outcome is Outcome.NO_VERDICT
        assert not verdict.green


def test_the_paragraph_says_what_how_much_where_why_and_again():
    """Everything a stranger needs is in the failure."""
    text = paragraph(decide("accuracy", "batch8", measured(0.3551), AT_LEAST, stand_in=True), again="pytest -k x")
    for words in (
        "accuracy[batch8] mAP is FAIL",
        "0.3551 AP over 10 samples",
        "at least 0.359",
        "a paper",
        "lowest class",
        "STAND-IN",
        "pytest -k x",
    ):
        assert words in text


def test_a_near_miss_shows_enough_digits():
    """Never `0.359 (at least 0.359)`."""
    assert close_pair(0.35899999, 0.359) == ("0.35899999", "0.359")
    assert close_pair(0.359, 0.359) == ("0.359", "0.359")


def test_every_limit_has_a_unit_and_a_source():
    """A bound without a source is a guess."""
    limits = all_limits(FILE)
    assert limits, "limits.toml is empty"
    for limit in limits.values():
        assert limit.unit, limit.name
        assert len(limit.source) > 20, f"{limit.name} does not say where its bound comes from"


def test_the_published_accuracy_is_untouched():
    """35.9 % is 0.359."""
    assert find_limit("accuracy", "coco_r50", "mAP").bound == 0.359


def test_an_unknown_limit_is_none():
    """So that a gate without one says NO VERDICT."""
    assert find_limit("accuracy", "nothing", "mAP") is None


def test_a_misspelled_direction_is_refused(tmp_path):
    """`atleast` must not become `at most`."""
    path = tmp_path / "limits.toml"
    path.write_text('[a.b]\nbound = 1\ndirection = "atleast"\nunit = "x"\nsource = "y"\n')
    with pytest.raises(ValueError, match="atleast"):
        all_limits(path)


@pytest.mark.parametrize(
    ("interval", "outcome"),
    [
        ((0.36, 0.38), Outcome.PASS),
        ((0.34, 0.358), Outcome.FAIL),
        ((0.35, 0.37), Outcome.NO_VERDICT),
        ((0.359, 0.37), Outcome.PASS),
    ],
)
def test_a_limit_inside_the_interval_is_not_decided(interval, outcome):
    """Chance could have put the value on either side: neither green nor a failure of the model."""
    value = Measurement("mAP difference", sum(interval) / 2, "AP", 10, interval=interval)
    verdict = decide("accuracy", "batch8", value, AT_LEAST, stand_in=False)
    assert verdict.outcome is outcome
    assert verdict.green is (outcome is Outcome.PASS)
    text = paragraph(verdict, again="pytest")
    assert ("more samples would tell" in text) is (outcome is Outcome.NO_VERDICT)
    assert verdict.as_dict()["measurement"]["interval"] == interval


def test_every_limit_says_how_it_was_measured_or_who_published_it():
    """A bound without a birth certificate is an opinion: what was never on hardware says so."""
    for limit in all_limits(FILE).values():
        grounded = bool(limit.command and limit.n and limit.spread and limit.date)
        argued = any(
            words in limit.source
            for words in (
                "ModelZoo",
                "Never run on hardware",
                "contract itself",
                "same computation",
                "fp16 step",
                "emulator",
            )
        )
        assert grounded or argued, f"{limit.name}: {limit.source}"
