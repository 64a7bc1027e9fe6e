"""What would ais_bench say about these times? Its summary's figures and its printed lines, so that old parsers read ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fcos_lib.measure.throughput import images_per_second

STAND_IN_LINE = "STAND-IN: measured on the emulator; says nothing about hardware"
_RULE = "-" * 54


def time_summary(milliseconds: Sequence[float]) -> dict[str, float | int | None]:
    """ais_bench's six figures of a list of times; None where there are no times, with a count of 0."""
    if not milliseconds:
        return dict.fromkeys(("min", "max", "mean", "median", "percentile(99%)")) | {"count": 0}
    times = np.asarray(milliseconds, np.float64)
    return {
        "min": float(times.min()),
        "max": float(times.max()),
        "mean": float(times.mean()),
        "median": float(np.median(times)),
        "percentile(99%)": float(np.percentile(times, 99)),
        "count": len(times),
    }


def performance_summary(batch: int, compute_ms: Sequence[float]) -> dict[str, Any]:
    """The figures in ais_bench's `_summary.json`. Copies to and from the device are not measured here: count 0."""
    return {
        "NPU_compute_time": time_summary(compute_ms),
        "H2D_latency": time_summary(()),
        "D2H_latency": time_summary(()),
        "npu_compute_time_list": list(compute_ms),
        "throughput": images_per_second(batch, compute_ms).value,
    }


def performance_lines(batch: int, compute_ms: Sequence[float], stand_in: bool) -> list[str]:
    """The performance summary as ais_bench prints it; the lines with numbers say STAND-IN if they are the emulator's."""
    figures = time_summary(compute_ms)
    label = "STAND-IN " if stand_in else ""
    shown = ", ".join(f"{name} = {value}" for name, value in figures.items() if name != "count")
    throughput = images_per_second(batch, compute_ms).value
    lines = [
        f"[INFO] {'Performance Summary':-^54}",
        f"[INFO] {label}NPU_compute_time (ms): {shown}",
        f"[INFO] {label}throughput 1000*batchsize.mean({batch})/NPU_compute_time.mean({figures['mean']}): {throughput}",
        f"[INFO] {_RULE}",
    ]
    return [*lines, f"[INFO] {STAND_IN_LINE}"] if stand_in else lines
