"""The ruler: pycocotools itself computes COCO's numbers from the detections of this run, and ours have to be equal.

Nothing of `truth`, `matching` and `metrics` is used: pycocotools reads the annotation file, its own defaults say
which IoU thresholds, areas and numbers of detections count, and category ids come by name from the file.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fcos_lib.contract import ModelContract
from fcos_lib.errors import DatasetError
from fcos_lib.measure import Measurement
from fcos_lib.stream.sessions import Detections

if TYPE_CHECKING:
    from fcos_lib.measure.coco.paired import PairedDifference

SUMMARY = ("mAP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""What pycocotools' `summarize` prints, in its order."""


class Ruler:
    """pycocotools on one annotation file. Its numbers for the same detections are computed once; not shared between threads."""

    def __init__(self, annotations: Path, contract: ModelContract, classes: Mapping[str, str] | None = None) -> None:
        """`classes` are the contract's by category, where somebody said which is which.

        `DatasetError` if a class of the contract is no category of the file and nothing was said, or if two categories have one
        name.
        """
        from pycocotools.coco import COCO

        self._truth: Any = COCO()
        self._truth.dataset = _completed(json.loads(annotations.read_bytes()))
        with _silence():
            self._truth.createIndex()
        self._contract, said = contract, classes or {}
        categories = self._truth.loadCats(self._truth.getCatIds())
        numbers = {
            said.get(str(category["name"]), str(category["name"])): int(category["id"]) for category in categories
        }
        missing = [name for name in contract.classes if name not in numbers]
        if (missing and not said) or len(numbers) != len(categories):
            raise DatasetError(
                f"{annotations} has no category of its own for {', '.join(missing[:3]) or 'each name'}",
                "evaluate with the dataset that the model was trained for",
            )
        self._names = {number: name for name, number in numbers.items()}
        # What is found of a class without a category pycocotools does not look at.
        self._numbers = [numbers.get(name, -1) for name in contract.classes]
        self._known: dict[str, dict[str, float]] = {}

    def numbers(self, detections: Mapping[int, Detections], pictures: Sequence[int] | None = None) -> dict[str, float]:
        """pycocotools' twelve by name, and `AP of <class>` for every class with an object; -1 where no object counts.

        `detections` by picture id, boxes in picture pixels. `pictures` are the ids that count; default: all of the file.
        """
        if pictures is not None and set(pictures) == set(self._truth.getImgIds()):
            pictures = None
        digest = hashlib.sha256(str(None if pictures is None else sorted(map(int, pictures))).encode())
        for number, side in sorted(detections.items()):
            digest.update(f" {number} {len(side)} ".encode())
            for array in (side.boxes, side.scores, side.labels):
                digest.update(array.tobytes())
        key = digest.hexdigest()
        if key not in self._known:
            self._known[key] = self._evaluate(self._rows(detections), pictures)
        return self._known[key]

    def _rows(self, detections: Mapping[int, Detections]) -> list[dict[str, Any]]:
        """What pycocotools' `loadRes` takes, one record per detection. Not its array of floats, which does not hold every id."""
        rows = []
        for number, side in sorted(detections.items()):
            boxes = side.boxes.astype(np.float64)
            boxes[:, 2:] -= boxes[:, :2]
            sides = (side.labels.tolist(), boxes.tolist(), side.scores.astype(np.float64).tolist())
            rows += [
                {"image_id": int(number), "category_id": self._numbers[label], "bbox": box, "score": score}
                for label, box, score in zip(*sides, strict=True)
            ]
        return rows

    def _evaluate(self, rows: list[dict[str, Any]], pictures: Sequence[int] | None) -> dict[str, float]:
        from pycocotools.coco import COCO

        with _silence():
            if rows:
                results = self._truth.loadRes(rows)
            else:  # loadRes cannot represent "nothing found"
                results = COCO()
                results.dataset = {**self._truth.dataset, "annotations": []}
                results.createIndex()
        return _evaluated(self._truth, results, pictures, self._names)


