"""The page of a run shows what is there, says STAND-IN, and takes nothing from a stranger's file for HTML."""

import copy
import json
import re
import time
from html import unescape

import pytest

from fcos_lib.cli.main import main
from fcos_lib.errors import UsageError
from fcos_lib.evidence.earlier import evidence_of_earlier
from fcos_lib.evidence.page import MOST_BYTES, _lighter, render, write_page_of
from fcos_lib.evidence.results import write_results
from tests.unit.evidence.entries import Elements

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'><svg/onload=alert(1)>&\u202e\x00"


def spoilt(value):
    """Every text of a document replaced, names that are free to choose included; only what says how to read it stays."""
    if isinstance(value, list):
        return [spoilt(entry) for entry in value]
    if not isinstance(value, dict):
        return HOSTILE if isinstance(value, str) else value
    kept = {"outcome", "cause", "side", "jpeg", "level"} | ({"kind"} if "data" in value else set())
    named = {"packages", "files", "settings", "only", "provenance"}
    return {
        key: inner if key in kept else {HOSTILE: spoilt(inner)} if key in named and inner else spoilt(inner)
        for key, inner in value.items()
    }


def test_every_kind_of_evidence_has_its_section(document):
    """What changed, the pictures, the verdicts, then the rest; all kinds drawn, nothing unreadable, all elements closed."""
    before = {**document, "verdicts": document["verdicts"][1:], "evidence": []}
    document["evidence"] += evidence_of_earlier(before, document)
    page = Elements(render(document))
    assert page.headings() == [
        "since-the-last-run", "pictures", "verdicts", "stages", "layers", "accuracy", "scores-and-boxes", "throughput",
        "proof-of-the-gates", "environment", "artifacts",
    ]  # fmt: skip
    assert page.open == [], "elements that are never closed"
    assert "cannot be read" not in page.text
    known = ("dog, −0.1100", "Stage to blame: network, −0.0490 of −0.0500", "/conv2 is the first layer", "58 (−1.7 %)")
    for words in (*known, "f" * 64):
        assert words in page.text, f"{words} is missing"


def test_kinds_that_are_missing_are_absent(document):
    """A run without evidence has verdicts, environment and artifacts, and no empty section."""
    document["evidence"] = []
    assert Elements(render(document)).headings() == ["verdicts", "environment", "artifacts"]
    document["evidence"] = [{"kind": kind, "subject": "x", "data": {}} for kind in ("of tomorrow", "shifts", "base")]
    assert Elements(render(document)).headings() == ["verdicts", "environment", "artifacts"]


def test_red_gates_come_first_with_paragraph_and_command(document):
    """FAIL, then INFRA and NO VERDICT, then all others; each red one says why and how to run it again."""
    page = Elements(render(document))
    text = re.sub(r"\s+", " ", page.text)
    places = [text.index(word) for word in (
        "accuracy[batch8] mAP 0.2 AP", "accuracy[batch4] mAP 0.37 AP", "could not judge", "within their limits"
    )]  # fmt: skip
    assert places == sorted(places), "red gates are not on top"
    assert "must be at least 0.359 AP (limits.toml: accuracy.x)" in text
    assert "pytest 'tests/acceptance/test_accuracy.py::test_limit[batch8]' --pictures 20" in text
    assert "1 of 4 tests failed, 1 met a machine that failed, 1 could not be decided" in text


def test_a_stand_in_cannot_be_overlooked(document):
    """Title, a band on top, every section, table, chart and picture say it; a run on hardware says it nowhere."""
    page = render(document)
    assert "<title>STAND-IN FAIL" in page
    assert 'class="banner"' in page.partition("<header")[0], "the band is not on top"
    mark = '<span class="mark">STAND-IN</span>'
    for kind in ("caption", "figcaption", "h2"):
        parts = re.findall(rf"<{kind}[ >].*?</{kind}>", page, re.S)
        unmarked = [part for part in parts if mark not in part and "<h2>" not in part and "<strong>Scores" not in part and "<strong>Precision" not in part]  # fmt: skip
        assert parts, f"there is no {kind}"
        assert unmarked == [], f"a {kind} without the mark"
    charts = re.findall(r'<svg [^>]*class="chart".*?</svg>', page, re.S)
    assert len(charts) == 5, f"{len(charts)} charts: accuracy's card, layers, both curves and scores are 5"
    assert all('class="stand-in-mark"' in chart for chart in charts), "a chart without the mark"
    hardware = copy.deepcopy(document)
    hardware["environment"]["device"] = {"stand_in": False, "soc_version": "Ascend310P3", "cann_version": "8.0"}
    hardware["verdicts"] = [
        {**entry, "stand_in": False, "outcome": entry["outcome"].replace("STAND-IN", "PASS")}
        for entry in hardware["verdicts"]
    ]
    shown = Elements(render(hardware))
    assert "STAND-IN" not in shown.text
    assert not any(attributes.get("class") in ("banner", "mark", "stand-in-mark") for _, attributes in shown.found)


