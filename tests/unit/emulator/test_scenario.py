"""The one switch says what it means, or says what is wrong with it."""

from dataclasses import fields

import pytest

from fcos_lib.emulator import scenario
from fcos_lib.errors import UsageError


def test_an_empty_scenario_is_a_healthy_310p3_server():
    """Nobody who sets nothing gets a fault."""
    assert scenario.parse("") == scenario.Scenario()
    assert scenario.parse("").chip == "310P3"


def test_keys_and_values_are_separated_by_commas():
    """Several wishes go into one variable."""
    parsed = scenario.parse("chip=A3, run=nan,generation=old")
    assert (parsed.chip, parsed.run, parsed.generation) == ("A3", "nan", "old")


def test_the_error_code_of_a_failing_atc_can_be_chosen():
    """`atc=fail:CODE` carries its code; `atc=fail` is an inner error."""
    assert scenario.parse("atc=fail:E10041").atc_code == "E10041"
    assert scenario.parse("atc=fail").atc_code == "E19999"


def test_a_fault_of_the_run_may_begin_later():
    """`run=FAULT:N` lets N executions pass; a number that is none is refused as written."""
    assert (scenario.parse("run=hang:3").run, scenario.parse("run=hang:3").run_after) == ("hang", 3)
    assert scenario.parse("run=nan").run_after == 0
    for text in ("run=nan:", "run=nan:-1", "run=nan:x", "run=fail_once:2", "run=none:2"):
        with pytest.raises(UsageError, match=f"'{text}'"):
            scenario.parse(text)


def test_numbers_are_read_as_numbers():
    """The rate of a device, how many there are, and by how much an OM is slower."""
    parsed = scenario.parse("rate=65.5,jitter=0.5,om_slower=-3,cards=1")
    assert (parsed.rate, parsed.jitter, parsed.om_slower, parsed.cards) == (65.5, 0.5, -3.0, 1)
    assert scenario.parse("om_slower=0").om_slower is not None, "slower by nothing is not the same as not asked for"


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


@pytest.mark.parametrize("text", ["chop=310", "chip=310P9", "run", "atc_code=E10001"])
def test_a_misspelt_scenario_is_refused(text):
    """A typing error must not play the healthy server."""
    with pytest.raises(UsageError) as caught:
        scenario.parse(text)
    assert text in caught.value.found
    assert "910B4" in caught.value.advice, "the advice lists what exists"


def test_every_value_is_explained():
    """The module's first lines list what each value does."""
    for field in fields(scenario.Scenario):
        assert f"\n{field.name}=" in scenario.__doc__ or field.name in ("atc_code", "run_after"), (
            f"{field.name} is not documented"
        )
    for value in (
        "fail_once",
        "lost",
        "oom",
        "wrong",
        "inf",
        "absent",
        "187",
        "172",
        "none",
        "garbage",
        "exit255",
        "hang",
        "crash",
        "no_file",
        "half_file",
    ):
        assert f"={value}" in scenario.__doc__, f"{value} is not documented"
