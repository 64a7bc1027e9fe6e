"""Promise: the device finds what onnxruntime finds on the same tensors, whatever the order."""

import pytest

from fcos_lib.judge.limits import find_limit
from fcos_lib.measure.matching import compare

pytestmark = pytest.mark.consistency


def test_detections_match_the_reference(candidate, reference_detections, sample, contract, batch_size, device, judge):
    """Every clear detection has a partner of its class, with nearly the same score and box."""
    tensors = sample.tensor
    found = []
    for start in range(0, len(tensors) // batch_size * batch_size, batch_size):
        outputs = candidate.run(tensors[start : start + batch_size])
        found += [outputs.detections(slot) for slot in range(batch_size)]
    assert found, f"the sample has {len(tensors)} pictures, fewer than one batch of {batch_size}"
    names = [picture.path.name for picture in sample.pictures[: len(found)]]
    unmatched, score, box = compare(reference_detections[: len(found)], found, names)
    judge(
        "consistency",
        f"batch{batch_size}",
        (unmatched, find_limit("consistency", "unmatched")),
        (score, find_limit("consistency", "score")),
        (box, find_limit("consistency", "box")),
        stand_in=device.stand_in,
    )
