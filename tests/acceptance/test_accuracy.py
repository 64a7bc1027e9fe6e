"""Promise: mAP over the whole dataset is at least its limit at every batch size, and near the reference's on the same pictures."""

import pytest

from fcos_lib.judge.roll_call import blocked, does_not_apply
from fcos_lib.measure.coco.as_published import as_published
from fcos_lib.measure.coco.metrics import evaluate
from fcos_lib.measure.coco.paired import paired_difference
from fcos_lib.measure.detections.causes import against_mmdet
from fcos_lib.measure.detections.coverage import coverage, unlike

pytestmark = pytest.mark.accuracy


@pytest.mark.golden
@pytest.mark.reference
def test_the_reference_reaches_the_limit(reference_found, data, readings, recorded, judge):
    """onnxruntime on the CPU reaches the mAP that was published or recorded: checkpoint, pictures and evaluation fit."""
    detections, contract = reference_found(), data.contract
    measured = evaluate(data.dataset, contract, detections, gate="accuracy.reference_mAP")
    readings.read_evaluation("of the reference", measured, detections)
    judge("reference", readings.measurement("accuracy.reference_ruler"), stand_in=False)
    most, absent = [measured.for_gate("accuracy.reference_mAP_most")], {}
    if not recorded:
        most, absent = (
            [],
            {"accuracy.reference_mAP_most": does_not_apply("no right mAP is recorded for this checkpoint")},
        )
    published = as_published(data.dataset, data.truth, contract, detections, gate="accuracy.reference_mAP_as_published")
    judge("reference", measured, *most, published, stand_in=False, absent=absent)


@pytest.mark.golden
@pytest.mark.witness
def test_the_reference_agrees_with_mmdet(witness, references, contract, judge):
    """onnxruntime finds what mmdet's own `predict` finds, through none of our code after the checkpoint is loaded."""
    pictures, mmdet = witness
    judge("reference", *against_mmdet(pictures, references.with_proposals(pictures), mmdet, contract), stand_in=False)


def test_the_candidate_reaches_the_limit(batch_run, data, readings, judge, shows, why):
    """The device under test reaches it too, and loses or gains nothing against the reference, overall or in any part."""
    subject, stand_in, contract = batch_run.batch.subject, batch_run.batch.device.stand_in, data.contract
    detections, reference, pictures = batch_run.evaluation.found, batch_run.reference_found(), data.pictures
    counted = coverage(pictures, detections, batch_run.references.detections)
    counted.details["evaluation"] = batch_run.evaluation.as_dict()
    if counted.value:  # an average over other pictures would be another number
        judge(subject, counted, stand_in=stand_in)
    shared = {number: detections[number] for number in reference}
    paired = paired_difference(data.truth, contract, reference, shared, pictures=shared)
    absolute, absent = [], {}
    if len(pictures) == len(data.dataset.pictures):
        absolute = [
            evaluate(data.dataset, contract, detections),
            as_published(data.dataset, data.truth, contract, detections),
        ]
    else:
        part = f"{len(pictures)} of {len(data.dataset.pictures)} pictures score higher than all of them would"
        absent = dict.fromkeys(("accuracy.mAP", "accuracy.mAP_as_published"), blocked(part))
    if readings is None:
        absent["accuracy.ruler"] = does_not_apply("the ruler was held to the detections of the smallest batch size")
    else:
        readings.read_pair(paired, reference, shared)
        for measured in absolute[:1]:
            readings.read_evaluation("of the candidate over all pictures", measured, detections)
        judge(subject, readings.measurement("accuracy.ruler"), stand_in=stand_in)
    judge(
        subject,
        counted,
        unlike(reference, shared),
        *absolute,
        paired.measurement("paired.loss"),
        paired.measurement("paired.gain"),
        *paired.certain_changes(),
        stand_in=stand_in,
        absent=absent,
        evidence=shows.evaluation(shared, paired),
        why=lambda within: why(subject, paired.value, within),
    )
