"""JSON is held to its type within bounds, and an error says in two sentences where it breaks it and what to do."""

from __future__ import annotations

import pytest
from msgspec import Struct

from fcos_lib.errors import StoreError, UsageError
from fcos_lib.records import Form, Line, plain_json, record_of


class Part(Struct, forbid_unknown_fields=True):
    """A record in another."""

    size: int = 0


class Whole(Struct, forbid_unknown_fields=True):
    """A record with a version."""

    version: int
    name: Line
    parts: list[Part] = []


FORM = Form(Whole, "a record of the test", "make another", most_bytes=1 << 20, version=("version", 1, 2))


def refused(call, *arguments, error=UsageError):
    """The two parts of the error."""
    with pytest.raises(error) as raised:
        call(*arguments)
    return raised.value.found, raised.value.advice


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "Input data was truncated"),
        (b'"\xff"', "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
        (b"[NaN]", "JSON is malformed: invalid character (byte 1)"),
        (b"[-Infinity]", "JSON is malformed"),
        (b"1e999", "Number out of range"),
        (b'"\\ud800"', "Input data was truncated"),
        (b"[" * 200_000, "it is nested too deeply"),
        (b'{"a":' * 200_000, "it is nested too deeply"),
        (b'{"a": ' + b"9" * 101 + b"}", "it has a number of more than 100 digits"),
        (b"[-" + b"9" * 100_000 + b"]", "it has a number of more than 100 digits"),
        (b"[1,2,3,4]", "it holds more than 4 values"),
        (b'{"a": {"b": [[]]}}', "it holds more than 4 values"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_not_json_within_bounds_says_why(content, why):
    """Before memory or time are spent on it."""
    with pytest.raises(ValueError) as raised:
        plain_json(content, most_values=4 if "values" in why else None)
    assert why in str(raised.value)


def test_json_within_bounds_is_plain_python():
    """Numbers of a hundred digits, text that looks like numbers, and as many values as are allowed."""
    long = "9" * 100
    assert plain_json(f'{{"a": {long}, "b": "x{"9" * 500}"}}'.encode(), most_values=3) == {
        "a": int(long),
        "b": "x" + "9" * 500,
    }


def test_a_file_is_read_up_to_its_limit(tmp_path):
    """The limit itself is allowed; folders, missing files and larger ones are refused alike."""
    path, text = tmp_path / "x.json", '{"version": 2, "name": "a"}'
    path.write_text(text.ljust(1 << 20))
    assert FORM.read(path) == Whole(2, "a")
    path.write_text(text.ljust((1 << 20) + 1))
    for no_file in (path, tmp_path, tmp_path / "nothing.json"):
        assert refused(FORM.read, no_file) == (f"{no_file} is not a file of at most 1 MiB", "make another")
    path.write_text("{")
    assert refused(FORM.read, path) == (f"{path} is not JSON (Input data was truncated)", "make another")


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"version": 1}, "Object missing required field `name`"),
        ({"version": 1, "name": 3}, "name: Expected `str`, got `int`"),
        ({"version": 1, "name": "", "parts": [{}, {"size": "3"}]}, "parts[1].size: Expected `int`, got `str`"),
        ({"version": 1, "name": "", "parts": [{"sice": 3}]}, "parts[0]: Object contains unknown field `sice`"),
        ({"version": 1, "name": "", "x" * 500: 3}, f"Object contains unknown field `{'x' * 169}"),
    ],
)
def test_what_breaks_the_type_is_named_with_its_place(document, fault):
    """Cut short, in front of what to do."""
    assert refused(FORM.of, document, "some file") == (
        f"some file is not a record of the test ({fault})",
        "make another",
    )


@pytest.mark.parametrize("document", [{"version": 3}, {"version": True}, {"version": "1"}, {}, [], None])
def test_another_version_is_named_with_those_that_are_read(document):
    """Whatever else is wrong with it."""
    found = document.get("version") if isinstance(document, dict) else None
    assert refused(FORM.of, document, "some file") == (
        f"some file has the version {found!r}, this release reads 1 to 2",
        "use the release that wrote it, or make another",
    )


def test_the_error_is_of_the_kind_that_the_form_names():
    """A damaged store is the machine's fault, not the user's."""
    form = Form(Part, "a part", "restore it", 10, error=StoreError)
    assert refused(form.of, [], "x", error=StoreError) == (
        "x is not a part (Expected `object`, got `array`)",
        "restore it",
    )


@pytest.mark.parametrize("text", ["", "CANN 8.3 °C", "层", "x" * 1000])
def test_a_line_of_text_is_read(text):
    """Of any script."""
    assert record_of(text, Line) == text


@pytest.mark.parametrize(
    "text", ["two\nlines", "end\n", "\x1b[2J", "\x9b", "\u202e", "\u2028", "\u200f", "\ufeff", "x" * 1001]
)
def test_what_steers_a_terminal_is_no_line_of_text(text):
    """Neither control characters nor what turns the reading direction, nor without end."""
    with pytest.raises(ValueError, match=r"Expected `str` of"):
        record_of(text, Line)
