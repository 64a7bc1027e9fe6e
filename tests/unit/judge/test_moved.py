"""Two numbers of the same gate: noise or not, and held against what."""

import pytest

from fcos_lib.judge.limits import Limit
from fcos_lib.judge.moved import moved
from fcos_lib.judge.verdict import decide
from fcos_lib.measure import Measurement

LIMIT = Limit("accuracy.x", 0.359, True, "AP", "a paper")


def verdict(value, unit="AP", *, limit=None, stand_in=False, n=100, interval=None, details=None):
    """A verdict on a number."""
    measured = Measurement("number", value, unit, n, "", details or {}, interval)
    return decide("accuracy", "batch8", measured, limit, stand_in=stand_in)


@pytest.mark.parametrize(
    ("before", "after", "beyond", "words"),
    [
        (verdict(0.4), verdict(0.4), False, "the same number"),
        (verdict(float("nan")), verdict(float("nan")), False, "the same number"),
        (verdict(0.4), verdict(float("nan")), True, "no number"),
        (verdict(0.4), verdict(0.5, n=0), True, "of nothing"),
        (verdict(0.4), verdict(0.4, "%"), True, "AP became %"),
        (verdict(0.4), verdict(0.3, stand_in=True), True, "not to be compared"),
        (verdict(3.0, "rows"), verdict(4.0, "rows"), True, "any change counts"),
        (verdict(0.369, limit=LIMIT), verdict(0.3685, limit=LIMIT), False, "a tenth of the distance to the limit: 0.001"),
        (verdict(0.369, limit=LIMIT), verdict(0.367, limit=LIMIT), True, "a tenth of the distance to the limit: 0.001"),
        (verdict(0.3591, limit=LIMIT), verdict(0.3589, limit=LIMIT), True, "a tenth of the distance"),
        (verdict(0.1, interval=(0.0, 0.3)), verdict(0.3, interval=(0.1, 0.5)), False, "intervals: 0.283"),
        (verdict(0.1, interval=(0.0, 0.2)), verdict(0.3, interval=(0.2, 0.4)), True, "intervals: 0.141"),
        (verdict(0.1, interval=(0.0, 0.2)), verdict(0.15), False, "intervals: 0.1"),
        (verdict(3.75e6, "B"), verdict(3.76e6, "B"), False, "2 %"),
        (verdict(3.75e6, "B"), verdict(4e6, "B"), True, "2 %"),
    ],
    ids=[
        "same", "both-nan", "nan", "nothing", "unit", "emulator", "recorded", "far-from-limit", "nearer", "across",
        "wide", "narrow", "one-interval", "size", "larger",
    ],
)  # fmt: skip
def test_a_change_is_held_against_the_best_that_is_known(before, after, beyond, words):
    """In both directions alike."""
    for one, other in ((before, after), (after, before)):
        found = moved(one, other)
        assert found.beyond is beyond, found.held_against
    assert words in moved(before, after).held_against


def rate(value, *ms, stand_in=False):
    """A rate with the times of its rounds."""
    return verdict(value, "images/s", stand_in=stand_in, details={"ms": list(ms)} if ms else {})


@pytest.mark.parametrize(
    ("before", "after", "beyond"),
    [
        (rate(100.0), rate(98.0), False),
        (rate(100.0), rate(95.0), True),
        (rate(100.0, 10.0, 10.1, 9.9), rate(95.0, 10.5, 10.6, 10.4), True),
        (rate(100.0, 8.0, 10.0, 12.0), rate(95.0, 8.5, 10.5, 12.5), False),
        (rate(100.0, 10.0, "x", -1), rate(95.0, 10.5), True),
        (rate(100.0, stand_in=True), rate(30.0, stand_in=True), False),
    ],
    ids=["usual", "fallen", "quiet-rounds", "noisy-rounds", "broken-rounds", "emulator"],
)
def test_a_rate_is_held_against_runs_and_rounds(before, after, beyond):
    """3 % lie between runs (limits.toml); the emulator's speed is the host's."""
    assert moved(before, after).beyond is beyond


def test_another_verdict_is_told_from_another_number():
    """A limit may have moved, not the number."""
    stricter = Limit("accuracy.x", 0.41, True, "AP", "a paper")
    found = moved(verdict(0.4, limit=LIMIT), verdict(0.4, limit=stricter))
    assert found.turned
    assert found.same
    assert not found.beyond
