"""A run is written down whole, and its table can be read."""

import json

import numpy as np
import pytest

from fcos_lib.evidence.results import SCHEMA_VERSION, in_reading_order, verdict_table, write_results
from tests.unit.evidence.entries import verdict


def test_results_can_be_read_back(tmp_path):
    """Schema version and verdicts survive."""
    path = tmp_path / "deep" / "results.json"
    write_results(
        path, environment={"python": "3"}, artifacts=[], verdicts=[verdict(0.4)], unjudged=[], run={"seconds": 1}
    )
    document = json.loads(path.read_text())
    assert document["schema_version"] == SCHEMA_VERSION
    assert document["verdicts"][0]["outcome"] == "PASS"
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]


def test_nan_stays_valid_json(tmp_path):
    """JSON has no NaN; it is written as text."""
    path = tmp_path / "results.json"
    write_results(path, environment={}, artifacts=[], verdicts=[verdict(float("nan"))], unjudged=[], run={})
    assert json.loads(path.read_text())["verdicts"][0]["measurement"]["value"] == "nan"
    assert "nan" in verdict_table([verdict(float("nan"))])[1]


def test_numbers_of_numpy_are_numbers(tmp_path):
    """Evidence may hold them, and a run must not be lost for that."""
    path, entry = tmp_path / "results.json", {"kind": "x", "subject": "all", "data": {"rate": np.float64(1.5)}}
    write_results(path, environment={}, artifacts=[], verdicts=[], unjudged=[], run={}, evidence=[entry])
    assert json.loads(path.read_text())["evidence"][0]["data"] == {"rate": 1.5}


def test_a_part_that_no_run_has_is_refused(tmp_path):
    """A misspelt name would be read as nothing at all."""
    with pytest.raises(TypeError):
        write_results(tmp_path / "results.json", environment={}, artifacts=[], verdict=[], unjudged=[], run={})
    assert not [*tmp_path.iterdir()]


def test_a_failed_write_keeps_the_old_file(tmp_path):
    """Nothing is half-written."""
    path = tmp_path / "results.json"
    path.write_text("old")
    with pytest.raises(TypeError):
        write_results(path, environment={"bad": object()}, artifacts=[], verdicts=[], unjudged=[], run={})
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_the_table_names_limit_value_and_verdict():
    """One line per gate."""
    header, line = verdict_table([verdict(0.4, stand_in=True)])
    assert header.split() == ["gate", "on", "limit", "measured", "verdict"]
    assert "≥ 0.359 AP" in line
    assert line.endswith("STAND-IN")


def test_verdicts_are_read_by_promise_and_batch_size():
    """batch16 comes after batch8, and the reference before both."""
    came = [
        ("throughput", "batch1"),
        ("accuracy", "batch16"),
        ("contract", "batch1"),
        ("accuracy", "batch8"),
        ("accuracy", "reference"),
    ]
    ordered = in_reading_order([{"promise": promise, "subject": subject} for promise, subject in came])
    assert [(v["promise"], v["subject"]) for v in ordered] == [came[2], came[4], came[3], came[1], came[0]]


def test_batch_sizes_with_the_same_verdict_share_a_line():
    """Five numbers in one line, the failing one in its own."""
    _, green, red = verdict_table([verdict(0.4, "batch1"), verdict(0.41, "batch4"), verdict(0.3, "batch8")])
    assert "batch1, 4" in green
    assert "0.4 to 0.41 AP" in green
    assert green.endswith("PASS")
    assert "batch8" in red
    assert red.endswith("FAIL")
