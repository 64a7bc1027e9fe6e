"""Every text can be written to every stream, and cut to every width."""

import io

import pytest

from fcos_lib.evidence.plain_text import Screen, never_fail, with_class_names


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", "<= 0.5 -> ... - e \\u72d7 \\udcff"),
        ("cp1252", "<= 0.5 -> … – é \\u72d7 \\udcff"),
        ("gbk", "≤ 0.5 → … – é 狗 \\udcff"),
        ("utf-8", "≤ 0.5 → … – é 狗 \\udcff"),
    ],
)
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_characters_fall_back_to_what_the_encoding_has(encoding, expected, errors):
    """Signs and letters to ASCII, what has no likeness there to its number; the name of a file may hold any byte."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding, errors)
    never_fail(stream, None, io.StringIO())
    stream.write("≤ 0.5 → … – é 狗 \udcff")
    stream.flush()
    assert stream.buffer.getvalue().decode(encoding) == expected


def test_a_line_is_cut_after_its_signs_fell_back():
    """So that the ellipsis counts as wide as it is shown."""
    assert Screen(10).cut("0.5 ≤ 0.6 AP") == "0.5 ≤ 0.6…"
    assert Screen(10, "ascii").cut("0.5 ≤ 0.6 AP") == "0.5 <=..."
    assert Screen(13, "ascii").cut("0.5 ≤ 0.6 AP") == "0.5 <= 0.6 AP"
    assert Screen(80).cut("one\ntwo") == "one two"


def test_a_class_has_its_name():
    """One that the model does not have keeps its number."""
    assert with_class_names("label 1 became label 7, label 10", ["cat", "dog"]) == "dog became label 7, label 10"
