"""The page says what moved, what is to blame, how sure that is and where to look next; red numbers that say most come first."""

import copy
import re
from html import unescape

import pytest

from fcos_lib.evidence.page import render
from fcos_lib.judge.limits import Limit
from tests.unit.evidence.entries import verdict

LOSS = Limit("paired.x.loss", -0.01, True, "AP", "a paper")
GAIN = Limit("paired.x.gain", 0.01, False, "AP", "a paper")
NONE = Limit("consistency.x.unexplained", 0, False, "detections", "every difference has a cause")


def words(document):
    """What a reader sees."""
    shown = render(document).partition("<header")[2].partition("<script")[0]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", shown)))


def chapter(document, name):
    """What stands in a chapter."""
    page = render(document)
    shown = page.partition(f'aria-labelledby="{name}"')[2].partition("</section>")[0]
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]+>", " ", shown)))


def data_of(document, kind):
    """The evidence of a kind."""
    return next(entry["data"] for entry in document["evidence"] if entry["kind"] == kind)


def entry(name, value, limit, subject="batch8", where="", promise="accuracy"):
    """A verdict of a test."""
    return verdict(value, subject, name, limit=limit, stand_in=True, where=where, promise=promise)


def test_stage_and_layer_are_named(document):
    """With real minus signs, and without a list of layers for float32 where the error is far beyond any rounding."""
    text = chapter(document, "stages")
    assert "Stage to blame: network, −0.0490 of −0.0500" in text
    side = {"score": 0.05, "overlap": 0.5, "rows": 100}
    data_of(document, "ladder")["kept"] = {"reference": side, "candidate": {**side, "overlap": 0.649}}
    data_of(document, "ladder")["judged"] = -0.05
    text = chapter(document, "stages")
    assert "on the OM under test. Of the same proposals" in text
    assert "keeps scores from 0.0500, overlaps in a class to 0.649" in text
    assert "is no rounding: look for a wrong weight, scale or kernel in this layer" in text
    layers = chapter(document, "layers")
    assert "/conv2 is the first layer whose error is more than" in layers
    assert "/conv2 (Conv), 1000 times what fp16 explains" in layers
    assert "keep_dtype" not in words(document)


@pytest.mark.parametrize(("ratio", "text"), [(20.0, "If rounding is to blame"), (None, "infinite or not numbers")])
def test_float32_is_advised_where_it_may_help(document, ratio, text):
    """Near rounding or beyond fp16's range: the nodes, the command that writes them to a file, and the suite's option."""
    data_of(document, "layers")["layers"][1]["ratio"] = ratio
    stages = chapter(document, "stages")
    assert text in stages
    assert "python -m fcos_lib explain results.json --batch 8 --layers" in stages
    document["run"]["settings"] = {"artifacts": "it's here"}
    command = """python -m fcos_lib explain 'it'"'"'s here/results/results.json' --batch 8 --layers"""
    assert command in chapter(document, "stages"), "the command is run where the suite ran"
    assert "--atc-option=--keep_dtype=keep_dtype-batch8.cfg" in stages


def test_stages_that_chance_explains_are_not_blamed(document):
    """An interval around zero blames nobody; a layer that differs says where to look in any case."""
    for stage in data_of(document, "ladder")["stages"]:
        stage.update(low=-0.1, high=0.1)
    assert "Stage to blame: none" in chapter(document, "stages")
    assert "Look at /conv2 in the ONNX" in words(document)
    document["evidence"].remove(next(entry for entry in document["evidence"] if entry["kind"] == "layers"))
    assert "Where to look next" not in words(document)


@pytest.mark.parametrize("aipp", [False, True])
def test_preprocessing_is_looked_for_in_aipp(document, aipp):
    """With AIPP: its file, and why other gates seem to say otherwise. A folder's name cannot become a command."""
    document["run"]["settings"]["artifacts"] = "/a; rm -r b"
    data_of(document, "ladder")["stages"][0]["stage"] = "preprocess"
    for entry in document["evidence"]:
        entry["subject"] += "-aipp" * aipp
    text = chapter(document, "stages")
    assert "the mean, the order of channels" in text
    assert ("they count what AIPP makes of a picture as the network's" in text) == aipp
    assert ("cat '/a; rm -r b/om/abc/aipp.cfg'" in text) == aipp


