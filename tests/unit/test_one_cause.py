"""One cause is said once, however many tests it stops: there were up to 49 times the same sentences."""

import json
import re
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import pytest

from fcos_lib.evidence.deciding import deciding
from fcos_lib.evidence.markdown import summary, workflow_commands
from fcos_lib.evidence.page import render
from fcos_lib.evidence.results import causes
from fixtures.github import _red

REASON = "atc exited with status 1 (E10001)"


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_an_atc_that_fails_is_said_once(run, tmp_path, workers):
    """The first gate has the whole of it, the others point there, and the end counts them; every one of them is in results.json."""
    gates = ("tests/acceptance", "-m", "contract or consistency", "-k", "batch", "--npu", "emulated")
    junit = tmp_path / "junit.xml"
    result = run(*gates, "--batch-sizes", "1,2,4", f"--junitxml={junit}", "-v", *workers, scenario="atc=fail")
    assert result.returncode == 8, result.stdout + result.stderr
    document = json.loads((tmp_path / "artifacts" / "results" / "results.json").read_text())
    unjudged = document["unjudged"]
    assert document["environment"]["device"]["stand_in"] is True, "a machine that failed is not taken for hardware"
    firsts = [entry for entry in unjudged if not entry["message"].startswith("see the first: ")]
    assert len(unjudged) > 5, f"{len(unjudged)} gates stopped, not more than 5: {unjudged}"
    assert len(firsts) == 1, f"the cause is said {len(firsts)} times: {firsts}"
    others = {entry["message"] for entry in unjudged if entry not in firsts}
    assert others == {f"see the first: {firsts[0]['test']}"}
    assert all(entry["outcome"] == "INFRA" for entry in unjudged)
    table = result.stdout.partition("= verdicts =")[2].partition("short test summary")[0]
    lines = [line for line in table.splitlines() if "could not judge" in line]
    reason = firsts[0]["message"].partition("\n")[0]
    sentence = f"INFRA: {reason} ({len(unjudged)} tests could not judge, the first {firsts[0]['test']})"
    assert lines == [sentence], f"the end of the run does not say it once:\n{table}"
    cut = [line for line in result.stdout.splitlines()[-12:] if line.startswith("INFRA: ")]
    assert len(cut) == 1, f"the last lines say it {len(cut)} times: {cut}"
    assert sentence.startswith(cut[0].removesuffix("…")), cut[0]
    shown = result.stdout.partition("= ERRORS =")[2].partition("= verdicts =")[0]
    assert shown.count(firsts[0]["message"]) == 1, shown
    pointers, others = junit.read_text().count("see the first: "), len(unjudged) - len(firsts)
    assert pointers >= others, f"{pointers} of {others} gates point to the first in the JUnit file"
    properties = [
        entry.get("value") for entry in ElementTree.parse(junit).iter("property") if entry.get("name") == "cause"
    ]
    assert properties == [sentence], "the JUnit file does not say the same sentence"
    page = (tmp_path / "artifacts" / "results" / "evidence.html").read_text()
    shown = re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", page)))
    assert shown.count(sentence.removeprefix("INFRA: ")) == 1, "the page does not say the same sentence once"
    assert "STAND-IN: measured on the emulator; says nothing about hardware." in result.stdout.splitlines()[-12:]


UNJUDGED = [
    {"test": "x.py::a", "outcome": "FAIL", "message": f"{REASON}\n  → look at the log"},
    {"test": "x.py::b", "outcome": "INFRA", "message": "no NPU"},
    {"test": "x.py::c", "outcome": "FAIL", "message": "see the first: x.py::a"},
    {"test": "x.py::d", "outcome": "FAIL", "message": "see the first: x.py::a"},
    {"test": "x.py::e", "outcome": "INFRA", "message": "no NPU"},
    {"test": "x.py::e", "outcome": "INFRA", "message": "no NPU"},
    {"test": "x.py::f", "outcome": "FAIL", "message": ""},
]
SENTENCES = [
    f"FAIL: {REASON} (3 tests could not judge, the first x.py::a)",
    "INFRA: no NPU (2 tests could not judge, the first x.py::b)",
    "FAIL: no reason was given (x.py::f could not judge)",
]
DOCUMENT = {
    "unjudged": UNJUDGED, "verdicts": [], "run": {"exit_status": 1}, "gates": [], "artifacts": [], "evidence": [],
    "environment": {},
}  # fmt: skip


