"""Promise: the device finds what onnxruntime finds in the same pictures, whatever the order; every difference has a cause."""

import pytest

from fcos_lib.measure.bias import bias, levels_of
from fcos_lib.measure.causes import explain
from fcos_lib.measure.independence import identical
from fcos_lib.stream.feed import in_batches

pytestmark = pytest.mark.consistency


def test_detections_match_the_reference(
    candidate, reference_sample, candidate_sample, contract, batch_size, subject, candidate_limit, device, judge, shows
):
    """No difference without a cause that rounding explains, few with one, and no common shift of sizes, places or scores."""
    found = []
    for tensor in in_batches(candidate_sample.tensor, contract, batch_size, candidate.layout):
        outputs = candidate.run(tensor)
        found += [outputs.detections(slot) for slot in range(batch_size)]
    names = [picture.path.name for picture in candidate_sample.pictures]
    found = found[: len(names)]
    boxes, scores = reference_sample.boxes, reference_sample.scores
    comparison = explain(
        reference_sample.detections, found, names, contract, lambda place: (boxes[place], scores[place])
    )
    unexplained, explained = comparison.measurements()
    levels = levels_of(comparison.pairs, boxes, scores, contract)
    biases = bias(comparison.pairs, contract, levels=levels)
    limits = ("size", "centre_x", "centre_y", "score")
    judge(
        "consistency",
        subject,
        (unexplained, candidate_limit("consistency", contract.name, "unexplained")),
        (explained, candidate_limit("consistency", contract.name, "explained")),
        (identical(comparison.pairs), candidate_limit("consistency", contract.name, "identical")),
        *((one, candidate_limit("bias", contract.name, name)) for one, name in zip(biases, limits, strict=True)),
        stand_in=device.stand_in,
        files={"differences.txt": comparison.listing()},
        evidence=shows.sample(found, comparison, biases),
    )
