"""The paired difference of mAP: how much better or worse the candidate is than the reference on the same pictures, with an interval.

mAP over part of the pictures is biased: it comes out higher than over all of them. Both sides share the pictures and so the
bias and most of the luck; their difference may be judged on a part, and varies far less than mAP itself.

The interval is the difference ± 1.96 standard deviations of a bootstrap over pictures (the same drawn pictures for both
sides, each as often as drawn), widened a little. `benchmarks/paired_interval.py` measures how often it covers a known
difference, `docs/accuracy.md` has the figures and why not a percentile interval.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.measure import Measurement
from fcos_lib.measure.coco.matching import Matches
from fcos_lib.measure.coco.metrics import TWELVE, twelve_numbers
from fcos_lib.measure.coco.resampled import Resampled, resample
from fcos_lib.measure.coco.truth import Truth
from fcos_lib.stream.sessions import Detections

CONFIDENCE = 0.95
WIDENING = 1.06
"""A bootstrap's standard deviation of AP is 3 to 5 % too small over 250 generated pictures (`docs/accuracy.md`)."""
_Z = 1.959963984540054
_CERTAIN = {
    ("loss", "size"): "paired.loss_size",
    ("gain", "size"): "paired.gain_size",
    ("loss", "class"): "paired.loss_class",
    ("gain", "class"): "paired.gain_class",
}


@dataclass(frozen=True, slots=True)
class Interval:
    """Candidate minus reference, in AP or AR from -1 to 1."""

    value: float
    low: float
    high: float
    """`low` to `high` holds the difference over all pictures of this kind with 95 % confidence."""
    n: int
    """Pictures with an object that counts here. Below a few dozen the interval is a rough guide."""

    def certain(self, direction: int, among: int) -> float:
        """By how much it certainly rose (direction 1) or fell (-1), at least 0, when it is one of `among` that are looked at."""
        if self.n < 2:
            return 0.0
        stretch = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / 2 / among) / _Z
        return max(0.0, direction * self.value - max(self.high - self.value, self.value - self.low) * stretch)


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """Candidate minus reference on the same pictures; what no object counts for is left out."""

    n: int
    """Pictures"""
    numbers: dict[str, Interval]
    """Of COCO's twelve numbers, by their names in `TWELVE`."""
    per_class: dict[str, Interval]
    """Of AP (IoU 0.50:0.95), by class."""
    reference: dict[str, float]
    """The reference's twelve numbers on these pictures; -1 where no object counts."""
    candidate: dict[str, float]
    resamples: int
    seed: int
    annotations_sha256: str
    category_ids: dict[str, int]
    """Category id of each class of the contract."""

    @property
    def value(self) -> float:
        """Difference in mAP; NaN if no picture has an object."""
        return self.numbers["mAP"].value if self.numbers else float("nan")

    @property
    def low(self) -> float:
        """Lower end of its interval."""
        return self.numbers["mAP"].low if self.numbers else float("nan")

    @property
    def high(self) -> float:
        """Upper end of its interval."""
        return self.numbers["mAP"].high if self.numbers else float("nan")

    @property
    def per_size(self) -> dict[str, Interval]:
        """Difference in AP of small, medium and large objects."""
        return self._named({"small": "APs", "medium": "APm", "large": "APl"})

    @property
    def per_iou(self) -> dict[str, Interval]:
        """Difference in AP at one IoU threshold, 0.50 and 0.75."""
        return self._named({"0.50": "AP50", "0.75": "AP75"})

    def _named(self, names: Mapping[str, str]) -> dict[str, Interval]:
        return {own: self.numbers[name] for own, name in names.items() if name in self.numbers}

    def measurement(self, gate: str = "paired.loss") -> Measurement:
        """The difference in mAP for a gate, with everything else in `details`; n is 0 if no picture has an object."""
        worst = min(self.per_class, key=lambda name: self.per_class[name].value, default="")
        where = "no class has an object"
        if worst:
            lowest = self.per_class[worst]
            where = (
                f"95 % interval {self.low:+.4f} to {self.high:+.4f}; lowest class: {worst} {lowest.value:+.4f} "
                f"({lowest.low:+.4f} to {lowest.high:+.4f}, {lowest.n} pictures)"
            )
        tables = {
            "numbers": self.numbers,
            "per_class": self.per_class,
            "per_size": self.per_size,
            "per_iou": self.per_iou,
        }
        details: dict[str, Any] = {
            key: {name: asdict(interval) for name, interval in table.items()} for key, table in tables.items()
        }
        details |= {
            "low": self.low if self.numbers else None,
            "high": self.high if self.numbers else None,
            "confidence": CONFIDENCE,
            "interval": f"±1.96 x {WIDENING} standard deviations of a bootstrap over pictures",
            "reference": self.reference,
            "candidate": self.candidate,
            "pictures": self.n,
            "resamples": self.resamples,
            "seed": self.seed,
            "annotations_sha256": self.annotations_sha256,
            "category_ids": self.category_ids,
        }
        return Measurement(
            name="mAP difference",
            value=self.value if self.numbers else 0.0,
            unit="AP",
            n=self.n if self.numbers else 0,
            where=where,
            details=details,
            interval=(self.low, self.high) if self.numbers else None,
            gate=gate,
        )

    def certain_changes(self) -> tuple[Measurement, ...]:
        """What certainly fell and rose, the most of each: among sizes and IoU thresholds, then among classes.

        A class shows in few pictures, so its interval is wide: what counts is the part of a change that chance cannot
        explain, with the intervals widened so that all of them hold at once.
        """
        changes = []
        parts = (("by size or IoU", self.per_size | self.per_iou, "size"), ("in a class", self.per_class, "class"))
        for among, table, part in parts:
            for name, direction in (("loss", -1), ("gain", 1)):
                sizes = {key: interval.certain(direction, len(table)) for key, interval in table.items()}
                most = max(sizes, key=lambda key: sizes[key], default="")
                where = "nothing certain" if most else "no object counts"
                if most and sizes[most]:
                    change = table[most]
                    where = (
                        f"{most}: {change.value:+.4f} ({change.low:+.4f} to {change.high:+.4f}, {change.n} pictures)"
                    )
                n, gate = self.n if most else 0, _CERTAIN[name, part]
                changes.append(Measurement(f"certain {name} {among}", sizes.get(most, 0.0), "AP", n, where, gate=gate))
        return tuple(changes)


