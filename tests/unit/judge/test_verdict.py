"""A number becomes the right word, and the failure message can be read by a stranger."""

import json
import math

import pytest

from fcos_lib.judge.limits import FILE, Limit, all_limits
from fcos_lib.judge.verdict import Outcome, Verdict, close_pair, decide, paragraph, within
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
    verdict = decide("accuracy", "batch8", measured(0.3551), AT_LEAST, stand_in=True)
    assert paragraph(verdict, again="pytest -k x", saved=["a.json", "b.npz"]) == (
        "accuracy[batch8] mAP is FAIL\n"
        "  measured  0.3551 AP over 10 samples\n"
        "  limit     must be at least 0.359 AP  (limits.toml: accuracy.x)\n"
        "  because   a paper\n"
        "  where     lowest class: cat 0.1\n"
        "  STAND-IN  the emulator took part; no hardware was measured\n"
        "  saved     a.json\n"
        "  saved     b.npz\n"
        "  again     pytest -k x"
    )


def test_the_paragraph_of_an_interval_says_that_more_samples_would_tell():
    """And where nothing was saved, no place is known and no emulator took part, it says nothing of these."""
    value = Measurement("box difference", 2.9, "px", 10, interval=(2.81234, 3.1))
    verdict = decide("consistency", "batch8", value, AT_MOST, stand_in=False)
    assert paragraph(verdict, again="pytest") == (
        "consistency[batch8] box difference is NO VERDICT\n"
        "  measured  2.9 px over 10 samples\n"
        "  interval  2.812 to 3.1 px; the limit lies inside, more samples would tell\n"
        "  limit     must be at most 3 px  (limits.toml: consistency.x)\n"
        "  because   a study\n"
        "  again     pytest"
    )


def test_a_number_without_a_limit_has_a_paragraph_too():
    """Of what was measured, without a bound, or with the one that is missing; a text of many lines stays under its name."""
    value = Measurement("rate\nof rows", 58.0, "images\n/s", 20, "here\nand there", interval=(57.0, 59.0))
    for lacks, more in (
        ("", ""),
        ("rate.x", "  limit     limits.toml has no [rate.x]: set it with a source (docs/limits.md)\n"),
    ):
        verdict = decide("throughput", "batch8", value, None, stand_in=False, lacks=lacks)
        assert paragraph(verdict, again="pytest") == (
            "throughput[batch8] rate of rows is NO VERDICT\n"
            "  measured  58 images /s over 20 samples\n"
            "  interval  57 to 59 images /s; the limit lies inside, more samples would tell\n"
            f"{more}"
            "  where     here\n"
            "            and there\n"
            "  again     pytest"
        )


def test_the_paragraph_of_an_option_s_limit_names_the_option():
    """And none of limits.toml; an interval that lies on one side asks for no more samples."""
    value = Measurement("mAP difference", 0.2, "AP", 10, interval=(0.1, 0.3))
    verdict = decide("accuracy", "batch8", value, Limit("--min-delta", 0.0, True, "AP", "as asked"), stand_in=False)
    assert paragraph(verdict, again="fcos") == (
        "accuracy[batch8] mAP difference is PASS\n"
        "  measured  0.2 AP over 10 samples\n"
        "  interval  0.1 to 0.3 AP\n"
        "  limit     must be at least 0 AP  (--min-delta)\n"
        "  because   as asked\n"
        "  again     fcos"
    )


@pytest.mark.parametrize(
    ("value", "limit", "stand_in", "sentence"),
    [
        (0.3551, AT_LEAST, False, "FAIL: accuracy[batch8] mAP 0.3551 AP, must be at least 0.359 AP"),
        (0.35899999, AT_LEAST, False, "FAIL: accuracy[batch8] mAP 0.35899999 AP, must be at least 0.359 AP"),
        (2.0, AT_MOST, True, "STAND-IN: accuracy[batch8] mAP 2 AP, must be at most 3 px"),
        (0.36123456, None, False, "NO VERDICT: accuracy[batch8] mAP 0.3612 AP"),
    ],
)
def test_the_sentence_has_the_word_the_number_and_the_bound(value, limit, stand_in, sentence):
    """With as many digits as tell the number from the bound; without a limit there is no bound to name."""
    assert decide("accuracy", "batch8", measured(value), limit, stand_in=stand_in).sentence() == sentence


def test_a_verdict_is_json_with_its_gate_and_its_word():
    """As a script reads it in results.json: no interval where there is none, and the limit as it was."""
    data = decide("accuracy", "batch8", measured(0.3551).for_gate("accuracy.mAP"), AT_LEAST, stand_in=True).as_dict()
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert data == {
        "promise": "accuracy",
        "subject": "batch8",
        "outcome": "FAIL",
        "measurement": {
            "name": "mAP", "value": 0.3551, "unit": "AP", "n": 10, "where": "lowest class: cat 0.1", "details": {},
        },
        "limit": {
            "name": "accuracy.x", "bound": 0.359, "at_least": True, "unit": "AP", "source": "a paper", "command": "",
            "n": 0, "spread": "", "date": "", "derived": False, "pictures": None,
            "published": None,
        },
        "stand_in": True,
        "gate": "accuracy[batch8] mAP",
        "key": "accuracy.mAP",
        "lacks": "",
    }  # fmt: skip


