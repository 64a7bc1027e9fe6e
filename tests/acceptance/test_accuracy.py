"""Promise: mAP over the whole dataset is at least its limit, at every batch size."""

import pytest

from fcos_lib.judge.limits import find_limit
from fcos_lib.measure.coco_metrics import evaluate
from fcos_lib.stream.feed import detect

pytestmark = pytest.mark.accuracy


@pytest.mark.reference
def test_the_reference_reaches_the_limit(reference, dataset, contract, judge):
    """onnxruntime on the CPU reaches the mAP that was published or recorded: checkpoint, pictures and evaluation fit."""
    found = detect(reference, dataset.pictures, contract, 8)
    judge(
        "accuracy",
        "reference",
        (evaluate(dataset, contract, found), find_limit("accuracy", contract.name, "mAP")),
        stand_in=False,
    )


def test_the_candidate_reaches_the_limit(
    candidate, dataset, contract, batch_size, subject, candidate_limit, device, judge
):
    """The device under test reaches it too."""
    found = detect(candidate, dataset.pictures, contract, batch_size)
    judge(
        "accuracy",
        subject,
        (evaluate(dataset, contract, found), candidate_limit("accuracy", contract.name, "mAP")),
        stand_in=device.stand_in,
    )
