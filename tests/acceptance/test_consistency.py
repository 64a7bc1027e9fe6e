"""Promise: the device finds what onnxruntime finds in the same pictures, whatever the order; every difference has a cause."""

import pytest

from fcos_lib.measure.bias import bias, levels_of
from fcos_lib.measure.causes import explain
from fcos_lib.measure.independence import identical
from fcos_lib.stream.feed import in_batches

pytestmark = pytest.mark.consistency


def test_detections_match_the_reference(
    candidate, reference_sample, candidate_sample, contract, batch_size, subject, device, judge, shows
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
    levels = levels_of(comparison.pairs, boxes, scores, contract)
    biases = bias(comparison.pairs, contract, levels=levels)
    judge(
        subject,
        *comparison.measurements(),
        identical(comparison.pairs),
        *biases,
        stand_in=device.stand_in,
        files={"differences.txt": comparison.listing()},
        evidence=shows.sample(found, comparison, biases),
    )