def paired_difference(
    truth: Truth,
    contract: ModelContract,
    reference: Mapping[int, Detections],
    candidate: Mapping[int, Detections],
    pictures: Iterable[int] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> PairedDifference:
    """Candidate minus reference over `pictures` (ids; default: all of `truth`), with 95 % intervals.

    Both sides hold exactly these pictures, empty ones included, boxes in picture pixels; `DatasetError` if not. The same
    seed gives the same intervals.
    """
    if resamples < 2:
        raise ValueError(f"{resamples} resamples make no interval")
    truth = truth if pictures is None else truth.only(pictures)
    first, second = (resample(truth, contract, detections, resamples, seed) for detections in (reference, candidate))
    return difference_of(first, second, seed, {name: truth.category_ids[name] for name in contract.classes})


def difference_of(first: Resampled, second: Resampled, seed: int, category_ids: dict[str, int]) -> PairedDifference:
    """The second side minus the first, both resampled by this seed, equally often and over the same pictures."""
    margin = _Z * WIDENING * _deviation(second.drawn - first.drawn)
    numbers, per_class = _by_name(first.matches, second.whole - first.whole, margin, -1.0)
    return PairedDifference(
        n=len(first.matches.truth.picture_ids),
        numbers=numbers,
        per_class=per_class,
        reference=twelve_numbers(first.matches),
        candidate=twelve_numbers(second.matches),
        resamples=first.drawn.shape[1],
        seed=seed,
        annotations_sha256=first.matches.truth.annotations_sha256,
        category_ids=category_ids,
    )


def intervals_of(side: Resampled) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """The twelve numbers of one side, and AP by class; what no object counts for is left out.

    `low` to `high` holds the number over other pictures of this kind and as many, with 95 % confidence.
    """
    return _by_name(side.matches, side.whole, _Z * WIDENING * _deviation(side.drawn), 0.0)


def _by_name(
    matches: Matches, whole: NDArray[np.float64], margin: NDArray[np.float64], least: float
) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Intervals by the names of the twelve numbers and by class. Not one mapping: a class may have the name of a number."""
    has = matches.objects > 0
    by_area = has.any(axis=1).sum(axis=1)
    behind = [*by_area[[0, 0, 0, 1, 2, 3, 0, 0, 0, 1, 2, 3]], *has[0].sum(axis=1)]
    intervals = [
        None if np.isnan(value) else _interval(float(value), float(around), int(n), least)
        for value, around, n in zip(whole, margin, behind, strict=True)
    ]
    return (
        {name: found for name, found in zip(TWELVE, intervals, strict=False) if found},
        {name: found for name, found in zip(matches.truth.names, intervals[len(TWELVE) :], strict=True) if found},
    )


def _interval(value: float, margin: float, n: int, least: float) -> Interval:
    """Within `least` to 1, and all of that if a single picture is behind it, whose resamples are all the same."""
    if n < 2:
        return Interval(value, least, 1.0, n)
    return Interval(value, max(least, value - margin), min(1.0, value + margin), n)


def _deviation(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Standard deviation of each row's values that are not NaN (no object was drawn); 0 for fewer than two."""
    present = ~np.isnan(values)
    count = present.sum(axis=1)
    values = np.where(present, values, 0)
    rest = np.where(present, values - (values.sum(axis=1) / np.maximum(count, 1))[:, None], 0)
    spread: NDArray[np.float64] = np.sqrt((rest**2).sum(axis=1) / np.maximum(count - 1, 1))
    return spread
