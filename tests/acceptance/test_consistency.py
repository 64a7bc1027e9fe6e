"""Promise: the device finds what onnxruntime finds in the same pictures, whatever the order."""

import pytest

from fcos_lib.measure.matching import compare

pytestmark = pytest.mark.consistency


def test_detections_match_the_reference(
    candidate, reference_detections, candidate_sample, batch_size, subject, candidate_limit, device, judge
):
    """Every clear detection has a partner of its class, with nearly the same score and box."""
    tensors = candidate_sample.tensor
    found = []
    for start in range(0, len(tensors) // batch_size * batch_size, batch_size):
        outputs = candidate.run(tensors[start : start + batch_size])
        found += [outputs.detections(slot) for slot in range(batch_size)]
    assert found, f"the sample has {len(tensors)} pictures, fewer than one batch of {batch_size}"
    names = [picture.path.name for picture in candidate_sample.pictures[: len(found)]]
    unmatched, score, box = compare(reference_detections[: len(found)], found, names)
    judge(
        "consistency",
        subject,
        (unmatched, candidate_limit("consistency", "unmatched")),
        (score, candidate_limit("consistency", "score")),
        (box, candidate_limit("consistency", "box")),
        stand_in=device.stand_in,
    )
