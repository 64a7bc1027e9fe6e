"""The stages of a picture's way: which of them lost the mAP, which kinds of mistakes came of it, and the first layer that differs.

The ladder takes one stage after the other from the candidate: what the network is given, the network, the decoding of its
head, NMS. The first rung is the reference, the last the candidate. The differences between neighbours add up to the
difference between the ends, exactly, because they are taken between rounded mAPs. A stage that works on wrong inputs may
hide or amplify what came before it, so the order matters: each stage is judged on what the device really handed to it.

Everything is measured on OMs of its own (`tapped`), compiled like the one under test.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from fcos_lib.contract import ModelContract
from fcos_lib.diagnosis.blame import STAGES, layers_are_worth_a_search
from fcos_lib.diagnosis.error_types import error_types
from fcos_lib.diagnosis.layers import search_layers
from fcos_lib.diagnosis.tapped import Case, Clock, climb
from fcos_lib.errors import FcosError
from fcos_lib.measure.coco.paired import PairedDifference, paired_difference
from fcos_lib.measure.coco.truth import Truth
from fcos_lib.measure.detections.matching import iou_matrix, pair
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.sessions import Detections

KINDS = ("ladder", "error_types", "layers")
MOST_PICTURES = 500
WORST = 4
"""Pictures that the layer search looks at."""
_DIGITS = 5
_SHOWN = 0.05
"""A stage with less than this share of all that was lost or gained is summed up in a sentence as the rest."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage adds to the difference in mAP, candidate minus reference."""

    stage: str
    value: float
    low: float
    high: float
    """With 95 % confidence (see `paired`)."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The difference in mAP, and how the stages share it."""

    total: Stage
    stages: tuple[Stage, ...]
    """In the order of a picture's way."""
    pictures: int

    @property
    def sentence(self) -> str:
        """`of -0.0420: -0.0390 network, -0.0030 NMS`, the largest first."""
        whole = sum(abs(stage.value) for stage in self.stages)
        named = [stage for stage in self.stages if whole and abs(stage.value) >= _SHOWN * whole]
        named.sort(key=lambda stage: -abs(stage.value))
        parts = [f"{stage.value:+.4f} {stage.stage}" for stage in named]
        rest = round(self.total.value - sum(stage.value for stage in named), _DIGITS)
        if len(named) < len(self.stages) and abs(rest) >= 0.00005:
            parts.append(f"{rest:+.4f} the rest")
        return f"of {self.total.value:+.4f}: {', '.join(parts) or 'nothing in any stage'}"

    def as_evidence(self) -> dict[str, Any]:
        """The evidence of kind `ladder`; JSON-ready."""
        return {
            "total": {name: value for name, value in asdict(self.total).items() if name != "stage"},
            "stages": [asdict(stage) for stage in self.stages],
            "pictures": self.pictures,
            "sentence": self.sentence,
        }


def swap_ladder(
    truth: Truth,
    contract: ModelContract,
    rungs: Sequence[Mapping[int, Detections]],
    stages: Sequence[str] = STAGES,
    resamples: int = 300,
) -> Ladder:
    """Share out the difference between the first and the last of `rungs`, of which neighbours differ in one of `stages`.

    Each rung holds the detections of the same pictures of `truth` by id, boxes in picture pixels; values that no detection
    may have are left out (`usable`). `ValueError` if the numbers do not fit, `DatasetError` if pictures differ.
    """
    if len(rungs) != len(stages) + 1:
        raise ValueError(f"{len(rungs)} rungs for {len(stages)} stages")
    pictures = list(rungs[0])
    truth = truth.only(pictures)
    clean = [{number: usable(detections, contract) for number, detections in rung.items()} for rung in rungs]

    def between(low: int, high: int) -> PairedDifference:
        same = all(clean[low][number] is clean[high][number] for number in pictures)  # then the interval is 0
        return paired_difference(truth, contract, clean[low], clean[high], resamples=2 if same else resamples)

    steps = [between(step, step + 1) for step in range(len(stages))]
    whole = between(0, len(stages))
    averages = [round(step.reference["mAP"], _DIGITS) for step in steps] + [round(whole.candidate["mAP"], _DIGITS)]
    values = [round(after - before, _DIGITS) for before, after in pairwise(averages)]
    return Ladder(
        _stage("total", round(averages[-1] - averages[0], _DIGITS), whole),
        tuple(_stage(name, value, step) for name, value, step in zip(stages, values, steps, strict=True)),
        len(pictures),
    )


def _stage(name: str, value: float, difference: PairedDifference) -> Stage:
    if not difference.numbers:  # no picture has an object
        return Stage(name, 0.0, 0.0, 0.0)
    return Stage(name, value, round(difference.low, _DIGITS), round(difference.high, _DIGITS))


