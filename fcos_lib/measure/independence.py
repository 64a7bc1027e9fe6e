"""Did two sides compute, or was one compared with itself? fp16 and float32 hardly ever come to the same bits."""

from __future__ import annotations

from fcos_lib.measure import Measurement
from fcos_lib.measure.matching import Pairs


def identical(pairs: Pairs) -> Measurement:
    """The share of pairs whose box and score are the same to the last bit."""
    one, other = pairs.reference, pairs.candidate
    same = (one.boxes == other.boxes).all(axis=1) & (one.scores == other.scores)
    where = f"{int(same.sum())} of {len(pairs)} pairs are the same in all five numbers"
    share = float(same.mean()) if len(pairs) else 0.0
    return Measurement("identical detections", share, "share", len(pairs), where, gate="consistency.identical")
