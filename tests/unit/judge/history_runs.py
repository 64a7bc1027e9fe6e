"""Runs for the history tests: a document as pytest-benchmark writes it, with what the suite adds."""

import json
from datetime import datetime, timedelta, timezone
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

from msgspec.structs import replace

from fcos_lib.judge.exit_status import exit_status
from fcos_lib.judge.history import Fingerprint, Rate, Run, Series, run_of
from fcos_lib.judge.verdict import Outcome

STATS = {
    "min": 0.13, "max": 0.15, "mean": 0.14, "stddev": 0.01, "rounds": 20, "median": 0.14, "iqr": 0.01, "q1": 0.13, "q3": 0.15,
    "iqr_outliers": 0, "stddev_outliers": 0, "outliers": "0;0", "ld15iqr": 0.13, "hd15iqr": 0.15, "ops": 7.14, "total": 2.8,
    "iterations": 1,
}  # fmt: skip
SERIES = Series("coco_r50", "pure", 8, "Ascend310P3", False, "float32 NCHW", "force_fp16", "", "", "")
HERE = Fingerprint("card-1", "host-1", "24.1.0", "7.5.0", "8.0.0", "8.0.0", "ab" * 32)
EMULATED = replace(HERE, cann="8.0.0 STAND-IN", atc="8.0.0 STAND-IN")
START = datetime(2024, 1, 1, tzinfo=timezone.utc)


def rate(value, batch=8, fingerprint=HERE, **changes):
    """One rate; `changes` are fields of the series."""
    return Rate(replace(SERIES, batch_size=batch, **changes), fingerprint, value, "cd" * 32)


def document(number, *rates, name="test_throughput"):
    """What pytest-benchmark would store of a run; the benchmarks' names are `name`'s."""
    return {
        "machine_info": {"node": "x", "python_version": "3.11.7"},
        "commit_info": {"id": "0123456789abcdef", "dirty": False},
        "datetime": (START + timedelta(days=number)).isoformat(),
        "version": "5.3.1",
        "benchmarks": [
            {
                "group": None, "name": f"{name}[{index}]", "fullname": f"tests/x.py::{name}[{index}]", "params": None,
                "param": None, "extra_info": {"fcos": each.as_extra_info(f"run-{number:05}")}, "options": {}, "stats": dict(STATS),
            }
            for index, each in enumerate(rates)
        ],
    }  # fmt: skip


def run(number, *rates) -> Run:
    """The same as a record."""
    return run_of(document(number, *rates), "test", f"{number:04}_x")


def all_sizes(number, value=58.0, sizes=(1, 8, 64), fingerprint=HERE, **changes):
    """A run of several batch sizes."""
    return run(number, *(rate(value, size, fingerprint, **changes) for size in sizes))


def write(folder: Path, number, *rates, name="test_throughput") -> Path:
    """The same as a file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:04}_x.json"
    path.write_text(json.dumps(document(number, *rates, name=name)))
    return path


def judge(new, earlier):
    """5 % below the mean is FAIL: simple enough to see what the comparison itself does."""
    usual = fmean(earlier)
    outcome = Outcome.PASS if new >= 0.95 * usual else Outcome.FAIL
    return SimpleNamespace(outcome=outcome, low=0.95 * usual, high=1.05 * usual, reason=f"of {len(earlier)}")


def status(compared):
    """What the shell would see."""
    return exit_status(
        0, [each.outcome for each in compared], not_run=0, unanswered=0, other_failures=0, npu_required=False
    )
