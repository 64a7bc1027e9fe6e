"""The first screen has a card for each promise: its verdict, the number that decides it as on the terminal, and where to read on."""

import copy
import math
import re

import pytest

from fcos_lib.evidence.earlier import evidence_of_earlier
from fcos_lib.evidence.last_lines import last_lines
from fcos_lib.evidence.page import render
from fcos_lib.evidence.page.cards import cards
from fcos_lib.evidence.plain_text import Screen
from fcos_lib.judge.roll_call import State
from tests.unit.evidence.endings import ENDING, SLOTS, TEST, ended, judged, left_out, whole
from tests.unit.evidence.entries import Elements

PROMISES = ("contract", "consistency", "accuracy", "throughput", "cost")


def stopped(outcome="INFRA"):
    """A run in which one cause stopped a test of contract and two of consistency."""
    first = TEST.format("test_contract.py::test_every_row_is_a_detection_or_padding[batch8]")
    unjudged = [
        {"test": first, "outcome": outcome, "phase": "setup", "message": "atc ended with status 255\n  → atc.log"}
    ]
    unjudged += [
        {"test": TEST.format(f"{SLOTS}[batch{size}]"), "outcome": outcome, "phase": "setup", "message": f"see the first: {first}"}
        for size in (8, 64)
    ]  # fmt: skip
    return ended([judged("accuracy.reference_mAP", 0.668, 0.661, "reference")], 8, unjudged)


def red():
    """A run that is red in two promises."""
    change = {
        ("consistency.unexplained", "batch64"): judged("consistency.unexplained", 812.0, 0.0, "batch64"),
        ("paired.loss", "batch8"): judged("paired.loss", -0.0498, -0.01),
        ("paired.loss", "batch64"): judged("paired.loss", -0.0046, -0.01, "batch64", interval=(-0.0312, 0.0124)),
        ("cost.om_size", "batch64"): judged("cost.om_size", 0.0, 1.0, "batch64", n=0),
    }
    return ended(whole(change=change), 1)


RUNS = {
    "green": lambda: ended(whole()),
    "stand-in": lambda: ended(whole(stand_in=True), device={"stand_in": True}),
    "red": red,
    "infra": stopped,
    "part": lambda: left_out(("cost.om_size", "batch8", State.NOT_SELECTED, "by -m 'contract'")),
}


def shown(document, chapters=(), groups=()):
    """The cards by promise."""
    listed = cards(document, chapters, groups)["cards"]
    assert tuple(card["promise"] for card in listed) == PROMISES
    return {card["promise"]: card for card in listed}


@pytest.mark.parametrize("kind", RUNS)
def test_cards_and_last_lines_have_the_same_numbers(kind):
    """Verdict, value, unit, name, limit and subject of each line stand on its card, with real minus signs; other cards have no number."""
    document = RUNS[kind]()
    listed = shown(document)
    lines = [line for _, line in last_lines(document, ENDING, Screen(200)) if line[11:].split(" ")[0] in PROMISES]
    for line in lines:
        promise, text = line[11:22].strip(), line[23:].replace("-", "−")
        card = listed.pop(promise)
        assert line[:10].strip() == card["word"], f"{promise}: {card['word']} on the card, {line!r} on the terminal"
        limit = card["limit"].removeprefix("limit ")
        number = f"{card['name']} {card['value']}{' ' * bool(card['unit'])}{card['unit']} ({limit}), {card['on']}"
        expected = text.replace("; ", ", ") if card["value"] != "–" else text
        assert expected in (number, f"{card['name']}; the cause is below"), f"{number!r} is not {expected!r}"
    assert {card["value"] for card in listed.values()} <= {"–"}, f"numbers that the terminal does not have: {listed}"


def test_a_promise_that_was_left_out_says_by_what():
    """And one of which nothing is known says that, as does one of which a part was left out."""
    document = left_out(
        ("cost.om_size", "batch8", State.NOT_SELECTED, "by -m 'contract'"),
        ("contract.broken_rows", "batch4", State.NOT_SELECTED, "by -k 'not batch4'"),
        ("throughput.unexplained", "batch8", State.BLOCKED, "throughput is measured alone"),
        ("accuracy.mAP", "batch8", State.DOES_NOT_APPLY, "part of a dataset"),
        ("bias.size", "batch8", State.MISSING, "test_consistency.py is not there"),
    )
    listed = shown(document, groups=["roll"])
    words = {promise: (card["word"], card["why"]) for promise, card in listed.items()}
    assert words == {
        "contract": ("PASS", "1 gate not selected: by -k 'not batch4'"),
        "consistency": ("NO VERDICT", "1 gate missing: test_consistency.py is not there"),
        "accuracy": ("does not apply", "1 gate does not apply: part of a dataset"),
        "throughput": ("NO VERDICT", "1 gate blocked: throughput is measured alone"),
        "cost": ("not selected", "1 gate not selected: by -m 'contract'"),
    }
    assert listed["cost"]["link"] == ("roll", "gates that did not judge")
    old = {**document, "gates": []}
    assert shown(old)["cost"]["why"] == "the run does not say what became of its gates"


