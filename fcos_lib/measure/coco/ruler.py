"""The ruler: pycocotools itself computes COCO's numbers from the detections of this run, and ours have to be equal.

Nothing of `coco_truth`, `coco_matching` and `coco_metrics` is used: pycocotools reads the annotation file, its own defaults say
which IoU thresholds, areas and numbers of detections count, and category ids come by name from the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.errors import DatasetError
from fcos_lib.measure import Measurement
from fcos_lib.stream.sessions import Detections

if TYPE_CHECKING:
    from fcos_lib.measure.coco.paired import PairedDifference

SUMMARY = ("mAP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""What pycocotools' `summarize` prints, in its order."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A number as we computed it and as pycocotools did."""

    name: str
    """What it is, such as `mAP of the reference`."""
    ours: float
    theirs: float

    @property
    def error(self) -> float:
        """How far apart they are; infinite if one is NaN."""
        apart = abs(self.ours - self.theirs)
        return apart if apart == apart else float("inf")


class Ruler:
    """pycocotools on one annotation file. Its numbers for the same detections are computed once; not shared between threads."""

    def __init__(self, annotations: Path, contract: ModelContract) -> None:
        """`DatasetError` if a class of the contract is no category of the file, or if two categories have one name."""
        from pycocotools.coco import COCO

        with _silence():
            self._truth: Any = COCO(str(annotations))
        self._contract = contract
        categories = self._truth.loadCats(self._truth.getCatIds())
        numbers = {str(category["name"]): int(category["id"]) for category in categories}
        missing = [name for name in contract.classes if name not in numbers]
        if missing or len(numbers) != len(categories):
            raise DatasetError(
                f"{annotations} has no category of its own for {', '.join(missing[:3]) or 'each name'}",
                "evaluate with the data set that the model was trained for",
            )
        self._names = {number: name for name, number in numbers.items()}
        self._numbers = np.array([numbers[name] for name in contract.classes], np.int64)
        self._known: dict[str, dict[str, float]] = {}

    def numbers(self, detections: Mapping[int, Detections], pictures: Sequence[int] | None = None) -> dict[str, float]:
        """pycocotools' twelve by name, and `AP of <class>` for every class with an object; -1 where no object counts.

        `detections` by picture id, boxes in picture pixels. `pictures` are the ids that count; default: all of the file.
        """
        if pictures is not None and set(pictures) == set(self._truth.getImgIds()):
            pictures = None
        rows = self._rows(detections)
        text = b"".join([rows.tobytes(), str(None if pictures is None else sorted(pictures)).encode()])
        key = hashlib.sha256(text).hexdigest()
        if key not in self._known:
            self._known[key] = self._evaluate(rows, pictures)
        return self._known[key]

    def _rows(self, detections: Mapping[int, Detections]) -> NDArray[np.float64]:
        """float64[D, 7] as pycocotools' `loadRes` takes it: picture, x, y, width, height, score, category."""
        parts = [np.zeros((0, 7))]
        for number, found in sorted(detections.items()):
            boxes = found.boxes.astype(np.float64)
            size = boxes[:, 2:] - boxes[:, :2]
            rest = (found.scores.astype(np.float64), self._numbers[found.labels])
            parts.append(np.column_stack([np.full(len(found), number), boxes[:, :2], size, *rest]))
        return np.concatenate(parts)

    def _evaluate(self, rows: NDArray[np.float64], pictures: Sequence[int] | None) -> dict[str, float]:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval

        with _silence():
            if len(rows):
                results = self._truth.loadRes(rows)
            else:  # loadRes cannot represent "nothing found"
                results = COCO()
                results.dataset = {**self._truth.dataset, "annotations": []}
                results.createIndex()
            evaluation: Any = COCOeval(self._truth, results, "bbox")
            if pictures is not None:
                evaluation.params.imgIds = sorted(pictures)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        found = dict(zip(SUMMARY, map(float, evaluation.stats), strict=True))
        areas, most = evaluation.params.areaRngLbl.index("all"), len(evaluation.params.maxDets) - 1
        for index, number in enumerate(evaluation.params.catIds):
            precision = evaluation.eval["precision"][:, :, index, areas, most]
            if (precision > -1).any():
                found[f"AP of {self._names[number]}"] = float(precision[precision > -1].mean())
        return found


@dataclass(slots=True)
class Readings:
    """What was read off in one run, ours beside pycocotools', as one measurement."""

    ruler: Ruler
    pairs: list[Reading] = field(default_factory=list)

    def read(
        self,
        whose: str,
        ours: Mapping[str, float],
        detections: Mapping[int, Detections],
        pictures: Sequence[int] | None = None,
    ) -> dict[str, float]:
        """Compare every number of `ours`; what pycocotools does not have is infinitely wrong. Its own numbers are returned.

        `whose` ends the names: `of the reference`. `ours` has the names of `Ruler.numbers`, all twelve of `SUMMARY` at least.
        """
        theirs = self.ruler.numbers(detections, pictures)
        names = dict.fromkeys((*SUMMARY, *ours))
        if any(name.startswith("AP of ") for name in ours):
            names |= dict.fromkeys(theirs)
        nan = float("nan")
        self.pairs += [Reading(f"{name} {whose}", ours.get(name, nan), theirs.get(name, nan)) for name in names]
        return theirs

    def read_evaluation(self, whose: str, evaluated: Measurement, detections: Mapping[int, Detections]) -> None:
        """Compare the twelve numbers and the classes of `coco_metrics.evaluate` over the whole data set."""
        details = evaluated.details
        classes = {f"AP of {name}": value for name, value in details["per_class"].items()}
        self.read(whose, details["numbers"] | classes, detections)

    def read_pair(
        self, paired: PairedDifference, reference: Mapping[int, Detections], candidate: Mapping[int, Detections]
    ) -> None:
        """Compare the numbers of both sides of `paired_difference` over the pictures that they share, and all differences."""
        pictures = list(reference)
        one = self.read("of the reference", paired.reference, reference, pictures)
        other = self.read("of the candidate", paired.candidate, candidate, pictures)
        ours = {name: each.value for name, each in paired.numbers.items()}
        ours |= {f"AP of {name}": each.value for name, each in paired.per_class.items()}
        nan = float("nan")
        self.pairs += [
            Reading(f"difference in {name}", value, other.get(name, nan) - one.get(name, nan))
            for name, value in ours.items()
        ]

    def measurement(self, gate: str) -> Measurement:
        """The largest error, in AP or AR; `n` counts the numbers that were compared."""
        worst = max(self.pairs, key=lambda pair: pair.error, default=None)
        off = [pair for pair in self.pairs if pair.error > 1e-12]
        where = f"{worst.name} is {worst.ours:.9g} here and {worst.theirs:.9g} by pycocotools" if worst and off else ""
        return Measurement(
            "distance from pycocotools",
            worst.error if worst else 0.0,
            "AP",
            len(self.pairs),
            where,
            {"pycocotools": {pair.name: str(pair.theirs) if pair.theirs != pair.theirs else pair.theirs for pair in self.pairs}},
            gate=gate,
        )  # fmt: skip


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """pycocotools prints what it does and cannot be told not to."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
