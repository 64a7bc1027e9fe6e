"""Calls that the generations of aclruntime spell differently (docs/runtime.md): the batch size, and the times of runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from fcos_lib.ascend.om_tensors import is_dynamic


def choose_batch(session: Any, batch: int) -> None:
    """Have an `InferenceSession` run batches of this size: of its profiles, if it has some."""
    if is_dynamic(session.get_inputs()):
        session.set_dynamic_batchsize(batch)
    elif hasattr(session, "set_staticbatch"):
        session.set_staticbatch()


def read_run_times(session: Any) -> list[float]:
    """Milliseconds of each run so far: old aclruntime has them, new has (start, end)."""
    summary = session.sumary() if hasattr(session, "sumary") else session.summary()
    return [_duration(entry) for entry in summary.exec_time_list]


def forget_run_times(session: Any) -> None:
    """Have the session forget the runs so far."""
    (session.reset_summaryinfo if hasattr(session, "reset_summaryinfo") else session.reset_sumaryinfo)()


def _duration(entry: Any) -> float:
    return float(entry) if np.ndim(entry) == 0 else float(entry[1]) - float(entry[0])
