"""The one switch says what it means, or says what is wrong with it."""

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


@pytest.mark.parametrize("text", ["chop=310", "chip=310P9", "run", "atc_code=E10001"])
def test_a_misspelt_scenario_is_refused(text):
    """A typing error must not play the healthy server."""
    with pytest.raises(UsageError) as caught:
        scenario.parse(text)
    assert text in caught.value.found
    assert "310P3-duo" in caught.value.advice, "the advice lists what exists"


def test_every_value_is_explained():
    """The module's first lines list what each value does."""
    for value in ("absent", "187", "172", "none", "garbage", "exit255", "hang", "crash", "no_file", "half_file"):
        assert f"={value}" in scenario.__doc__, f"{value} is not documented"
