"""The feed and the device that it keeps busy: prints one line per figure, with its target.

    python -m benchmarks.stream [--pictures 256]

Generated photographs of 640 x 480 at 800 x 1333. The device is a stand-in that takes 1/65 s per picture and holds the GIL
all the while, as aclruntime's `run()` does. Targets are for two cores that nobody else uses.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.letterbox import draw_photograph
from fcos_lib.contract import COCO_R50, InputLayout
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.feed import Batch, Feed

SECONDS_PER_PICTURE = 1 / 65
"""The recipe's fastest published rate on a 310P3, at batch 4."""
BUSY, RATE, BATCHES = 0.97, 200.0, 3.0


class Device:
    """Something that takes a set time per picture, and when it began and ended; it never lets go of the GIL."""

    def __init__(self, seconds: float) -> None:
        self._microseconds = seconds * 1e6
        self._library = ctypes.PyDLL(None)  # unlike CDLL, it keeps the GIL while it calls
        self.runs: list[tuple[float, float]] = []

    def run(self, batch: NDArray[Any]) -> None:
        """Take the time that a whole batch takes."""
        start = time.perf_counter()
        if self._microseconds:
            self._library.usleep(round(self._microseconds * len(batch)))
        self.runs.append((start, time.perf_counter()))


@dataclass(frozen=True, slots=True)
class Passage:
    """One passage of all pictures; seconds."""

    start_up: float
    """Until the first batch was there."""
    busy: float
    """The share of the time from the first run's start to the last one's end in which the device ran."""
    rate: float
    """Pictures per second after the first batch."""


def groups(pictures: Sequence[Picture], size: int) -> Iterator[Sequence[Picture]]:
    """Batches' worth of pictures."""
    return (pictures[start : start + size] for start in range(0, len(pictures), size))


def passage(pictures: Sequence[Picture], size: int, layout: InputLayout, seconds: float) -> Passage:
    """Run all pictures through a device."""
    device = Device(seconds)
    begin = time.perf_counter()
    with Feed(groups(pictures, size), COCO_R50, size, layout) as feed:
        for batch in feed:
            device.run(batch.tensor)
    first, last = device.runs[0][0], device.runs[-1][1]
    busy = sum(end - start for start, end in device.runs) / (last - first)
    return Passage(first - begin, busy, (len(pictures) - size) / (last - device.runs[0][1]))


def memory(pictures: Sequence[Picture], size: int, layout: InputLayout) -> tuple[float, float, int]:
    """This process's peak above its base, in batches; what each worker needs of its own, in MB; how many there are."""
    base = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # from here on, VmHWM is the peak
    own: list[float] = []
    batch: Batch | None = None
    with Feed(groups(pictures, size), COCO_R50, size, layout) as feed:
        for batch in feed:
            batch.tensor.max()  # reads every page, so that it counts
            own = [_own_megabytes(pid) for pid in _children()]
    assert batch is not None
    return (_status("VmHWM") - base) / batch.tensor.nbytes, max(own), len(own)


def _status(field: str) -> int:
    """Bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


def _children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def _own_megabytes(pid: str) -> float:
    fields = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(field[1]) for field in fields if field[0] in ("Private_Dirty:", "Private_Clean:")) / 1024


def say(what: str, figure: str, target: str, met: bool) -> None:
    """One line."""
    print(f"{what:<34} {figure:>24}   target {target}{'' if met else '  MISSED'}", flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pictures", type=int, default=256, help="pictures per figure (default: 256)")
    count = parser.parse_args().pictures
    with tempfile.TemporaryDirectory() as folder:
        random = np.random.default_rng(5)
        drawn = [draw_photograph(Path(folder) / f"{number}.jpg", random) for number in range(32)]
        pictures = [replace(drawn[number % len(drawn)], id=number) for number in range(count)]
        load = os.getloadavg()[0]
        print(f"{count} pictures, {len(os.sched_getaffinity(0))} usable cores, load average {load:.1f}")
        for layout in InputLayout:
            for size in (1, 4, 16):
                passed = passage(pictures, size, layout, SECONDS_PER_PICTURE)
                say(
                    f"{layout.value}, batch {size}",
                    f"{passed.busy:.1%} busy, start {passed.start_up:.2f} s",
                    f"at least {BUSY:.0%} busy",
                    passed.busy >= BUSY,
                )
            free = passage(pictures * 3, 8, layout, 0)
            say(
                f"{layout.value}, no device",
                f"{free.rate:.0f} pictures/s",
                f"at least {RATE:.0f}",
                free.rate >= RATE,
            )
            for size in (4, 16):
                peak, own, workers = memory(pictures, size, layout)
                say(
                    f"{layout.value}, batch {size}, peak",
                    f"{peak:.1f} batches",
                    f"at most {BATCHES:.0f} ({workers} workers of {own:.0f} MB besides)",
                    round(peak, 1) <= BATCHES,
                )


if __name__ == "__main__":
    main()
