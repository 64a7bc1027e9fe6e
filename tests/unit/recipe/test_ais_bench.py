"""Our figures and printed lines are ais_bench's, so that what reads the one reads the other."""

import re

import pytest

from fcos_lib.recipe.ais_bench import performance_lines, performance_summary, time_summary

THROUGHPUT = r"throughput .*?: (?P<value>[0-9.]+(?:e[+-]?\d+)?)\s*$"
"""How reports and scripts find the number; others take the last word of the line."""


def test_the_lines_are_those_of_ais_bench():
    """A run of one, word for word."""
    time = 0.6610000133514404
    assert performance_lines(1, [time], stand_in=False) == [
        "[INFO] -----------------Performance Summary------------------",
        f"[INFO] NPU_compute_time (ms): min = {time}, max = {time}, mean = {time}, median = {time}, "
        f"percentile(99%) = {time}",
        f"[INFO] throughput 1000*batchsize.mean(1)/NPU_compute_time.mean({time}): 1512.8592735267011",
        "[INFO] ------------------------------------------------------",
    ]


@pytest.mark.parametrize("stand_in", [True, False])
def test_the_number_can_be_found_and_says_where_it_comes_from(stand_in):
    """The usual pattern still matches on the emulator, and the same line says STAND-IN."""
    lines = performance_lines(4, [10.0, 30.0], stand_in)
    (line,) = [line for line in lines if re.search(THROUGHPUT, line)]
    assert float(re.search(THROUGHPUT, line)["value"]) == float(line.split()[-1]) == 200.0
    assert ("STAND-IN" in line) is stand_in
    assert ("STAND-IN" in lines[-1]) is stand_in


def test_the_summary_has_ais_benchs_keys():
    """Copies are not measured, and say so with a count of 0."""
    summary = performance_summary(2, [1.0, 2.0, 6.0])
    assert summary["NPU_compute_time"] == {
        "min": 1.0, "max": 6.0, "mean": 3.0, "median": 2.0, "percentile(99%)": pytest.approx(5.92), "count": 3,
    }  # fmt: skip
    assert summary["throughput"] == pytest.approx(2000 / 3)
    assert summary["npu_compute_time_list"] == [1.0, 2.0, 6.0]
    assert summary["H2D_latency"] == summary["D2H_latency"] == time_summary([])
    assert time_summary([])["count"] == 0
    assert time_summary([])["mean"] is None
