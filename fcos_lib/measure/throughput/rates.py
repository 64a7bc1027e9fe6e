"""Pictures per second: in the sense of the recipe's figures, as a caller sees it, and through the whole stream.

The three are held to what really went through: pictures that came back, and the clock on the wall.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median
from typing import Any, Protocol

from numpy.typing import NDArray

from fcos_lib.errors import SessionError
from fcos_lib.measure import Measurement
from fcos_lib.stream.feed import Batch
from fcos_lib.stream.sessions import Outputs


class TimedSession(Protocol):
    """A session whose runtime says how long it computed."""

    def run(self, batch: NDArray[Any]) -> Outputs:
        """Detections for a batch."""
        ...

    def compute_ms(self) -> list[float]:
        """Milliseconds of each run since the last reset, copies excluded."""
        ...

    def reset_timings(self) -> None:
        """Forget the runs so far."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One call of `run`, as its caller sees it."""

    pictures: int
    """That came back, as the outputs have them."""
    started: float
    """Seconds on the clock."""
    ended: float


class CountedSession:
    """A session that notes of each run how many pictures came back and when; only `run` goes through it."""

    def __init__(self, session: TimedSession, clock: Callable[[], float] = time.perf_counter) -> None:
        self.calls: list[Call] = []
        self._session, self._clock = session, clock

    def run(self, batch: NDArray[Any]) -> Outputs:
        """As the session's own."""
        started = self._clock()
        outputs = self._session.run(batch)
        ended = self._clock()
        self.calls.append(Call(min(len(batch), len(outputs.dets)), started, ended))
        return outputs


def images_per_second(batch: int, compute_ms: Sequence[float]) -> Measurement:
    """ais_bench's throughput: 1000 x batch size / mean compute time (ms) of the runtime, copies and host work excluded."""
    return _rate("throughput", batch, compute_ms, "the runtime reported no timings").for_gate("throughput.rate")


def images_per_second_with_copies(batch: int, calls: Sequence[Call]) -> Measurement:
    """The same from the time of whole calls of `run`: input and outputs copied, results checked."""
    return _rate("throughput with copies", batch, _wall_ms(calls), "nothing was run").for_gate("throughput.with_copies")


def images_per_second_streamed(session: CountedSession, batches: Iterable[Batch]) -> Measurement:
    """Pictures over the time from the start of the first run to the end of the last, prepared while the device computes."""
    name, before, pictures = "throughput of the stream", len(session.calls), 0
    for batch in batches:
        session.run(batch.tensor)
        pictures += len(batch.pictures)
    calls = session.calls[before:]
    if not pictures:
        return Measurement(name, 0.0, "images/s", 0, "the stream was empty", gate="throughput.stream")
    seconds = calls[-1].ended - calls[0].started
    share = sum(_wall_ms(calls)) / 1e3 / seconds
    where = f"device busy {share:.1%} of the time"
    return Measurement(name, pictures / seconds, "images/s", pictures, where, {"busy": share}, gate="throughput.stream")


def unaccounted_pictures(*claims: tuple[Measurement, Sequence[Call], float | None]) -> Measurement:
    """How many pictures a rate claims beyond those that came back, or fewer: the worst of several rates.

    Each claim is a rate in images/s, the calls behind it, and the seconds that it is meant over; None: from the start of the first
    call to the end of the last.
    """
    off = [(0.0, "nothing was run")]
    for rate, calls, seconds in claims:
        if not calls:
            continue
        seconds = calls[-1].ended - calls[0].started if seconds is None else seconds
        claimed, counted = rate.value * seconds, sum(call.pictures for call in calls)
        off.append(
            (abs(claimed - counted), f"{rate.name}: {claimed:.6g} claimed in {seconds:.6g} s, {counted} counted")
        )
    worst, where = max(off)
    pictures = min((sum(call.pictures for call in calls) for _, calls, _ in claims), default=0)
    return Measurement(
        "pictures of a rate not counted", worst, "pictures", pictures, where, gate="throughput.unaccounted"
    )


def busy_share(compute_ms: Sequence[float], calls: Sequence[Call]) -> Measurement:
    """How much of the time of the calls the runtime says that it computed, in %; the rest has to be copies and host work."""
    name, wall_ms = "compute time in the calls' time", _wall_ms(calls)
    if not wall_ms or len(wall_ms) != len(compute_ms):
        where = f"{len(wall_ms)} calls and {len(compute_ms)} timings of the runtime: nothing to compare"
        return Measurement(name, 0.0, "%", 0, where)
    computed, passed = fmean(compute_ms), fmean(wall_ms)
    share = 100 * computed / passed if passed > 0 else float("inf")
    return Measurement(name, share, "%", len(wall_ms), f"mean {computed:.3f} ms of {passed:.3f} ms per call")


def timed_runner(session: TimedSession, inputs: Sequence[NDArray[Any]]) -> Callable[[], float]:
    """Runs one of `inputs` after the other, over and over; each call returns the compute time in ms.

    `SessionError` if the runtime timed anything but this one run, so that no old time counts twice.
    """
    position = -1

    def run() -> float:
        nonlocal position
        position = (position + 1) % len(inputs)
        session.reset_timings()
        session.run(inputs[position])
        times = session.compute_ms()
        if len(times) != 1:
            raise SessionError(
                f"the runtime timed {len(times)} runs where one was made", "do not use the session elsewhere meanwhile"
            )
        return times[0]

    return run


def _wall_ms(calls: Sequence[Call]) -> list[float]:
    return [1e3 * (call.ended - call.started) for call in calls]


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