@pytest.mark.parametrize("stage", ["decoding", "NMS", "of tomorrow"])
def test_every_stage_has_its_advice(document, stage):
    """And a command to copy."""
    data_of(document, "ladder")["stages"][0]["stage"] = stage
    text = chapter(document, "stages")
    assert "Where to look next Look at " in text
    assert ("atc --mode=1" in text) == (stage == "NMS")
    assert ("--layers" in text) == (stage != "NMS")


@pytest.mark.parametrize("red", [False, True])
def test_a_gain_that_is_red_is_no_good_news(document, red):
    """Accuracy says that it is a difference as well."""
    whole = data_of(document, "classes")["all"][0]
    whole["difference"] = {"value": 0.05, "low": 0.04, "high": 0.06, "n": 40}
    document["verdicts"] = [entry("mAP difference", 0.05, GAIN if red else LOSS)]
    text = chapter(document, "accuracy")
    assert ("A gain without a cause is a difference as well" in text) == red
    assert ("Within its limits" in text) != red


@pytest.mark.parametrize(
    ("value", "where", "text"),
    [
        (0.0, "", "taken alone, chance does not explain it; the largest of all 2 classes may be chance"),
        (0.03, "dog: -0.11", "among all 2 classes a loss of at least 0.0300 is certain"),
        (0.03, "cat: -0.20", "taken alone, chance does not explain it"),
        (None, "", "taken alone, chance does not explain it"),
    ],
)
def test_the_largest_of_many_is_not_taken_for_certain(document, value, where, text):
    """The worst of many classes is off zero by chance more often than one: what the gate says, which knows, is said."""
    if value is not None:
        document["verdicts"].append(entry("certain loss in a class", value, None, where=where))
    assert f"dog, −0.1100 (95 % between −0.1500 and −0.0700); {text} batch8" in chapter(document, "accuracy")


def test_red_numbers_that_say_most_come_first(document):
    """The difference in mAP, then differences without a cause, then the rest; tests are counted apart from numbers."""
    document["unjudged"] = []
    document["verdicts"] = [
        entry("explained differences", 0.5, NONE, promise="consistency"),
        entry("unexplained differences", 7, NONE, promise="consistency"),
        entry("identical detections", 0, NONE, promise="consistency"),
        entry("mAP difference", -0.2, LOSS),
    ]
    text = words(document)
    assert "2 of 4 tests failed" in text
    assert "2 of 3 numbers" in text
    assert "1 of 1 number " in text
    names = ("mAP difference −0.2 AP", "unexplained differences 7", "explained differences 0.5")
    places = [text.index(f"[batch8] {name}") for name in names]
    assert places == sorted(places)


def test_a_number_with_two_limits_is_one_gate(document):
    """Its other side is not praised while it is red; else it is said which side is meant."""
    both = [entry("mAP difference", -0.2, LOSS), entry("mAP difference", -0.2, GAIN)]
    document["verdicts"] = copy.deepcopy(both)
    assert "within their limits" not in words(document)
    document["verdicts"] = [entry("mAP difference", 0.001, LOSS), entry("mAP difference", 0.001, GAIN)]
    assert "mAP difference (loss)" in words(document)
    assert "mAP difference (gain)" in words(document)


def test_cards_speak_of_classes_by_name(document):
    """A device knows numbers only; signs are real ones, and the reason is that of the limit."""
    document["artifacts"][0]["provenance"]["contract"] = {"name": "pets", "classes": ["cat", "dog"]}
    document["verdicts"] = [entry("mAP", -0.5, LOSS, where="label 1 became label 7 at [-1.0, 2.0] in 2026-01-02.jpg")]
    text = words(document)
    assert "dog became label 7 at [−1.0, 2.0] in 2026-01-02.jpg" in text
    assert "why this limit" in text
    assert "because" not in text
