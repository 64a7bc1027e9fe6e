"""Promise: mAP over the whole dataset is at least its limit at every batch size, and near the reference's on the same pictures."""

import pytest

from fcos_lib.judge.limits import find_limit
from fcos_lib.measure.coco_metrics import evaluate
from fcos_lib.measure.coverage import coverage, unlike
from fcos_lib.measure.paired import paired_difference

pytestmark = pytest.mark.accuracy


@pytest.mark.golden
@pytest.mark.reference
def test_the_reference_reaches_the_limit(reference_found, references, dataset, contract, judge):
    """onnxruntime on the CPU reaches the mAP that was published or recorded: checkpoint, pictures and evaluation fit."""
    judge(
        "accuracy",
        "reference",
        (evaluate(dataset, contract, reference_found()), find_limit("accuracy", contract.name, "mAP")),
        stand_in=False,
    )


def test_the_candidate_reaches_the_limit(
    evaluation, dataset, truth, pictures, reference_found, contract, subject, candidate_limit, device, judge, shows, why
):
    """The device under test reaches it too, and loses or gains nothing against the reference, overall or in any part."""
    found, reference = evaluation.found, reference_found()
    counted = coverage(pictures, found), find_limit("accuracy", "not_counted_once")
    counted[0].details["evaluation"] = evaluation.as_dict()
    if counted[0].value:  # an average over other pictures would be another number
        judge("accuracy", subject, counted, stand_in=device.stand_in)
    shared = {number: found[number] for number in reference}
    paired = paired_difference(truth, contract, reference, shared, pictures=shared)
    difference, changes = paired.measurement(), paired.certain_changes()
    names = ("loss_size", "gain_size", "loss_class", "gain_class")
    absolute = []
    if len(pictures) == len(dataset.pictures):  # part of the pictures scores higher than all of them
        absolute = [(evaluate(dataset, contract, found), candidate_limit("accuracy", contract.name, "mAP"))]
    judge(
        "accuracy",
        subject,
        counted,
        (unlike(reference, shared), find_limit("accuracy", "unlike_reference")),
        *absolute,
        (difference, candidate_limit("paired", contract.name, "loss")),
        (difference, candidate_limit("paired", contract.name, "gain")),
        *((one, candidate_limit("paired", contract.name, name)) for one, name in zip(changes, names, strict=True)),
        stand_in=device.stand_in,
        evidence=shows.evaluation(shared, paired),
        why=lambda: why(subject, paired.value),
    )


@pytest.mark.share
def test_other_workers_take_a_share(evaluation, share):
    """Under -n, pictures of one evaluation run on every NPU that is free; the test above judges them."""
    assert evaluation.found, "no picture was found in the journal"
