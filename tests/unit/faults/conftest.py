"""Artifacts that are made once for all faults of a run, and the stage on which each of them happens."""

import json
import shutil

import pytest
from filelock import FileLock

from fixtures.options import settings
from tests.gateproof.child import Child, keep_only
from tests.unit.faults.stage import ACCURACY, GATE, Stage


@pytest.fixture(scope="session")
def prepared(request, run_id):
    """A folder with the ONNX, the OM, the references and the numbers of undisturbed runs, from whichever worker comes first."""
    folder = settings(request.config).artifacts / "faults"
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / "run_id"
    with FileLock(folder / "lock"):
        if not stamp.is_file() or stamp.read_text(encoding="utf-8") != run_id:
            stamp.unlink(missing_ok=True)
            for leftover in ("trace", "artifacts/journal"):
                shutil.rmtree(folder / leftover, ignore_errors=True)
            child, documents = Child(folder), []
            for marks, *options in (GATE, ACCURACY):
                outcome = child.run(*options, marks=marks, batch_sizes="2")
                assert outcome.status in (0, 7), f"the undisturbed run is not green:\n{outcome.output}"
                documents.append(outcome.document)
            keep_only(child.artifacts, *documents)
            (folder / "numbers.json").write_text(json.dumps(numbers(outcome.document)), encoding="utf-8")
            stamp.write_text(run_id, encoding="utf-8")
    return folder


@pytest.fixture
def stage(prepared, tmp_path):
    """Make a stage; whatever was started on it ends with the test."""
    stages = []

    def make(without=()):
        stages.append(Stage(tmp_path / "stage", prepared / "artifacts", without))
        return stages[-1]

    yield make
    for item in stages:
        item.close()


@pytest.fixture
def expected(prepared):
    """Everything that the undisturbed evaluation measured."""
    return json.loads((prepared / "numbers.json").read_text(encoding="utf-8"))


def numbers(document):
    """Everything that a run measured, by gate, without how it came about."""
    measured = {}
    for verdict in document["verdicts"]:
        item = verdict["measurement"]
        details = {name: value for name, value in item["details"].items() if name != "evaluation"}
        measured.setdefault(verdict["gate"], []).append([item["value"], item["n"], details])
    assert measured, "no gate was judged"
    return json.loads(json.dumps(measured))
