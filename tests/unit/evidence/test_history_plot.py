"""The picture of the history shows every run where it belongs, and the emulator's cannot be mistaken for hardware's."""

import re
import xml.etree.ElementTree as ET

import pytest
from msgspec.structs import replace

from fcos_lib.evidence.history_plot import draw_history
from fcos_lib.judge.accepted import Acceptance, Baseline, Comparison
from fcos_lib.judge.limits import published_rate
from fcos_lib.judge.verdict import Outcome
from tests.unit.judge.history_runs import EMULATED, HERE, START, rate, run

SVG = "{http://www.w3.org/2000/svg}"


def drawn(runs, baseline=Baseline(), ranges=None, comparisons=(), **options):  # noqa: B008
    """The picture's root element."""
    return ET.fromstring(draw_history(runs, baseline, ranges or {}, comparisons, **options))


def of_class(root, name):
    """All drawn elements of a class, without the legend's, which lie above the first section."""
    elements = [each for each in root.iter() if each.get("class") == name]
    return [each for each in elements if _y(each) > 70]


def _y(element):
    text = element.get("cy") or element.get("y") or element.get("y1") or re.split(r"[ ,]", element.get("d") or "0 0")[1]
    return float(element.get("points").split(",")[1].split()[0]) if element.get("points") else float(text)


def texts(root):
    """Every word of the picture."""
    return " ".join("".join(each.itertext()) for each in root.iter(f"{SVG}text"))


def test_every_run_is_a_point_and_more_is_higher():
    """In each panel, in the order of time."""
    root = drawn([run(1, rate(58.0), rate(45.0, 64)), run(2, rate(59.0), rate(44.0, 64))])
    panel8, panel64 = of_class(root, "run")[:2], of_class(root, "run")[2:]
    assert [each.tag for each in panel8 + panel64] == [f"{SVG}circle"] * 4
    first, second = (float(point.get("cx")) for point in panel8)
    assert first < second, f"the older run is at {first}, the newer at {second}"
    risen, fallen = ([_y(point) for point in panel] for panel in (panel8, panel64))
    assert risen[0] > risen[1], f"58 is drawn at {risen[0]}, 59 at {risen[1]} from the top"
    assert fallen[0] < fallen[1], f"45 is drawn at {fallen[0]}, 44 at {fallen[1]} from the top"


def test_accepted_runs_are_marked_even_if_their_files_are_gone():
    """The baseline and what was accepted before it look different."""
    first, second, third = (run(number, rate(58.0 + number)) for number in (1, 2, 3))
    baseline = Baseline((Acceptance(START, "a", (first,)), Acceptance(START, "b", (second,))))
    root = drawn([third], baseline)
    assert [len(of_class(root, kind)) for kind in ("former", "mark", "run")] == [1, 1, 1]


def test_runs_of_different_fingerprints_are_not_joined():
    """A dotted line and a sentence say what changed."""
    newer = replace(HERE, driver="25.0")
    root = drawn([run(1, rate(58.0)), run(2, rate(58.0)), run(3, rate(60.0, fingerprint=newer))])
    assert len(of_class(root, "line")) == 2
    assert len(of_class(root, "change")) == 1
    assert "dotted line: 2024-01-04 driver 24.1.0 → 25.0" in texts(root)


def test_the_range_lies_where_the_rates_are():
    """Its edges enclose the points that lie within."""
    here = rate(58.0)
    root = drawn([run(1, here), run(2, rate(58.5))], ranges={(here.series, HERE): (57.0, 60.0)})
    (band,) = of_class(root, "range")
    top, height = float(band.get("y")), float(band.get("height"))
    for y in map(_y, of_class(root, "run")):
        assert top < y < top + height, f"a point at {y} lies outside of the range from {top} to {top + height}"


def test_the_emulator_has_its_own_sections_and_says_so_in_every_panel():
    """A banner, and the word in each panel; and no published figure to be measured by."""
    emulated = [rate(3.0, size, EMULATED, stand_in=True) for size in (1, 8)]
    root = drawn([run(1, rate(58.0)), run(2, *emulated)])
    assert len(of_class(root, "panel")) == 3
    assert len([each for each in root.iter(f"{SVG}g") if each.get("class") == "stand-in-mark"]) == 2
    assert len(of_class(root, "warning")) == 1
    (banner,) = of_class(root, "warning")
    panels = sorted(_y(panel) for panel in of_class(root, "panel"))
    assert panels[0] < _y(banner) < panels[1], "hardware comes first, alone"
    assert texts(root).count("published 58") == 1


def test_hardware_alone_has_no_word_of_the_emulator():
    """The other way round would be as bad."""
    assert "STAND-IN" not in texts(drawn([run(1, rate(58.0))]))


def test_published_figures_are_drawn_only_where_they_were_published_for():
    """For pure inference of COCO on the 310P3; not end to end, not for another chip, not for the embedded default."""
    published = {size: published_rate("coco_r50", "Ascend310P3", size) for size in (1, 4, 8, 16, 32, 64)}
    assert published == {1: 58, 4: 65, 8: 58, 16: 58, 32: 58, 64: 45}
    for changes in ({"timed": "end to end"}, {"soc_version": "Ascend910B4"}, {"contract": "shapes"}):
        assert not of_class(drawn([run(1, rate(58.0, **changes))]), "published"), changes
    (line,) = of_class(drawn([run(1, rate(57.0))]), "published")
    (point,) = of_class(drawn([run(1, rate(57.0))]), "run")
    assert _y(line) < _y(point), "58 lies above 57"


def test_a_lost_series_keeps_its_panel_and_shows_the_verdict():
    """A cross where the run has nothing, and FAIL in words."""
    lost = Comparison(rate(1, 64).series, Outcome.FAIL, None, 45.0, "renamed or lost")
    root = drawn([run(1, rate(58.0), rate(45.0, 64)), run(2, rate(58.0))], comparisons=[lost])
    assert len(of_class(root, "absent")) == 1
    assert "not timed" in texts(root)
    assert "FAIL" in texts(root)


def test_text_from_a_file_stays_text():
    """Names and versions are untrusted: no markup of theirs gets into the picture."""
    nasty = '<script>alert("x")</script>&'
    new = replace(rate(58.0).fingerprint, driver=nasty)
    root = drawn([run(1, rate(58.0)), run(2, rate(58.0, fingerprint=new)), run(3, rate(58.0, atc_options=nasty))])
    assert not list(root.iter(f"{SVG}script"))
    assert not list(root.iter("script"))
    assert nasty in texts(root)


@pytest.mark.parametrize(
    "runs", [[], [run(1, rate(58.0))], [run(1, rate(1e-6))], [run(1, rate(9e6)), run(2, rate(1e-6))]]
)
def test_few_and_extreme_runs_can_be_drawn(runs):
    """No run, one, and rates that no device has."""
    assert drawn(runs).tag == f"{SVG}svg"


def test_a_long_history_is_cut_to_the_last_runs():
    """Of each recipe."""
    assert len(of_class(drawn([run(number, rate(58.0)) for number in range(9)], last=5), "run")) == 5


def test_the_picture_needs_nothing_else():
    """No script, no font, no address but the name space; colours for dark and light."""
    text = draw_history([run(1, rate(58.0))], Baseline(), {})
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]
    assert "prefers-color-scheme: dark" in text
    assert 'class="paper"' in text, "a background of its own, or dark text on a dark page"
