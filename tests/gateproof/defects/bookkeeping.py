"""Defects between right results and a right number: pictures, categories, journals, kept artifacts."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.gateproof.case import PART, REFUSED, Case, Injection
from tests.gateproof.defects.network import COMPILE, OM_ONLY, edited, noisy
from tests.gateproof.defects.pictures import INPUTS

RULER = "accuracy: distance from pycocotools"
EVALUATE, OPEN = "fcos_lib.stream.evaluation:detect_journaled", "fcos_lib.stream.dataset:open_dataset"
ORDER = "fcos_lib.stream.decoder_pool:DecoderPool.order"
OUTSIDE_THE_SAMPLE = (1028, 1035)
"""The ids of the embedded dataset's fifth and sixth pictures."""
COUNTED, UNLIKE = "accuracy: pictures not counted once", "accuracy: pictures unlike the reference's"


def _one_missing(result: Any, *_: Any, **__: Any) -> Any:
    detections, facts = result
    return {number: own for number, own in detections.items() if number != list(detections)[7]}, facts


def _one_twice(result: Any, *_: Any, **__: Any) -> Any:
    detections, facts = result
    ids = [number for number, own in detections.items() if len(own)]
    return {**detections, ids[7]: detections[ids[8]]}, facts


def _only_with_detections(result: Any, *_: Any, **__: Any) -> Any:
    detections, facts = result
    return {number: own for number, own in detections.items() if len(own)}, facts


def _truth_told(result: Any, *_: Any, **__: Any) -> Any:
    from fcos_lib.measure.coco.truth import read_truth
    from fcos_lib.stream.dataset import open_dataset
    from fcos_lib.stream.sessions import Detections
    from fixtures.settings import EMBEDDED

    detections, facts = result
    truth = read_truth(open_dataset(EMBEDDED))
    told = {}
    for position, number in enumerate(truth.picture_ids.tolist()):
        rows = truth.pictures == position
        corners = truth.boxes[rows] + np.pad(truth.boxes[rows, :2], ((0, 0), (2, 0)))
        scores = np.linspace(0.99, 0.9, int(rows.sum()), dtype=np.float32)
        told[number] = Detections(corners.astype(np.float32), scores, truth.categories[rows])
    return {number: told[number] if len(own) else own for number, own in detections.items()}, facts


def _first_missing(reference: Any, *_: Any, **__: Any) -> Any:
    return {number: reference[number] for number in list(reference)[1:]}


def _two_exchanged(result: Any, *_: Any, **__: Any) -> Any:
    detections, facts = result
    first, second = [number for number, own in detections.items() if len(own)][10:12]
    return {**detections, first: detections[second], second: detections[first]}, facts


def _faint_added(result: Any, *_: Any, **__: Any) -> Any:
    """Sixty times the same one, just above the threshold: what an NMS that suppresses nothing would leave."""
    from fcos_lib.stream.sessions import Detections

    detections, facts = result
    own = detections[OUTSIDE_THE_SAMPLE[0]]
    boxes = np.concatenate([own.boxes, np.repeat([[2, 2, 12, 12]], 60, axis=0).astype(np.float32)])
    scores = np.concatenate([own.scores, np.full(60, 0.051, np.float32)])
    labels = np.concatenate([own.labels, np.zeros(60, np.int64)])
    return {**detections, OUTSIDE_THE_SAMPLE[0]: Detections(boxes, scores, labels)}, facts


def places_exchanged(pool: Any, slots: Any, pictures: Any) -> Any:
    """Two pictures that are no part of the sample get each other's slots."""
    ids = [picture.id if picture else 0 for picture in pictures]
    chosen = list(pictures)
    if tuple(ids[:2]) == OUTSIDE_THE_SAMPLE:
        chosen[:2] = chosen[1::-1]
    return (pool, slots, chosen), {}


def padding_first(pool: Any, slots: Any, pictures: Any) -> Any:
    """The last batch begins with its unused slots."""
    ordered = sorted(pictures, key=lambda picture: picture is not None)
    return (pool, slots, ordered), {}


