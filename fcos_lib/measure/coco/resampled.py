"""A bootstrap over pictures of the numbers of one side, computed once for equal detections within a process.

A reference meets a candidate per batch size, and candidates of several batch sizes often find the same. What is kept depends on
nothing but the detections, the objects, the number of resamples and the seed, all of which are compared by content.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure.coco.matching import Matches, match
from fcos_lib.measure.coco.metrics import averages
from fcos_lib.measure.coco.truth import Truth
from fcos_lib.stream.sessions import Detections

_VALUES_AT_ONCE = 1 << 23
"""Resamples times pictures, the curves of all categories or the detections of one that overlap an object: memory does not grow with these."""
_SIDES_KEPT = 4


@dataclass(frozen=True, slots=True)
class Resampled:
    """The numbers of one side: the twelve, then AP per class."""

    matches: Matches
    whole: NDArray[np.float64]
    """float64[12 + K]"""
    drawn: NDArray[np.float64]
    """float64[12 + K, R], of each resample"""


_KEPT: OrderedDict[tuple[str, int, int], Resampled] = OrderedDict()
"""By what the numbers depend on; the one that was asked for last at the end."""


def resample(
    truth: Truth, contract: ModelContract, detections: Mapping[int, Detections], resamples: int, seed: int
) -> Resampled:
    """The numbers of `detections`, boxes in picture pixels, over the pictures of `truth` and over `resamples` drawings of as many.

    The same seed draws the same pictures. `DatasetError` unless `detections` holds exactly these pictures.
    """
    key = (_digest(truth, contract, detections), resamples, seed)
    if key not in _KEPT:
        while len(_KEPT) >= _SIDES_KEPT:
            _KEPT.popitem(last=False)
        _KEPT[key] = resample_matches(match(truth, contract, detections), resamples, seed)
    _KEPT.move_to_end(key)
    return _KEPT[key]


def resample_matches(matches: Matches, resamples: int, seed: int) -> Resampled:
    """The same for detections that are matched already; nothing is kept."""
    count = len(matches.truth.picture_ids)
    random = np.random.default_rng(seed)
    near = int(np.diff(np.searchsorted(matches.rows, matches.starts)).max())
    at_once = max(1, min(resamples, _VALUES_AT_ONCE // max(count, 40 * len(matches.truth.names), near)))
    parts = []
    for start in range(0, resamples, at_once):
        drawn = random.multinomial(count, np.full(count, 1 / count), size=min(at_once, resamples - start))
        parts.append(_numbers(matches, drawn))
    whole, together = _numbers(matches, None)[:, 0], np.concatenate(parts, axis=1)
    for array in (whole, together):
        array.setflags(write=False)  # whoever asks next gets the same
    return Resampled(matches, whole, together)


def _numbers(matches: Matches, weights: NDArray[np.int64] | None) -> NDArray[np.float64]:
    numbers = averages(matches, weights)
    return np.concatenate([numbers.twelve, numbers.per_class])


def _digest(truth: Truth, contract: ModelContract, detections: Mapping[int, Detections]) -> str:
    """SHA-256 of everything that the numbers of one side are computed from."""
    digest = hashlib.sha256(repr((truth.category_ids, contract.classes, contract.name, sorted(detections))).encode())
    arrays: list[NDArray[Any]] = [truth.picture_ids, truth.boxes, truth.areas, truth.crowd, truth.numbered]
    arrays += [truth.pictures, truth.categories]
    for number in sorted(detections):
        arrays += [detections[number].boxes, detections[number].scores, detections[number].labels]
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
