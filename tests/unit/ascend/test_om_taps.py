"""Tensors of a network's inside are found among an OM's outputs, by name or by their place."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from fcos_lib.ascend.atc_command import AtcOptions, command
from fcos_lib.ascend.om_tensors import tap_places
from fcos_lib.contract import SHAPES
from fcos_lib.errors import SessionError

FLOAT, INT64 = 0, 9


def desc(name, shape=(2, 4), datatype=FLOAT):
    """What aclruntime says of an output."""
    return SimpleNamespace(name=name, datatype=datatype, shape=list(shape), format=2, size=32, realsize=32)


def test_names_are_found_wherever_they_are():
    """atc keeps the ONNX's names behind its own."""
    outputs = [desc("Conv_1:0:b"), desc("Conv_2:0:labels"), desc("Conv_3:0:a")]
    assert tap_places(outputs, ["a", "b"], 2, Path("x.om")) == {"a": 2, "b": 0}


def test_without_names_they_are_the_last_ones():
    """In the order in which they were asked for."""
    outputs = [desc("Conv_1:0"), desc("Conv_2:0"), desc("Conv_3:0")]
    assert tap_places(outputs, ["a", "b"], 2, Path("x.om")) == {"a": 1, "b": 2}


@pytest.mark.parametrize(
    "outputs",
    [[desc("x:0:a")], [desc("x:0:a", datatype=INT64), desc("x:0:b")], [desc("x:0:a", shape=(1, 4)), desc("x:0:b")], []],
    ids=["one missing", "wrong type", "wrong batch size", "none"],
)
def test_an_om_without_them_is_refused(outputs):
    """With the name that was looked for."""
    with pytest.raises(SessionError, match=r"none is '[ab]'"):
        tap_places(outputs, ["a", "b"], 2, Path("x.om"))


def test_atc_is_asked_for_them_last():
    """Behind what every OM returns."""
    arguments = command(
        Path("atc"),
        Path("m.onnx"),
        Path("model"),
        SHAPES,
        AtcOptions("Ascend310P3", 1, candidates=True, taps=("class_p3", "t")),
    )
    assert "--out_nodes=labels;dets;boxes;scores;class_p3;t" in arguments
