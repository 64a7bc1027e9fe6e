"""The chart kit draws values where they belong, and takes no text for markup."""

import re

import pytest

from fcos_lib.evidence.page.charts import Chart, Frame, Strip, element, style_of_a_file, ticks


def test_text_and_attributes_are_escaped():
    """Whatever a name of a class or a layer holds."""
    drawn = element("text", '<script>"&\u202e', class_='" onload="x')
    assert drawn == '<text class="&#34; onload=&#34;x">&lt;script&gt;&#34;&amp;\N{REPLACEMENT CHARACTER}</text>'


@pytest.mark.parametrize("stand_in", [True, False])
def test_a_chart_says_what_it_shows_and_on_what(stand_in):
    """Title and sentence for a screen reader, and the word STAND-IN if the emulator had a part in it."""
    drawn = Chart(400, 300, "Scores", "3 pairs", [element("g")]).svg(stand_in)
    assert "<title>Scores</title><desc>3 pairs</desc>" in drawn
    assert ("STAND-IN" in drawn) == stand_in


def test_more_is_higher_and_further_to_the_right():
    """And the ends of the axes are the edges of the area."""
    frame = Frame.within(400, 300, (0, 10), (-1, 1))
    assert (frame.x(0), frame.x(10)) == (frame.left, frame.right)
    assert (frame.y(-1), frame.y(1)) == (frame.bottom, frame.top)
    assert frame.y(0) < frame.y(-0.5), f"0 is drawn at {frame.y(0)}, below -0.5 at {frame.y(-0.5)}"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (55.1, 60.2, [56, 57, 58, 59, 60]), (-0.06, 0.06, [-0.06, -0.04, -0.02, 0, 0.02, 0.04, 0.06]), (3, 3, [3])],
)  # fmt: skip
def test_ticks_are_round_numbers(low, high, expected):
    """No more of them than can be read."""
    assert ticks(low, high) == expected


@pytest.mark.parametrize(
    ("interval", "kind"), [((0.1, 0.3), "up"), ((-0.3, -0.1), "down"), ((-0.1, 0.3), "open"), ((None, None), "open")]
)
def test_an_interval_is_certain_if_zero_lies_outside(interval, kind):
    """An interval without ends reaches to both."""
    value = -0.2 if kind == "down" else 0.2
    drawn = Strip.around_zero([-0.4, 0.4]).interval(value, *interval, "words")
    assert f'class="dot {kind}"' in drawn


def test_the_style_of_a_file_has_its_colours_written_out():
    """For viewers of SVG that know no variables; light and dark."""
    style = style_of_a_file()
    light, dark = (
        set(re.findall(r"#[0-9a-f]{6}", part)) for part in style.split("@media (prefers-color-scheme: dark)")
    )
    assert "var(" not in style
    assert "#1b232b" in light - dark
    assert "#e6ebf0" in dark - light