def test_what_is_no_plain_verdict_says_why():
    """STAND-IN, INFRA, and each kind of NO VERDICT."""
    assert shown(RUNS["stand-in"]())["accuracy"]["why"] == "measured on the emulator"
    said = stopped()
    said["unjudged"][0]["message"] = "model.om failed ([-1][ACL: general failure])"
    assert shown(said)["contract"]["why"] == "model.om failed ([-1][ACL: general failure])", (
        "a machine's words stay as they are"
    )
    infra = shown(stopped())
    assert (infra["consistency"]["name"], infra["consistency"]["why"]) == (
        "2 tests could not judge",
        "atc ended with status 255",
    )
    lacks = judged("accuracy.mAP", 0.5) | {"lacks": "accuracy.pets.mAP", "outcome": "NO VERDICT"}
    reasons = [
        (judged("accuracy.mAP", 0.5, 0.661, n=0), "nothing was measured"),
        (judged("accuracy.mAP", 0.66, 0.661, interval=(0.65, 0.67)), "the limit lies inside the interval: more samples would tell"),
        (lacks, "limits.toml has no [accuracy.pets.mAP]"),
        (judged("accuracy.mAP", 0.5), "there is no limit for it"),
        (judged("accuracy.ruler", 0.5, 0.001), "the ruler is off: nothing is known about the model"),
    ]  # fmt: skip
    for entry, why in reasons:
        card = shown(ended([entry], 7))["accuracy"]
        assert (card["word"], card["why"]) == ("NO VERDICT", why)


def earlier(document, values, **change):
    """The document with earlier runs, whose number of contract was these values."""
    runs = []
    for value in values:
        before = copy.deepcopy(document)
        before["verdicts"] = [judged("contract.broken_rows", value, 0.0)]
        before["run"] |= {"started_at": f"2026-11-{len(runs) + 1:02}T00:00:00Z"}
        before["environment"] |= change
        before["evidence"] = runs[-1]["evidence"] if runs else []
        runs.append({**document, "evidence": list(evidence_of_earlier(before, document))})
    return runs[-1]


def drawing(document, promise="contract"):
    """The picture of a card."""
    return str(shown(document)[promise]["chart"].svg(False))


def test_a_picture_has_the_runs_before(document):
    """As many points as there were runs, the oldest first; a cross for what was outside of the limit."""
    document = earlier(ended([judged("contract.broken_rows", 0.0, 0.0)]), [0.0, 7.0, 0.0])
    drawn = drawing(document)
    assert "3 earlier runs" in drawn
    assert (drawn.count('class="run"'), drawn.count('class="outside"'), drawn.count('class="now"')) == (2, 1, 1)
    assert "<desc>0 rows in this run, ≤ 0 rows; earlier: 0, 7, 0</desc>" in drawn
    assert "2026-11-01" in drawn
    (joined,) = re.findall(r'class="curve before" points="([^"]*)"', drawn)
    assert len(joined.split()) == 4, f"{joined} does not join three earlier runs and this one"


def test_what_is_not_alike_is_not_put_in_a_row():
    """Another chip, the emulator beside a device, other pictures: none of them is this number's past."""
    document = ended([judged("contract.broken_rows", 0.0, 0.0)])
    assert "no earlier run" in drawing(document)
    assert "no earlier run" in drawing(earlier(document, [0.0], device={"soc_version": "Ascend910B4"}))
    part = earlier(document, [0.0])
    part["run"] = {**part["run"], "settings": {"pictures": 20}}
    assert "no earlier run" in drawing(part)
    emulated = earlier(document, [0.0])
    emulated["verdicts"] = [judged("contract.broken_rows", 0.0, 0.0, stand_in=True)]
    assert "no earlier run" in drawing(emulated)


@pytest.mark.parametrize("data", [None, {}, {"runs": 3}, {"runs": [{"numbers": {"x": "y"}}]}, {"runs": [{}] * 99}])
def test_a_past_that_cannot_be_read_hides_no_card(data):
    """A file may hold anything for evidence."""
    document = ended([judged("contract.broken_rows", 0.0, 0.0)])
    document["evidence"] = [{"kind": "earlier", "subject": "all", "data": data}]
    assert "no earlier run" in drawing(document)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e308, -1e-300])
def test_every_number_can_be_drawn(value):
    """What is not finite has no place, and its card has all the rest."""
    drawn = drawing(ended([judged("contract.broken_rows", value, 0.0)], 1))
    assert ('class="now' in drawn) == (abs(value) < 1e100)
    assert not re.search(r'="[^"]*(?:nan|inf)[^"]*"', drawn), "a length that is no number"


@pytest.mark.parametrize("kind", RUNS)
def test_every_link_leads_somewhere(kind):
    """To an id of the page, from cards and sections alike; no id is there twice."""
    page = Elements(render(RUNS[kind]()))
    ids = [attributes["id"] for _, attributes in page.found if "id" in attributes]
    assert len(ids) == len({*ids}), f"ids that are there twice: {sorted(name for name in ids if ids.count(name) > 1)}"
    links = [attributes["href"][1:] for tag, attributes in page.found if tag == "a"]
    assert len(links) > 5, "five cards have a link each"
    assert {*links} <= {*ids}, f"links to nothing: {sorted({*links} - {*ids})}"


def test_a_red_card_leads_to_its_verdict_or_to_the_stage(document):
    """The stage that is to blame is named where one is known."""
    shown_here = shown(document, chapters=["stages"])["accuracy"]
    assert shown_here["link"] == ("stages", "stage to blame: network")
    document["evidence"] = []
    target, words = shown(document)["accuracy"]["link"]
    assert words == "why, and how to run it again"
    assert f'id="{target}"' in render(document)


def test_the_proof_of_the_gates_has_no_cards(document):
    """Nothing was promised in such a run."""
    document |= {"verdicts": [], "unjudged": []}
    assert cards(document, [], []) == {}
    assert 'class="promise' not in render(document)
