"""One decision on what is to blame: stages by their share and interval, layers by what fp16 explains, thresholds from limits.toml."""

import pytest
from msgspec.structs import replace

from fcos_lib.diagnosis.blame import (
    FLOAT32_HELPS,
    OVERFLOW,
    blame,
    layers_are_worth_a_search,
    near_the_reference,
    threshold,
)
from fcos_lib.errors import UsageError
from fcos_lib.evidence.explained import explained
from fcos_lib.judge.limits import Limit, all_limits
from fcos_lib.judge.limits_file import check_limits
from fcos_lib.judge.verdict import decide
from fcos_lib.measure import Measurement


def ladder(**values):
    """Stages with what each adds to the mAP, certain unless it is given as text."""
    stages = [
        {"stage": name, "value": float(value), "low": -1.0 if isinstance(value, str) else float(value) - 0.0001,
         "high": 1.0 if isinstance(value, str) else float(value) + 0.0001}
        for name, value in values.items()
    ]  # fmt: skip
    total = sum(stage["value"] for stage in stages)
    return {"stages": stages, "total": {"value": total, "low": total, "high": total}}


def layers(ratio):
    """One layer that differs."""
    before = {"name": "/conv0", "operator": "Conv", "ratio": 1.0}
    return {"layers": [before, {"name": "/conv1", "operator": "Conv", "ratio": ratio}], "first": "/conv1"}


@pytest.mark.parametrize(
    ("values", "stages", "why"),
    [
        ({"network": -0.039, "NMS": -0.011}, ("network", "NMS"), "network, -0.0390 and NMS, -0.0110 of -0.0500"),
        ({"network": -0.041, "NMS": -0.009}, ("network",), "network, -0.0410 of -0.0500"),
        ({"network": "-0.04", "NMS": -0.011}, ("NMS",), "NMS, -0.0110 of -0.0510"),
        ({"network": 0.03, "NMS": -0.04}, ("NMS", "network"), "NMS, -0.0400 and network, +0.0300 of -0.0100"),
        ({"network": "-0.04"}, (), "none: chance may explain what the stages share of -0.0400"),
        ({"network": 0.0}, (), "none: chance may explain what the stages share of ±0.0000"),
    ],
    ids=["both", "share", "chance", "gain", "none", "nothing"],
)
def test_stages_are_blamed_for_a_certain_share(values, stages, why):
    """A fifth of all that was lost and gained is enough, less is not, and what chance may explain is nobody's fault."""
    decided = blame(ladder(**values))
    assert (decided.stages, decided.why) == (stages, why)
    assert bool(decided.next_step) == bool(decided.part) == bool(stages)
    moved = [abs(float(value)) for value in values.values()]
    expected = abs(float(values[stages[0]])) / sum(moved) if stages else 0
    assert decided.measured == pytest.approx(expected), f"share {decided.measured}, expected {expected}"
    assert decided.limit.name == "diagnosis.stage_share"


@pytest.mark.parametrize(
    ("ratio", "remedy", "float32"),
    [(5.0, FLOAT32_HELPS, True), (50.0, FLOAT32_HELPS, True), (51.0, "More than 50 times", False), (None, OVERFLOW, True)],
)  # fmt: skip
def test_a_layer_says_whether_rounding_may_be_to_blame(ratio, remedy, float32):
    """The next step names the layer if the network is to blame, and only then."""
    decided = blame(ladder(network=-0.04), layers(ratio))
    assert decided.remedy.startswith(remedy)
    assert decided.float32_may_help is float32
    assert decided.next_step.startswith(f"{decided.remedy} Look at /conv1 in the ONNX")
    assert "conv1" not in blame(ladder(NMS=-0.04), layers(ratio)).next_step


def test_the_first_of_all_layers_may_have_a_wrong_input():
    """No layer before it could have shown that what reaches it is wrong: its order of channels, for example."""
    data = layers(900.0)
    assert "order of channels" not in blame(ladder(network=-0.04), data).next_step
    del data["layers"][0]
    assert "what reaches it may be wrong instead, its order of channels" in blame(ladder(network=-0.04), data).next_step