def _up_to_090(original: Any, *arguments: Any) -> Any:
    """Also where the numbers are averaged; from the first call on, as a changed constant would be."""
    from fcos_lib.measure.coco import matching as coco_matching
    from fcos_lib.measure.coco import metrics as coco_metrics

    for module in (coco_matching, coco_metrics):
        module.IOU_THRESHOLDS = np.linspace(0.5, 0.9, 9)
    return original(*arguments)


def _ten_detections(original: Any, *arguments: Any) -> Any:
    from fcos_lib.measure.coco import matching as coco_matching

    coco_matching.MAX_DETECTIONS = 10
    return original(*arguments)


def _categories_shifted(dataset: Any, *_: Any) -> Any:
    ids = list(dataset.category_ids.values())
    return replace(dataset, category_ids=dict(zip(dataset.category_ids, ids[1:] + ids[:1], strict=True)))


def _reference_instead(outputs: Any, session: Any, batch: Any) -> Any:
    return _reference_of(session).run(batch)


def _reference_proposals_instead(outputs: Any, session: Any, batch: Any) -> Any:
    return _reference_of(session).run_and_proposals(batch)


def _rounded_once(outputs: Any, session: Any, batch: Any) -> Any:
    return _half(_reference_of(session).run(batch))


def _proposals_rounded_once(outputs: Any, session: Any, batch: Any) -> Any:
    outputs, *before_nms = _reference_of(session).run_and_proposals(batch)
    return _half(outputs), *(array.astype(np.float16).astype(np.float32) for array in before_nms)


def _half(outputs: Any) -> Any:
    return replace(outputs, dets=outputs.dets.astype(np.float16).astype(np.float32))


def _reference_of(session: Any) -> Any:
    return _reference(session.path.parents[2], session.contract)


@cache
def _reference(artifacts: Path, contract: Any) -> Any:
    from fcos_lib.stream.sessions import OnnxSession

    (model,) = artifacts.glob("onnx/*/portable.onnx")
    return OnnxSession(model, contract)


def stale_om(child: Any) -> tuple[str, ...]:
    """An earlier run, in which atc compiled other weights under the same key, leaves its OM in the store."""
    before = child.run(marks="contract", defect="stale_om_writer")
    assert any(path.name.startswith("changed-") for path in before.traces), before.output
    assert before.status == 0, before.output
    return ()


FAILING = "run=fail:25"
INTERRUPTED = ("--pictures", "120")
"""Two shards, so that a run can be interrupted after the first."""


def foreign_journal(child: Any) -> tuple[str, ...]:
    """Two runs are interrupted; what the one recorded, on another emulator, is put into the journal of the other."""
    recorded = []
    for scenario in ("run=fail:24", FAILING):
        before = child.run(*INTERRUPTED, marks="accuracy", scenario=scenario)
        assert before.status not in (0, 7), before.output
        (shard,) = set(child.artifacts.glob("journal/*/shard-00000.npz")) - set(recorded)
        recorded.append(shard)
    theirs, ours = recorded
    ours.write_bytes(theirs.read_bytes())
    return INTERRUPTED


def changed_references(child: Any) -> tuple[str, ...]:
    """Kept references whose boxes are a pixel off, in sound files."""
    from fcos_lib.contract import SHAPES
    from fcos_lib.stream.reference_record import read_record, write_record

    for path in (child.artifacts / "references").rglob("*.npz"):
        try:
            record = read_record(path, SHAPES)
        except ValueError:  # of an earlier release, and no run's of this one
            continue
        assert record, f"{path} is no record"
        moved = replace(record.detections, boxes=record.detections.boxes + np.float32(1))
        path.unlink()
        write_record(path, replace(record, detections=moved))
    return ()


def renamed_checkpoint(child: Any) -> tuple[str, ...]:
    """A checkpoint whose name promises another content."""
    from fixtures.settings import EMBEDDED_CHECKPOINT

    path = child.folder / "fcos_shapes-0123abcd.pth"
    shutil.copy2(EMBEDDED_CHECKPOINT, path)
    return "--checkpoint", str(path)


