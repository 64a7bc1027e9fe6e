"""The command line is read as atc reads it."""

import pytest

from fcos_lib.emulator.atc import CommandLineError, parse


@pytest.mark.parametrize(
    "arguments",
    [
        ["--out_nodes=labels;dets"],
        ["--out_nodes", "labels;dets"],
        ["--out_node=labels;dets"],
    ],
    ids=lambda arguments: " ".join(arguments),
)
def test_an_option_has_many_spellings(arguments):
    """A beginning that only one option has, blank or equals sign; the recipe itself says `--out_node`."""
    assert parse(arguments) == {"out_nodes": "labels;dets"}


def test_an_exact_name_wins_over_longer_ones():
    """`--output` is not ambiguous though `--output_type` exists."""
    assert parse(["--output=x"]) == {"output": "x"}


def test_an_option_takes_the_next_word_whatever_it_is():
    """As getopt_long: a forgotten value swallows the next option."""
    assert parse(["--model", "--framework=5"]) == {"model": "--framework=5"}


@pytest.mark.parametrize("argument", ["--frobnicate=1", "--out=x", "--outnodes=x"])
def test_unknown_and_ambiguous_names_are_refused(argument):
    """The message quotes the name without dashes and value."""
    with pytest.raises(CommandLineError) as caught:
        parse([argument])
    assert str(caught.value) == f"ERROR: unknown command line flag '{argument.lstrip('-').partition('=')[0]}'"


def test_a_missing_value_is_said():
    """The last word of the line was an option."""
    with pytest.raises(CommandLineError) as caught:
        parse(["--framework=5", "--model"])
    assert str(caught.value) == "ERROR: flag '--model' is missing its argument"


def test_a_stray_word_is_refused():
    """What an unquoted `;` leaves behind."""
    with pytest.raises(CommandLineError) as caught:
        parse(["--framework=5", "dets"])
    assert str(caught.value) == "ERROR: Non-option parameter: dets"
