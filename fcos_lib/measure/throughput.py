"""How many pictures per second, in the sense in which the recipe's figures were taken?"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median

from fcos_lib.measure import Measurement


def images_per_second(batch: int, compute_ms: Sequence[float]) -> Measurement:
    """ais_bench's throughput: 1000 x batch size / mean compute time (ms) of the runtime, copies and host work excluded."""
    if not compute_ms:
        return Measurement("throughput", 0.0, "images/s", 0, "the runtime reported no timings")
    mean = fmean(compute_ms)
    return Measurement(
        name="throughput",
        value=1000.0 * batch / mean,
        unit="images/s",
        n=len(compute_ms),
        where=f"mean {mean:.3f} ms, median {median(compute_ms):.3f} ms, "
        f"from {min(compute_ms):.3f} to {max(compute_ms):.3f} ms per batch",
        details={"compute_ms": [round(value, 4) for value in compute_ms]},
    )
