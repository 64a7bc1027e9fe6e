"""How many pictures per second: in the sense of the recipe's figures, as a caller sees it, and through the whole stream."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, median
from typing import Any, Protocol

from numpy.typing import NDArray

from fcos_lib.measure import Measurement
from fcos_lib.sessions import Outputs
from fcos_lib.stream.feed import Batch


class TimedSession(Protocol):
    """A session whose runtime says how long it computed."""

    def run(self, batch: NDArray[Any]) -> Outputs:
        """Detections for a batch."""
        ...

    def compute_ms(self) -> list[float]:
        """Milliseconds of each run so far, copies excluded."""
        ...


def images_per_second(batch: int, compute_ms: Sequence[float]) -> Measurement:
    """ais_bench's throughput: 1000 x batch size / mean compute time (ms) of the runtime, copies and host work excluded."""
    return _rate("throughput", batch, compute_ms, "the runtime reported no timings").for_gate("throughput.rate")


def images_per_second_with_copies(batch: int, run_ms: Sequence[float]) -> Measurement:
    """The same from the wall time (ms) of whole calls of `run`: input and outputs copied, results checked."""
    return _rate("throughput with copies", batch, run_ms, "nothing was run").for_gate("throughput.with_copies")


def images_per_second_streamed(session: TimedSession, batches: Iterable[Batch]) -> Measurement:
    """Pictures over the time from the start of the first run to the end of the last, prepared while the device computes."""
    first = last = busy = 0.0
    pictures = 0
    for batch in batches:
        started = time.perf_counter()
        session.run(batch.tensor)
        last = time.perf_counter()
        first = first or started
        busy += last - started
        pictures += len(batch.pictures)
    if not pictures:
        return Measurement(
            "throughput of the stream", 0.0, "images/s", 0, "the stream was empty", gate="throughput.stream"
        )
    share = busy / (last - first)
    return Measurement(
        "throughput of the stream",
        pictures / (last - first),
        "images/s",
        pictures,
        f"device busy {share:.1%} of the time",
        {"busy": share},
        gate="throughput.stream",
    )


def timed_runner(session: TimedSession, inputs: Sequence[NDArray[Any]]) -> Callable[[], float]:
    """Runs one of `inputs` after the other, over and over; each call returns the compute time in ms."""
    position = -1

    def run() -> float:
        nonlocal position
        position = (position + 1) % len(inputs)
        session.run(inputs[position])
        return session.compute_ms()[-1]

    return run


def _rate(name: str, batch: int, ms: Sequence[float], nothing: str) -> Measurement:
    if not ms:
        return Measurement(name, 0.0, "images/s", 0, nothing)
    mean = fmean(ms)
    return Measurement(
        name=name,
        value=1000.0 * batch / mean,
        unit="images/s",
        n=len(ms),
        where=f"mean {mean:.3f} ms, median {median(ms):.3f} ms, from {min(ms):.3f} to {max(ms):.3f} ms per batch",
        details={"ms": [round(value, 4) for value in ms]},
    )