def test_nothing_from_the_file_becomes_html(document):
    """A script in any text of the file is text: no element, attribute or address comes of it."""
    page = Elements(render(spoilt(document)))
    assert page.open == []
    tags = [tag for tag, _ in page.found]
    assert tags.count("script") == 1, "a script came in from the file"
    assert "alert(1)" in page.text, "the text itself should be shown"
    for tag, attributes in page.found:
        assert not any(name.startswith("on") for name in attributes), f"<{tag}> has a handler: {attributes}"
        assert "style" not in attributes, f"<{tag}> has a style of its own"
        for name in ("src", "href"):
            address = attributes.get(name, "#")
            assert address.startswith(("#", "data:image/")), f"<{tag}> leads to {address[:60]}"
    assert "\u202e" not in page.text, "text could be made to read backwards"
    assert "\x00" not in page.text


def test_a_history_that_is_no_drawing_cannot_act(document):
    """The SVG is shown as a picture, in which no script runs and nothing is fetched."""
    document["evidence"] = [
        {"kind": "throughput", "subject": "all", "data": {"rates": [], "history": f"<svg>{HOSTILE}</svg>"}}
    ]
    assert "alert(1)" not in render(document)


@pytest.mark.parametrize("jpeg", ["", "https://127.0.0.1/x.jpg", '/9j/"><script>', "PHN2Zz4=", 7])
def test_a_picture_that_is_no_jpeg_is_refused_and_said(document, jpeg):
    """Only base64 that begins as a JPEG gets into the page; the other sections stay."""
    document["evidence"][0]["data"]["pictures"][0]["jpeg"] = jpeg
    page = Elements(render(document))
    assert "This evidence cannot be read" in page.text
    assert "accuracy" in page.headings()


@pytest.mark.parametrize("kind", range(10))
def test_evidence_that_is_wrong_hides_nothing_else(document, kind):
    """Whatever a kind holds instead, the page is made and has its verdicts."""
    each = {"pictures": 3, "points": [[1]], "levels": [[]], "classes": {}, "stages": None, "layers": 1, "rates": "x"}
    for wrong in ({}, each | {"cases": [1]}):
        document["evidence"][kind]["data"] = wrong
        assert "accuracy[batch8] mAP 0.2 AP" in Elements(render(document)).text


def test_a_picture_is_embedded_once(document):
    """Several gates show the same pictures; mail has limits."""
    once = len(render(document))
    document["evidence"].append({**document["evidence"][0], "subject": "batch16"})
    more = len(render(document)) - once
    assert more < 12_000, f"the same pictures took {more} letters more"


def test_the_worst_pictures_come_first_whichever_gate_showed_them(document):
    """Two gates show pictures of one OM: they are brought together, unexplained ones first, at most twenty."""
    shown = document["evidence"][0]["data"]["pictures"]
    other = copy.deepcopy(shown[0])
    many = [
        {**copy.deepcopy(other), "name": f"{number}.jpg", "score_loss": number / 100, "differences": []}
        for number in range(30)
    ]
    document["evidence"].append({"kind": "pictures", "subject": "batch8", "data": {"names": [], "pictures": many}})
    titles = re.findall(r"(\d+)\. (\w+\.jpg)", Elements(render(document)).text)
    assert len(titles) == 20
    assert [name for _, name in titles[:3]] == ["000000000002.jpg", "000000000001.jpg", "29.jpg"]


def test_a_page_is_never_larger_than_mail_takes(document):
    """What does not fit is left out, and named."""
    noise = "/9j/" + "A" * 900_000
    pictures = [
        {**document["evidence"][0]["data"]["pictures"][0], "name": f"{n}.jpg", "jpeg": f"{noise}{n:04}"}
        for n in range(20)
    ]
    document["evidence"][0]["data"]["pictures"] = pictures
    document["evidence"].append(
        {"kind": "throughput", "subject": "all", "data": {"rates": [], "history": "x" * 1_900_000}}
    )
    page = render(document)
    assert len(page.encode()) <= MOST_BYTES, f"a page of {len(page.encode())} bytes, mail takes {MOST_BYTES}"
    assert "pictures would make this page too large" in page


