"""Roundings: the ways in which one side's numbers can be handed out as another's after a single rounding, or none."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]

SMALLEST = np.float32(2.0**-14)
"""The smallest normal fp16 number. What is nearer to 0 has fewer and fewer digits, and some devices make it 0."""
_LAST_BITS = np.uint32(6)
"""Of a float32's 24 bits: what is scaled and scaled back, or goes another way to the same number, differs in its last ones."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """One way of rounding, as it treats boxes [..., 4] in network pixels and scores of any shape."""

    boxes: Callable[[Values], Values]
    scores: Callable[[Values], Values]


def to_fp16(values: Values) -> Values:
    """The nearest fp16 numbers."""
    with np.errstate(over="ignore"):
        return values.astype(np.float16).astype(np.float32)


def _cut(bits: int, values: Values) -> Values:
    """Towards zero, with the last `bits` bits gone."""
    kept: NDArray[np.uint32] = values.view(np.uint32) & np.uint32(0xFFFFFFFF << bits & 0xFFFFFFFF)
    return kept.view(np.float32)


def _to_bf16(values: Values) -> Values:
    bits = values.view(np.uint32)
    return _cut(16, (bits + np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1))).view(np.float32))


def through_nms(boxes: Values) -> Values:
    """What the NMS operator makes of boxes [..., 4] (CANN's TIK kernel): a tenth in fp16, x2 and y2 less 1 meanwhile."""
    inner = to_fp16(to_fp16(boxes) * np.float32(np.float16(0.1)))
    inner[..., 2:] = to_fp16(to_fp16(inner[..., 2:] - np.float32(1)) + np.float32(1))
    return to_fp16(inner * np.float32(10))


def _tenth(boxes: Values) -> Values:
    back: Values = to_fp16(boxes * np.float32(0.1)) * np.float32(10)
    return back


def _both(rounding: Callable[[Values], Values]) -> Rounding:
    return Rounding(rounding, rounding)


def _decimals(digits: int, values: Values) -> Values:
    return np.round(values, digits)


AS_THEY_ARE = "as they are"
ROUNDINGS: Mapping[str, Rounding] = {
    AS_THEY_ARE: _both(lambda values: values),
    "rounded to fp16": _both(to_fp16),
    "cut to fp16": _both(partial(_cut, 13)),
    "rounded to bf16": _both(_to_bf16),
    "cut to bf16": _both(partial(_cut, 16)),
    "rounded by the NMS operator": Rounding(through_nms, to_fp16),
    "rounded to fp16 at a tenth of the size": Rounding(_tenth, to_fp16),
    **{f"rounded to {digits} decimals": _both(partial(_decimals, digits)) for digits in range(7)},
}
"""By what a reader is told."""


def bits_of(values: Values) -> NDArray[np.uint32]:
    """Numbers as bits without the last ones: equal for values that differ by nothing but the way to them.

    What is nearer to 0 than `SMALLEST` is 0.
    """
    plain = np.where(np.abs(values) < SMALLEST, np.float32(0), values)
    half = np.uint32(1) << (_LAST_BITS - np.uint32(1))
    bits: NDArray[np.uint32] = (np.ascontiguousarray(plain).view(np.uint32) + half) >> _LAST_BITS
    return bits


def keys_of(rows: Values) -> NDArray[np.uint64]:
    """A key for each row of [..., D], uint64[...], equal for rows with equal `bits_of`; 0 for rows of nothing but 0."""
    factors = np.random.default_rng(0).integers(1, 2**63, rows.shape[-1], np.uint64) | np.uint64(1)
    with np.errstate(over="ignore"):
        keys: NDArray[np.uint64] = (bits_of(rows).astype(np.uint64) * factors).sum(axis=-1, dtype=np.uint64)
    return keys
