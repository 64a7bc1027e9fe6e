"""The one switch says what it means, or says what is wrong with it."""

from typing import Literal, get_args, get_origin, get_type_hints

import pytest

from fcos_lib.emulator import scenario
from fcos_lib.errors import UsageError


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        ("", {}),
        ("chip=A3, run=nan,generation=old", {"chip": "A3", "run": "nan", "generation": "old"}),
        ("atc=fail", {"atc": "fail", "atc_code": "E19999"}),
        ("atc=fail:E10041", {"atc": "fail", "atc_code": "E10041"}),
        ("run=hang:3", {"run": "hang", "run_after": 3}),
        ("rate=65.5,jitter=0.5,om_slower=-3,cards=1", {"rate": 65.5, "jitter": 0.5, "om_slower": -3.0, "cards": 1}),
        ("om_slower=0", {"om_slower": 0.0}),
    ],
)
def test_a_scenario_is_a_list_of_wishes(text, fields):
    """Nobody who sets nothing gets a fault; slower by nothing is not the same as not asked for."""
    assert scenario.parse(text) == scenario.Scenario(**fields)


@pytest.mark.parametrize(
    "text",
    [
        *("rate", "rate=", "rate=0", "rate=-65", "rate=nan", "rate=inf", "rate=fast", "rate=0x10"),
        *("om_slower=-100", "om_slower=8%", "om_slower=nan", "jitter=11", "jitter=-1", "jitter=some"),
        *("cards=0", "cards=2", "cards=2.5", "cards=all"),
    ],
)
def test_a_number_that_cannot_be_is_refused(text):
    """With the item as it was written, and the range in the advice."""
    with pytest.raises(UsageError) as caught:
        scenario.parse(text)
    assert f"'{text}'" in caught.value.found
    assert "rate=0.1..1e+06" in caught.value.advice


def test_a_decimal_comma_is_refused():
    """It separates keys, and what follows it is none."""
    with pytest.raises(UsageError, match="'5'"):
        scenario.parse("rate=65,5")


def test_jitter_needs_a_rate():
    """Times of this machine vary by themselves; nobody is to believe that the key did it."""
    with pytest.raises(UsageError, match="no rate"):
        scenario.parse("jitter=1")


@pytest.mark.parametrize(
    "text",
    [
        *("chop=310", "chip=310P9", "run", "atc_code=E10001"),
        *("run=nan:", "run=nan:-1", "run=nan:x", "run=fail_once:2", "run=none:2"),
    ],
)
def test_a_misspelt_scenario_is_refused(text):
    """A typing error must not play the healthy server."""
    with pytest.raises(UsageError) as caught:
        scenario.parse(text)
    assert text in caught.value.found
    assert "910B4" in caught.value.advice, "the advice lists what exists"


def test_every_value_is_explained():
    """The module's first lines list what each value does."""
    explained = scenario.__doc__
    for name, kind in get_type_hints(scenario.Scenario).items():
        assert f"\n{name}=" in explained or name in ("atc_code", "run_after"), f"{name} is not documented"
        for value in get_args(kind) if get_origin(kind) is Literal else ():
            assert f"{name}={value}" in explained or value in ("ok", "new"), f"{name}={value} is not documented"
