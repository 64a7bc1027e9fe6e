"""Promise: mAP over the whole dataset is at least its limit at every batch size, and near the reference's on the same pictures."""

import pytest

from fcos_lib.judge.roll_call import blocked
from fcos_lib.measure.coco_metrics import evaluate
from fcos_lib.measure.coverage import coverage, unlike
from fcos_lib.measure.paired import paired_difference

pytestmark = pytest.mark.accuracy


@pytest.mark.golden
@pytest.mark.reference
def test_the_reference_reaches_the_limit(reference_found, references, dataset, contract, judge):
    """onnxruntime on the CPU reaches the mAP that was published or recorded: checkpoint, pictures and evaluation fit."""
    measured = evaluate(dataset, contract, reference_found(), gate="accuracy.reference_mAP")
    judge("reference", measured, stand_in=False)


def test_the_candidate_reaches_the_limit(
    evaluation, dataset, truth, pictures, references, reference_found, contract, subject, device, judge, shows, why
):
    """The device under test reaches it too, and loses or gains nothing against the reference, overall or in any part."""
    found, reference = evaluation.found, reference_found()
    counted = coverage(pictures, found, references.detections)
    counted.details["evaluation"] = evaluation.as_dict()
    if counted.value:  # an average over other pictures would be another number
        judge(subject, counted, stand_in=device.stand_in)
    shared = {number: found[number] for number in reference}
    paired = paired_difference(truth, contract, reference, shared, pictures=shared)
    absolute, absent = [], {}
    if len(pictures) == len(dataset.pictures):
        absolute = [evaluate(dataset, contract, found)]
    else:
        part = f"{len(pictures)} of {len(dataset.pictures)} pictures score higher than all of them would"
        absent["accuracy.mAP"] = blocked(part)
    judge(
        subject,
        counted,
        unlike(reference, shared),
        *absolute,
        paired.measurement("paired.loss"),
        paired.measurement("paired.gain"),
        *paired.certain_changes(),
        stand_in=device.stand_in,
        absent=absent,
        evidence=shows.evaluation(shared, paired),
        why=lambda: why(subject, paired.value),
    )


@pytest.mark.share
def test_other_workers_take_a_share(evaluation, share):
    """Under -n, pictures of one evaluation run on every NPU that is free; the test above judges them."""
    assert evaluation.found, "no picture was found in the journal"
