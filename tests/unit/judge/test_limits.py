"""A bound is read with its direction, its unit and where it comes from."""

import math

import pytest

from fcos_lib.errors import UsageError
from fcos_lib.judge.limits import FILE, Limit, all_limits, find_limit

TWO = """
[accuracy.small.mAP]
bound = 1
direction = "at least"
unit = "AP"
source = "a paper"

[consistency.box]
bound = 3.5
direction = "at most"
unit = "px"
source = "a study"
measured = { command = "python -m x", n = 20, spread = "0.1 px", date = "2026-11-01" }
"""


def test_every_table_with_a_bound_is_a_limit(tmp_path):
    """Under its dotted name, with its direction and, where it was measured, how."""
    path = tmp_path / "limits.toml"
    path.write_text(TWO)
    assert all_limits(path) == {
        "accuracy.small.mAP": Limit("accuracy.small.mAP", 1.0, True, "AP", "a paper"),
        "consistency.box": Limit(
            "consistency.box", 3.5, False, "px", "a study", "python -m x", 20, "0.1 px", "2026-11-01"
        ),
    }
    assert isinstance(all_limits(path)["accuracy.small.mAP"].bound, float), "a whole number in the file is a number"


def test_text_in_a_limits_file_is_utf_8(tmp_path):
    """Whatever the machine's locale says."""
    path = tmp_path / "limits.toml"
    path.write_bytes(TWO.replace('"px"', '"°C"').encode())
    assert all_limits(path)["consistency.box"].unit == "°C"


def test_a_misspelled_direction_is_refused(tmp_path):
    """`atleast` must not become `at most`; the error names file, limit and what to write."""
    path = tmp_path / "limits.toml"
    path.write_text('[a.b]\nbound = 1\ndirection = "atleast"\nunit = "x"\nsource = "y"\n')
    with pytest.raises(UsageError) as error:
        all_limits(path)
    assert "[a.b] is no limit: direction: Invalid enum value 'atleast'" in error.value.found


def test_a_limit_is_found_by_its_parts():
    """The parts of the dotted name, or nothing."""
    limit = find_limit("accuracy", "coco_r50", "mAP_as_published")
    assert limit == all_limits(FILE)["accuracy.coco_r50.mAP_as_published"]
    assert find_limit("accuracy", "nothing", "mAP") is None


@pytest.mark.parametrize(
    ("at_least", "value", "holds"),
    [
        (True, 3.0, True),
        (True, 2.999, False),
        (True, 3.001, True),
        (False, 3.0, True),
        (False, 3.001, False),
        (False, 2.999, True),
        (True, math.nan, False),
        (False, math.nan, False),
        (True, math.inf, True),
        (False, math.inf, False),
    ],
)
def test_the_bound_itself_is_allowed_and_nan_never_is(at_least, value, holds):
    """In both directions."""
    assert Limit("x", 3.0, at_least, "px", "a study").holds(value) is holds


def test_where_a_bound_comes_from():
    """A published one names its source, a measured one how it was measured as well."""
    assert Limit("x", 3.0, False, "px", "a study").certificate() == ["a study"]
    measured = Limit("x", 3.0, False, "px", "a study", "python -m x", 20, "0.1 px", "2026-11-01")
    assert measured.certificate() == ["a study", "measured 2026-11-01, n = 20, spread 0.1 px: python -m x"]
