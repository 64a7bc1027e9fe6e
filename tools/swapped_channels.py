"""A defect to look at: red and blue are swapped on their way to the device. `python -m pytest -p tools.swapped_channels ...`

A pytest plugin of `tools/make_pages.py`, which needs a run that fails for a reason that the pictures show.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.ascend.om_session import OmSession

_run = OmSession._run


def _swapped(self: OmSession, batch: NDArray[Any]) -> list[NDArray[Any]]:
    return _run(self, np.ascontiguousarray(batch[:, ::-1]))


def pytest_configure() -> None:
    """From now on, every session is fed RGB."""
    OmSession._run = _swapped  # type: ignore[method-assign]
