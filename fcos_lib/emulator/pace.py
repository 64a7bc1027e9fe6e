"""How long does a run take on a device of a known rate? Always the same, times what the OM and the jitter make of it."""

from __future__ import annotations

import os
import random

from fcos_lib.emulator.scenario import Scenario


class Pace:
    """The times of one session."""

    def __init__(self, scenario: Scenario, time_factor: float | None, session: int) -> None:
        """`time_factor` is the OM's; `session` tells this process's sessions apart."""
        self._rate = scenario.rate
        self._factor = 1.0 if time_factor is None else time_factor
        self._deviation = scenario.jitter / 100
        self._noise = random.Random(f"{os.getpid()} {session}")

    def next_run(self, batch: int) -> float | None:
        """Seconds that the next run of `batch` pictures takes; None if the device has no rate."""
        if self._rate is None:
            return None
        return batch / self._rate * self._factor * self._noise.gauss(1.0, self._deviation)