@pytest.mark.parametrize(("value", "text"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_what_json_has_no_number_for_becomes_text(value, text):
    """NaN in a file would stop the next reader."""
    data = decide("accuracy", "batch8", measured(value), AT_LEAST, stand_in=False).as_dict()
    assert data["measurement"]["value"] == text
    assert json.dumps(data, allow_nan=False)


@pytest.mark.parametrize(
    ("value", "n", "limit", "stand_in", "green"),
    [
        (0.36, 10, AT_LEAST, False, True),
        (0.36, 10, AT_LEAST, True, True),
        (0.1, 10, AT_LEAST, False, False),
        (0.1, 10, AT_LEAST, True, False),
        (58.0, 1, None, False, True),
        (58.0, 0, None, False, False),
        (58.0, 0, None, True, False),
    ],
)
def test_a_test_passes_for_pass_stand_in_and_what_is_only_recorded(value, n, limit, stand_in, green):
    """A number without a limit is recorded, if it was measured at all."""
    verdict = decide("accuracy", "batch8", measured(value, n), limit, stand_in=stand_in)
    assert verdict.green is green, verdict


@pytest.mark.parametrize("outcome", list(Outcome), ids=lambda outcome: outcome.name)
def test_only_what_was_found_good_is_green(outcome):
    """Against a limit: a machine that failed is no success of the model, nor is a number that could not be judged."""
    verdict = Verdict("accuracy", "batch8", outcome, measured(0.36), AT_LEAST, stand_in=False)
    assert verdict.green is (outcome in (Outcome.PASS, Outcome.STAND_IN))


@pytest.mark.parametrize(
    ("value", "bound", "shown"),
    [
        (0.36123456, 0.359, ("0.3612", "0.359")),
        (0.35899999, 0.359, ("0.35899999", "0.359")),
        (0.359, 0.359, ("0.359", "0.359")),
        (1.00004, 1.0, ("1.00004", "1")),
        (0.1 + 0.2, 0.3, ("0.30000000000000004", "0.3")),
        (0.3, 0.1 + 0.2, ("0.3", "0.30000000000000004")),
    ],
)
def test_a_near_miss_shows_enough_digits(value, bound, shown):
    """Never `0.359 (at least 0.359)`, and never more digits than that takes."""
    assert close_pair(value, bound) == shown


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


@pytest.mark.parametrize("stand_in", [False, True])
def test_a_single_sample_with_an_interval_is_judged_like_many(stand_in):
    """One sample is one that was measured: a limit inside its interval is not decided, emulator or not."""
    value = Measurement("rate", 0.36, "%", 1, interval=(0.35, 0.37))
    assert decide("throughput", "batch8", value, AT_LEAST, stand_in=stand_in).outcome is Outcome.NO_VERDICT


def test_every_limit_says_how_it_was_measured_or_who_published_it():
    """A bound without a birth certificate is an opinion: what was never on hardware says so."""
    limits = all_limits(FILE).values()
    assert limits, "limits.toml is empty"
    known = ("ModelZoo", "Never run on hardware", "contract itself", "same computation", "fp16 step", "emulator")
    for limit in limits:
        grounded = bool(limit.command and limit.n and limit.spread and limit.date)
        assert grounded or any(words in limit.source for words in known), f"{limit.name}: {limit.source}"
        assert len(limit.source) > 20, f"the source of {limit.name} has {len(limit.source)} letters, which say nothing"


@pytest.mark.parametrize(
    ("ends", "outcome"),
    [
        ((-1.0,), Outcome.PASS),
        ((-1.01,), Outcome.FAIL),
        ((math.nan,), Outcome.FAIL),
        ((-1.0, 3.0), Outcome.PASS),
        ((-1.01, 3.0), Outcome.NO_VERDICT),
        ((-3.0, -1.0), Outcome.NO_VERDICT),
        ((-3.0, -1.01), Outcome.FAIL),
        ((-math.inf, math.inf), Outcome.NO_VERDICT),
    ],
)
def test_slower_is_one_rule(ends, outcome):
    """All of an interval below the floor is FAIL, all of it above is PASS; the floor itself is allowed, and no number never is."""
    floor = Limit("rate_against_champion.slower", -1.0, True, "%", "for this test")
    assert within(floor, *ends) is outcome
    ceiling = Limit("rate_against_champion.faster", 1.0, False, "%", "for this test")
    assert within(ceiling, *(-end for end in ends)) is outcome, "the same the other way round"