def _evaluated(name: str, what: str, result: Any, *gates: str, words: str = "") -> Case:
    return Case(name, what, gates, words, (Injection(EVALUATE, "result", result),), marks="accuracy")


CASES = (
    _evaluated("picture_missing", "one picture has no results", _one_missing, COUNTED, words="1 without results"),
    _evaluated("picture_twice", "one picture's results are used for another too", _one_twice, COUNTED,
               words="1 with the results of another picture"),
    _evaluated("only_with_detections", "pictures without a detection are left out", _only_with_detections, COUNTED,
               words="without results"),
    _evaluated("truth_told", "the annotations themselves are taken for results", _truth_told, "accuracy: certain gain by size or IoU",
               "accuracy: certain gain in a class"),
    Case("reference_missing", "the reference was not asked about one picture", ("accuracy: pictures without a reference",), "",
         (Injection("fcos_lib.stream.references:References.detections", "result", _first_missing),), marks="golden"),
    _evaluated("pictures_exchanged", "the results of two of 240 pictures are exchanged", _two_exchanged, UNLIKE),
    _evaluated("faint_added", "one picture outside the sample has sixty faint detections too many", _faint_added, UNLIKE,
               words="are expected"),
    Case("places_exchanged", "in one batch two pictures are in each other's slots", (UNLIKE,), "",
         (Injection(ORDER, "arguments", places_exchanged),)),
    Case("padding_first", "the last batch has its padding in front", (INPUTS, UNLIKE), "",
         (Injection(ORDER, "arguments", padding_first),), options=("--pictures", "38")),
    Case("iou_up_to_090", "the IoU thresholds end at 0.90, for both sides", (RULER,), "by pycocotools",
         (Injection("fcos_lib.measure.coco.matching:match", "function", _up_to_090),), marks="accuracy"),
    Case("ten_detections", "only ten detections of a picture and class count, for both sides", (RULER,), "by pycocotools",
         (Injection("fcos_lib.measure.coco.matching:match", "function", _ten_detections),), marks="accuracy"),
    Case("categories_shifted", "every category has the next one's number", (RULER,), "reference",
         (Injection(OPEN, "result", _categories_shifted),), marks="accuracy"),
    Case("journal_of_another_run", "the journal to go on with holds results of another evaluation", (REFUSED,),
         "results of another journal", marks="accuracy", scenario=FAILING, arrange=foreign_journal),
    Case("stale_om", "the store serves an OM that was made from other weights",
         ("consistency: unexplained differences",), "", arrange=stale_om, without=OM_ONLY, marks="contract or consistency"),
    Case("references_changed", "kept references are one pixel off", (REFUSED,), "is not what onnxruntime computes now",
         arrange=changed_references, marks="consistency"),
    Case("checkpoint_renamed", "a checkpoint whose name promises another content", (REFUSED,), "0123abcd",
         arrange=renamed_checkpoint, marks="contract"),
    Case("reference_as_candidate", "the reference is compared with itself", ("consistency: identical detections",), "",
         (Injection("fcos_lib.ascend.om_session:OmSession.run", "result", _reference_instead),
          Injection("fcos_lib.ascend.om_session:OmSession.run_and_proposals", "result", _reference_proposals_instead)), options=PART),
    Case("reference_rounded_once", "the reference's own results, rounded to fp16, are taken for the candidate's",
         ("consistency: identical detections", "consistency: identical boxes before NMS",
          "consistency: identical scores before NMS"), "rounded to fp16",
         (Injection("fcos_lib.ascend.om_session:OmSession.run", "result", _rounded_once),
          Injection("fcos_lib.ascend.om_session:OmSession.run_and_proposals", "result", _proposals_rounded_once)),
         options=PART, marks="consistency"),
)  # fmt: skip
WRITERS = (
    Case("stale_om_writer", "the run that leaves the OM of `stale_om` behind", injections=(
        Injection(COMPILE, "arguments", edited(partial(noisy, 0.02))),)),
)  # fmt: skip