def usable(detections: Detections, contract: ModelContract) -> Detections:
    """Without detections that are none: NaN, infinite, or of a label that no class has."""
    kept = np.isfinite(detections.boxes).all(axis=1) & np.isfinite(detections.scores)
    kept &= (detections.labels >= 0) & (detections.labels < len(contract.classes))
    return detections if kept.all() else detections.only(kept)


def kept(in_pictures: Iterable[Detections]) -> dict[str, float]:
    """The lowest score, the largest overlap of two boxes of one class, and the most rows of a picture; all 0 if nothing was found."""
    scores, overlaps, rows = [], [0.0], 0
    for detections in in_pictures:
        rows = max(rows, len(detections.scores))
        scores.extend(detections.scores.tolist())
        for label in np.unique(detections.labels):
            boxes = detections.boxes[detections.labels == label]
            overlaps.append(float(np.triu(iou_matrix(boxes, boxes), 1).max()))
    return {"score": round(min(scores, default=0.0), 4), "overlap": round(max(overlaps), 3), "rows": rows}


def explain(
    case: Case,
    reference: Mapping[int, Detections],
    *,
    judged: float | None = None,
    layers: bool = False,
    seconds: float | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> list[dict[str, Any]]:
    """Evidence of the kinds `ladder`, `error_types` and, if the network is to blame or with `layers`, of the kind `layers`:
    records with `kind` and `data`, JSON-ready.

    `reference` is what onnxruntime finds, by picture id in picture pixels, at least for the case's pictures. `judged` is the
    difference in mAP that a gate measured on the OM under test, to be shown beside. After `seconds` the pictures that were
    seen have to do. `say` hears what is done. `FcosError` for whatever cannot be compiled, loaded or read.
    """
    clock = Clock(seconds)
    say(f"running an OM that returns its inside, {case.options.batches}")
    rungs, stages, reach = climb(case, reference, clock)
    ladder = swap_ladder(case.truth, case.contract, rungs, stages)
    say(ladder.sentence)
    seen = [picture for picture in case.pictures if picture.id in rungs[0]]
    ends = zip(("reference", "candidate"), rungs[-2:], strict=True)
    data: dict[str, Any] = ladder.as_evidence()
    data["kept"] = {
        side: kept(usable(detections, case.contract) for detections in rung.values()) for side, rung in ends
    }
    left_out = ["decoding: the ONNX does not name its head, so it counts as network"] * ("decoding" not in stages)
    if judged is not None:
        data["judged"] = round(judged, 5)
    records = [
        {"kind": "ladder", "data": data},
        {"kind": "error_types", "data": _error_types(case, rungs, seen, reach)},
    ]
    if layers or layers_are_worth_a_search(data):
        before, after = rungs[stages.index("network")], rungs[stages.index("network") + 1]
        worst = sorted(seen, key=lambda picture: -_loss(before[picture.id], after[picture.id]))[:WORST]
        say(f"looking for the first layer that differs, in {len(worst)} pictures")
        try:
            if clock.spent(0.9):
                raise FcosError("no time was left")
            records.append({"kind": "layers", "data": search_layers(case, worst, clock).as_evidence()})
        except FcosError as error:  # the ladder is worth having without it
            left_out.append(f"layers: {error.found}")
    if left_out:
        data["left_out"] = "; ".join(left_out)
    return records


def explain_failure(
    case: Callable[[], Case],
    reference: Mapping[int, Detections],
    *,
    judged: float | None = None,
    seconds: float = 300,
) -> tuple[list[dict[str, Any]], str]:
    """What `explain` finds, and why it found nothing, for a gate that has failed: never raises an `Exception`.

    `case` is called in here, since making one may fail as well.
    """
    try:
        return explain(case(), reference, judged=judged, seconds=seconds), ""
    except Exception as error:  # the gate has failed already, and its reader needs that verdict
        text = error.found if isinstance(error, FcosError) else f"{type(error).__name__}: {error}"
        return [], f"the drop could not be explained: {text}"


def _loss(before: Detections, after: Detections) -> float:
    """How much score two sets of detections of one picture differ in."""
    pairing = pair(before, after)
    gaps = np.abs(before.scores[pairing.pairs[:, 0]] - after.scores[pairing.pairs[:, 1]])
    return float(gaps.sum() + before.scores[pairing.missing].sum() + after.scores[pairing.extra].sum())


def _error_types(
    case: Case, rungs: Sequence[Mapping[int, Detections]], pictures: Sequence[Picture], reach: float
) -> dict[str, Any]:
    by_side = [
        error_types(case.truth, case.contract, {number: usable(detections, case.contract) for number, detections in rung.items()}, pictures, reach)
        for rung in (rungs[0], rungs[-1])
    ]  # fmt: skip
    sides = dict(zip(("reference", "candidate"), by_side, strict=True))
    return {
        **{side: types.lost for side, types in sides.items()},
        "ap50": {side: round(types.ap50, 5) for side, types in sides.items()},
        "counts": {side: types.counts for side, types in sides.items()},
    }