def test_what_takes_no_room_is_not_left_out_for_it(document):
    """The numbers of earlier runs are many, and the page has a few of them: something else gives way."""
    document["evidence"].append({"kind": "earlier", "subject": "all", "data": {"runs": ["x" * 1_000_000]}})
    kinds = [entry["kind"] for entry in document["evidence"]]
    document["evidence"][kinds.index("scatter")]["data"]["points"] *= 10_000
    lighter = _lighter(document["evidence"])
    (left_out,) = (entry["data"]["text"] for entry in lighter if entry["kind"] == "left_out")
    assert left_out.startswith("scatter: it would make this page larger")


def test_a_run_over_val2017_is_drawn_in_seconds(document):
    """5,000 pictures, 80 classes and six batch sizes that all failed: still twenty pictures each, and 5,000 points."""
    boxes = [[n, n, n + 50, n + 40, 0.9 - n / 200, n % 80] for n in range(100)]
    picture = {
        **document["evidence"][0]["data"]["pictures"][0],
        "reference": boxes,
        "candidate": boxes,
        "truth": [[*box[:4], 3] for box in boxes],
    }
    document["evidence"] = [
        {"kind": kind, "subject": f"batch{batch}", "data": data}
        for batch in (1, 4, 8, 16, 32, 64)
        for kind, data in (
            ("pictures", {"names": [f"class {n}" for n in range(80)], "pictures": [{**picture, "name": f"{batch}-{n}.jpg"} for n in range(20)]}),
            ("scatter", {"points": [[n / 5000, n / 5001] for n in range(5000)], "total": 400_000}),
            ("classes", {"classes": [{"name": f"class {n}", "reference": 0.3, "candidate": 0.3, "difference": {"value": 0.0, "low": -0.1, "high": 0.1, "n": 50}} for n in range(80)]}),
        )
    ]  # fmt: skip
    document["verdicts"] *= 400
    started = time.perf_counter()
    page = render(document)
    assert time.perf_counter() - started < 30, "a page must not keep a run waiting"
    assert len(page.encode()) <= MOST_BYTES, f"a page of {len(page.encode())} bytes, mail takes {MOST_BYTES}"


def test_nothing_is_fetched_and_only_our_script_may_run(document):
    """The content security policy of the page forbids everything else."""
    page = render(document)
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)[1]
    policy = unescape(policy)
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    addresses = {address for address in re.findall(r"https?://[\w./-]+", page)}
    assert addresses <= {"http://www.w3.org/2000/svg"}, "a namespace is the only address in a page"


def test_the_verb_draws_a_stored_run(tmp_path, document, capsys):
    """`page RESULTS` writes evidence.html beside it, `-o` elsewhere; what is no results.json is an error, and nothing is written."""
    results = tmp_path / "results.json"
    write_results(results, **{key: value for key, value in document.items() if key != "schema_version"})
    assert main(["page", str(results)]) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "evidence.html")
    assert main(["page", str(results), "-o", str(tmp_path / "deep" / "other.html")]) == 0
    assert (tmp_path / "deep" / "other.html").read_bytes() == (tmp_path / "evidence.html").read_bytes()
    assert main(["page", str(results), "-o", str(tmp_path / "other.pdf")]) == 3
    (tmp_path / "broken.json").write_text(json.dumps({"schema_version": 3}))
    assert main(["page", str(tmp_path / "broken.json"), "-o", str(tmp_path / "no.html")]) == 3
    assert not (tmp_path / "no.html").exists()


def test_a_page_that_cannot_be_written_leaves_nothing(tmp_path, document):
    """No half of a page stays behind."""
    results = tmp_path / "results.json"
    write_results(results, **{key: value for key, value in document.items() if key != "schema_version"})
    (tmp_path / "taken.html").mkdir()
    with pytest.raises(OSError, match=r"taken\.html"):
        write_page_of(results, tmp_path / "taken.html")
    with pytest.raises(UsageError):
        write_page_of(tmp_path / "none.json", tmp_path / "x.html")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["results.json", "taken.html"]
