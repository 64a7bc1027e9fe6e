"""Artifacts that are made once for all faults of a session, and the stage on which each of them happens."""

import json

import pytest

from tests.gateproof.child import Child
from tests.prepared import once
from tests.unit.faults.stage import ACCURACY, GATE, Stage


@pytest.fixture(scope="session")
def rehearsed(tmp_path_factory, prepared):
    """A folder with `artifacts`, among them one OM of each kind, and `numbers.json` of an undisturbed evaluation."""

    def rehearse(folder):
        child = Child(folder, prepared, without=("om", "om-json", "onnx-proposals"))
        for marks, *options in (GATE, ACCURACY):
            outcome = child.run(*options, marks=marks, batch_sizes="2")
            assert outcome.status in (0, 7), f"the undisturbed run is not green:\n{outcome.output}"
        (folder / "numbers.json").write_text(json.dumps(numbers(outcome.document)), encoding="utf-8")

    return once(tmp_path_factory, "rehearsed", rehearse)


@pytest.fixture
def stage(rehearsed, copies, tmp_path):
    """Make a stage; whatever was started on it ends with the test."""
    stages = []

    def make(without=()):
        stages.append(Stage(tmp_path / "stage", rehearsed / "artifacts", copies, without))
        return stages[-1]

    yield make
    for each in stages:
        each.close()


@pytest.fixture
def expected(rehearsed):
    """Everything that the undisturbed evaluation measured."""
    return json.loads((rehearsed / "numbers.json").read_text(encoding="utf-8"))


def numbers(document):
    """Everything that a run measured, by gate, without how it came about."""
    measured = {}
    for verdict in document["verdicts"]:
        item = verdict["measurement"]
        details = {name: value for name, value in item["details"].items() if name != "evaluation"}
        measured.setdefault(verdict["gate"], []).append([item["value"], item["n"], details])
    assert measured, "no gate was judged"
    return json.loads(json.dumps(measured))