MESSAGES = {
    "long": "no room for " + "a_very_long_name/" * 100,
    "terminal": "picture \x1b[31m\x07\rred",
    "direction": "picture \u202e.gpj",
    "command": "::error file=x::owned ##[error]",
    "markup": '<b>`|*_[x](y) & "quoted" 100%,:',
    "silence": " \n\n",
}


def terminal_of(document):
    """What `-v` prints of the causes."""
    return [cause.sentence for cause in causes(document["unjudged"])]


def annotated(document):
    """The titles of GitHub's annotations, as GitHub reads them."""
    lines = workflow_commands(list(_red(document, {}, Path("/"))))
    titles = [re.search(r"title=([^,:]*)", line)[1] for line in lines]
    return [re.sub("%3A", ":", re.sub("%2C", ",", title)).replace("%25", "%") for title in titles]


def summarised(document):
    """The headings of the summary, as a reader sees them."""
    lines = [line.removeprefix("### ") for line in summary(document).splitlines() if line.startswith("### ")]
    return [unescape(re.sub(r"\\(.)", r"\1", line)) for line in lines]


def on_the_page(document):
    """The cards of what stopped tests, as a reader sees them."""
    page = render(document)
    shown = re.findall(r'<summary><span class="chip[^"]*">([^<]*)</span> <span class="sentence">([^<]*)</span>', page)
    return [unescape(f"{word}: {sentence}") for word, sentence in shown]


PLACES = {"terminal": terminal_of, "annotation": annotated, "summary": summarised, "page": on_the_page}


def test_other_causes_stay_apart_in_every_place():
    """Counted by what each gate points to, or says in the same words; a test that failed twice counts once."""
    assert {name: read(DOCUMENT) for name, read in PLACES.items()} == {name: SENTENCES for name in PLACES}


def test_what_happens_on_every_device_is_one_cause():
    """The same words but for the device, the batch size and the model; another error code or file is another cause."""
    messages = [
        f"{om} failed on device {device} (NPU {device} chip 0) at batch size {batch} ({code})"
        for om, device, batch, code in (
            ("a.om", 0, 1, "507018"), ("a.om", 1, 1, "507018"), ("a.om", 1, 64, "507018"), ("a.om", 0, 1, "507011"), ("b.om", 0, 1, "507018"),
        )
    ]  # fmt: skip
    unjudged = [
        {"test": f"x.py::{number}", "outcome": "INFRA", "message": message}
        for number, message in enumerate([*messages, "see the first: x.py::2"])
    ]
    document = {**DOCUMENT, "unjudged": unjudged}
    expected = [
        f"INFRA: {messages[0]} (and 2 like it; 4 tests could not judge, the first x.py::0)",
        f"INFRA: {messages[3]} (x.py::3 could not judge)",
        f"INFRA: {messages[4]} (x.py::4 could not judge)",
    ]
    assert {name: read(document) for name, read in PLACES.items()} == {name: expected for name in PLACES}


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_every_place_says_the_same_sentence(message):
    """Whatever was found: one line that acts on nothing, with the number of tests, the same to the letter everywhere."""
    unjudged = [{"test": f"x.py::{name}", "outcome": "INFRA", "message": message} for name in "abc"]
    document = {**DOCUMENT, "unjudged": unjudged}
    (sentence,) = terminal_of(document)
    assert sentence.isprintable(), repr(sentence)
    assert sentence.endswith(" (3 tests could not judge, the first x.py::a)"), sentence
    assert {name: read(document) for name, read in PLACES.items()} == {name: [sentence] for name in PLACES}


def test_a_test_that_stopped_twice_is_one_test():
    """In its set-up and again after it, for another reason: two causes, and one test that could not judge."""
    test = "tests/acceptance/test_contract.py::test_every_row_is_a_detection_or_padding[batch8]"
    unjudged = [{"test": test, "outcome": "INFRA", "message": message} for message in ("no NPU", "no space")]
    contract = next(promise for promise in deciding({**DOCUMENT, "unjudged": unjudged}) if promise.name == "contract")
    assert contract.stopped == 1, f"{contract.stopped} tests instead of 1"