def numbers_of_files(annotations: Path, detections: Path) -> dict[str, float]:
    """pycocotools' numbers of a COCO result file that holds a detection, by the names of `Ruler.numbers`."""
    from pycocotools.coco import COCO

    with _silence():
        truth = COCO(str(annotations))
        results = truth.loadRes(str(detections))
    return _evaluated(truth, results, None, {entry["id"]: str(entry["name"]) for entry in truth.dataset["categories"]})


def _evaluated(truth: Any, results: Any, pictures: Sequence[int] | None, names: Mapping[int, str]) -> dict[str, float]:
    from pycocotools.cocoeval import COCOeval

    with _silence():
        evaluation: Any = COCOeval(truth, results, "bbox")
        if pictures is not None:
            evaluation.params.imgIds = sorted(pictures)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    numbers = dict(zip(SUMMARY, map(float, evaluation.stats), strict=True))
    areas, most = evaluation.params.areaRngLbl.index("all"), len(evaluation.params.maxDets) - 1
    for index, number in enumerate(evaluation.params.catIds):
        precision = evaluation.eval["precision"][:, :, index, areas, most]
        if (precision > -1).any():
            numbers[f"AP of {names[number]}"] = float(precision[precision > -1].mean())
    return numbers


@dataclass(slots=True)
class Readings:
    """What was read off in one run, ours beside pycocotools', as one measurement."""

    ruler: Ruler
    pairs: list[tuple[str, float, float]] = field(default_factory=list)
    """Names such as `mAP of the reference`, with our number and pycocotools'."""

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
        self.pairs += [(f"{name} {whose}", ours.get(name, math.nan), theirs.get(name, math.nan)) for name in names]
        return theirs

    def read_evaluation(self, whose: str, evaluated: Measurement, detections: Mapping[int, Detections]) -> None:
        """Compare the twelve numbers and the classes of `metrics.evaluate` over the whole dataset."""
        details = evaluated.details
        classes = {f"AP of {name}": value for name, value in details["per_class"].items()}
        self.read(whose, details["numbers"] | classes, detections)

    def read_pair(
        self, paired: PairedDifference, reference: Mapping[int, Detections], candidate: Mapping[int, Detections]
    ) -> None:
        """Compare the numbers of both sides of `paired_difference` over the pictures that they share, and all differences."""
        pictures = list(reference)
        before = self.read("of the reference", paired.reference, reference, pictures)
        after = self.read("of the candidate", paired.candidate, candidate, pictures)
        ours = {name: each.value for name, each in paired.numbers.items()}
        ours |= {f"AP of {name}": each.value for name, each in paired.per_class.items()}
        self.pairs += [
            (f"difference in {name}", value, after.get(name, math.nan) - before.get(name, math.nan))
            for name, value in ours.items()
        ]

    def measurement(self, gate: str) -> Measurement:
        """The largest error, in AP or AR; `n` counts the numbers that were compared."""
        errors = [abs(ours - theirs) for _, ours, theirs in self.pairs]
        errors = [error if error == error else math.inf for error in errors]  # NaN on either side
        value, where = max(errors, default=0.0), ""
        if value > 1e-12:
            name, ours, theirs = self.pairs[errors.index(value)]
            where = f"{name} is {ours:.9g} here and {theirs:.9g} by pycocotools"
        numbers = {name: theirs if theirs == theirs else str(theirs) for name, _, theirs in self.pairs}
        return Measurement(
            "distance from pycocotools", value, "AP", len(self.pairs), where, {"pycocotools": numbers}, gate=gate
        )


def _completed(document: dict[str, Any]) -> dict[str, Any]:
    """An annotation file with what pycocotools stops for want of: each object's area and crowd flag."""
    for record in document["annotations"]:
        record.setdefault("area", record["bbox"][2] * record["bbox"][3])
        record.setdefault("iscrowd", 0)
    return document


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """pycocotools prints what it does and cannot be told not to."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
