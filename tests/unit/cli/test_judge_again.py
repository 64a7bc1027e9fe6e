"""A stored run can be judged again under other limits, and every limit shows where it comes from."""

import json
import re

import pytest

from fcos_lib.cli.main import main
from fcos_lib.evidence.results import write_results
from fcos_lib.judge.limits import FILE, find_limit
from fcos_lib.judge.verdict import decide
from fcos_lib.measure import Measurement


@pytest.fixture
def results(tmp_path):
    """The results of a run with one accuracy gate at 0.40."""
    val2017 = {"count": 5000, "first": 139, "last": 581781, "ids_sha256": "0" * 64}
    measured = Measurement("mAP as published", 0.40, "AP", 4952, details={"data_set": val2017})
    limit = find_limit("accuracy", "coco_r50", "mAP_as_published")
    verdict = decide("accuracy", "batch8", measured, limit, stand_in=False)
    path = tmp_path / "results.json"
    write_results(path, environment={}, artifacts=[], verdicts=[verdict.as_dict()], unjudged=[], run={})
    return path


@pytest.fixture
def stricter(tmp_path):
    """Limits under which 0.40 is not enough."""
    path = tmp_path / "limits.toml"
    path.write_text(FILE.read_text(encoding="utf-8").replace("bound = 0.359", "bound = 0.41"), encoding="utf-8")
    return path


def test_the_same_limits_give_the_same_verdict(results, capsys):
    """Nothing moved, exit 0."""
    assert main(["judge", str(results)]) == 0
    assert "0 verdicts differ" in capsys.readouterr().out


def test_other_limits_give_another_verdict_without_inference(results, stricter, capsys):
    """0.40 is below 0.41: FAIL, exit 1."""
    assert main(["judge", str(results), "--limits", str(stricter)]) == 1
    out = capsys.readouterr().out
    assert "FAIL" in out
    assert "1 verdicts differ" in out


def test_limits_with_a_hole_judge_nothing(results, tmp_path, capsys):
    """Exit 3 and the first limit that is missing: nobody says what would be enough."""
    empty = tmp_path / "none.toml"
    empty.write_text("", encoding="utf-8")
    assert main(["judge", str(results), "--limits", str(empty)]) == 3
    assert "none.toml lacks [accuracy.distance_from_pycocotools]" in capsys.readouterr().err


def test_a_limit_that_is_gone_is_no_verdict(results, tmp_path, capsys):
    """Exit 7: a whole contract's limits may be absent, and its gates say which they lack."""
    kept = re.sub(r"\[\w+\.coco_r50\.[^\[]*", "", FILE.read_text(encoding="utf-8"))
    path = tmp_path / "shapes.toml"
    path.write_text(kept, encoding="utf-8")
    assert main(["judge", str(results), "--limits", str(path)]) == 7
    assert "NO VERDICT" in capsys.readouterr().out


def test_a_run_without_a_measurement_is_one_clear_error(tmp_path, capsys):
    """Exit 3, and no traceback; files that are no results have their cases in tests/unit/hostile/test_files.py."""
    path = tmp_path / "results.json"
    write_results(path, environment={}, artifacts=[], verdicts=[], unjudged=[], run={})
    assert main(["judge", str(path)]) == 3
    assert "holds no measurement" in capsys.readouterr().err


def test_limits_prints_bound_and_source(capsys):
    """The published accuracy with the table it was published in."""
    assert main(["limits"]) == 0
    out = capsys.readouterr().out
    assert "accuracy.coco_r50.mAP_as_published  must be at least 0.359 AP" in out
    assert "ModelZoo FCOS README" in out


def test_results_of_a_failed_gate_keep_its_outcome(results, capsys):
    """A gate that failed before it could judge is not forgotten."""
    document = json.loads(results.read_text())
    document["unjudged"] = [{"test": "tests/acceptance/x", "outcome": "INFRA"}]
    results.write_text(json.dumps(document))
    assert main(["judge", str(results)]) == 8
    assert "INFRA: tests/acceptance/x" in capsys.readouterr().out