def test_a_layer_that_differs_blames_the_network():
    """Whatever the mAP did: behind the stages that lost it for certain, and alone if it is within its limits."""
    decided = blame(ladder(NMS=-0.04), layers(9.0))
    assert (decided.stages, decided.why) == (("NMS", "network"), "NMS, -0.0400 of -0.0400; network, /conv1")
    data = ladder(NMS=0.003) | {"within": True, "pictures": 5, "sentence": "of +0.0030"}
    assert (blame(data).stages, blame(data).why) == (
        (),
        "none: +0.0030 is within its limits; a low mAP is the reference's too",
    )
    decided = blame(data, layers(9.0))
    assert (decided.stages, decided.why, decided.measured) == (("network",), "network, /conv1", 0.0)
    records = [{"kind": "ladder", "data": data}]
    records.append({"kind": "layers", "data": layers(9.0) | {"k": 4.0, "pictures": ["1.jpg"]}})
    for layer in records[1]["data"]["layers"]:
        layer |= {"error": 0.1, "expected": 0.01}
    lines = explained(records)
    assert lines[-2:] == ["to blame: network or compiler: network, /conv1", f"  {decided.next_step}"]


@pytest.mark.parametrize(
    ("red", "near"), [("accuracy.mAP", True), ("paired.loss", False), ("accuracy.unlike_reference", False), ("", True)]
)
def test_an_om_is_near_the_reference_if_no_comparison_is_red(red, near):
    """An mAP below its limit says nothing about that, and without a comparison nobody knows."""
    verdicts = [
        decide("accuracy", "batch8", Measurement("x", 1.0, "", 240, gate=key), Limit(key, 0 if key == red else 2, False, "", ""), stand_in=True)
        for key in ("accuracy.mAP", "paired.loss", "accuracy.unlike_reference")
    ]  # fmt: skip
    assert near_the_reference(verdicts) is near
    assert not near_the_reference(verdicts[:1])


def test_either_kind_of_evidence_is_enough():
    """Layers alone blame no stage; without layers there is no remedy, and float32 is not ruled out."""
    assert blame(layers=layers(9.0)).stages == ()
    assert blame(layers=layers(9.0)).layer["name"] == "/conv1"
    assert (blame(ladder(network=-0.04)).layer, blame(ladder(network=-0.04)).remedy) == (None, "")
    assert blame().float32_may_help


@pytest.mark.parametrize(
    ("stage", "part"),
    [
        ("preprocess", "network input"),
        ("network", "network or compiler"),
        ("decoding", "decoding of the head"),
        ("NMS", "post-processing"),
        ("of tomorrow", "of tomorrow"),
    ],
)
def test_a_stage_is_a_part_that_a_reader_knows(stage, part):
    """The terminal names it with its share, the threshold and the next step; one that nobody knows keeps its name."""
    data = ladder(**{stage: -0.04}) | {"pictures": 5, "sentence": "of -0.0400"}
    decided, lines = blame(data), explained([{"kind": "ladder", "data": data}])
    assert decided.part == part
    assert lines[-3:] == [
        f"to blame: {part}: {stage}, -0.0400 of -0.0400",
        "  100% of what all stages moved, at least 20% are to blame (limits.toml: diagnosis.stage_share)",
        f"  {decided.next_step}",
    ]


@pytest.mark.parametrize(
    ("values", "searched"),
    [
        ({"network": -0.001}, True),
        ({"network": "0.001"}, True),
        ({"network": -0.0009}, False),
        ({"network": -0.011, "NMS": -0.04}, True),
        ({"network": -0.009, "NMS": -0.04}, False),
        ({"NMS": -0.04}, False),
    ],
)
def test_layers_are_searched_if_the_network_moved_enough(values, searched):
    """By a thousandth of AP and a fifth of all, up or down; chance does not count here, the layers tell."""
    assert layers_are_worth_a_search(ladder(**values)) is searched


@pytest.mark.parametrize("name", ["stage_share", "network_moved", "layer_error", "rounding"])
def test_a_threshold_is_checked_like_a_limit(name):
    """A misspelled one is named with its nearest, a missing one and a flipped one are errors."""
    key = f"diagnosis.{name}"
    others = {other: limit for other, limit in all_limits().items() if other != key}
    misspelled = replace(all_limits()[key], name=f"{key}s")
    for limits, words in (
        (others, f"lacks [{key}]"),
        (others | {f"{key}s": misspelled}, f"has [{key}s], which no gate knows; the nearest is [{key}]"),
        (others | {key: replace(all_limits()[key], at_least=not all_limits()[key].at_least)}, f"has [{key}] as "),
    ):
        with pytest.raises(UsageError) as error:
            check_limits(limits)
        assert words in error.value.found
    with pytest.raises(UsageError, match=r"limits.toml has no \[diagnosis.x\]"):
        threshold("x")
