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


WHOLE = {"bound": "0.3", "direction": '"at least"', "unit": '"AP"', "source": '"a paper"'}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"bound": "inf"}, "is no limit: bound: Expected `float` <= 1e+300"),  # nothing can exceed it
        ({"bound": "nan"}, "is no limit: bound: Expected `float` >= -1e+300"),
        ({"bound": "true"}, "is no limit: bound: Expected `float`, got `bool`"),
        ({"bound": '"0.359"'}, "is no limit: bound: Expected `float`, got `str`"),
        ({"bound": "", "bond": "0.359"}, "belongs to no limit: [a.b] has no bound"),
        ({"bound": "", "direction": "", "unit": "", "source": ""}, "[a.b] has no bound"),  # somebody lost it
        ({"published": "nan"}, "is no limit: published: Expected `float` >= -1e+300"),
        ({"boundd": "1"}, "is no limit: Object contains unknown field `boundd`"),
        ({"measured": '{ command = "x", m = 3 }'}, "is no limit: measured: Object contains unknown field `m`"),
        ({"direction": '"atleast"'}, "is no limit: direction: Invalid enum value 'atleast'"),
        ({"unit": '""'}, "is no limit: unit: Expected `str` of length >= 1"),
        *(
            ({key: ""}, f"is no limit: Object missing required field `{key}`")
            for key in ("direction", "unit", "source")
        ),
        # a misspelled key of the pictures would make it a limit for all
        ({"pictures": '"val2017"'}, "is no limit: pictures: Expected `object | null`, got `str`"),
        ({"pictures": "{}"}, "is no limit: pictures: Object missing required field `name`"),
        ({"pictures": '{ name = "x", count = 5, first = 1 }'}, "pictures: Object missing required field `last`"),
        ({"pictures": '{ name = "x", count = "5", first = 1, last = 2 }'}, "pictures.count: Expected `int`, got `str`"),
        (
            {"pictures": '{ name = "x", count = true, first = 1, last = 2 }'},
            "pictures.count: Expected `int`, got `bool`",
        ),
        ({"pictures": '{ name = "x", count = 5, first = 1, last = 2, sha256 = "0" }'}, "unknown field `sha256`"),
    ],
)
def test_a_table_that_is_no_limit_is_refused(tmp_path, changes, words):
    """Whatever is missing, misspelled or not finite would be a limit for nothing; the error names its table and the field."""
    path = tmp_path / "limits.toml"
    path.write_text("[a.b]\n" + "".join(f"{key} = {value}\n" for key, value in (WHOLE | changes).items() if value))
    with pytest.raises(UsageError) as error:
        all_limits(path)
    assert error.value.found.startswith(f"{path} is not a limits file (")
    assert words in error.value.found


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
