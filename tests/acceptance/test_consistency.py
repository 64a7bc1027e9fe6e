"""Promise: the device finds what onnxruntime finds in the same pictures, whatever the order; every difference has a cause."""

import pytest

from fcos_lib.measure.candidates.independence import identical, identical_parts
from fcos_lib.measure.detections.bias import bias, levels_of
from fcos_lib.measure.detections.causes import explain
from fcos_lib.stream.feed import in_batches
from fixtures.verdicts import about_copies

pytestmark = pytest.mark.consistency


def test_detections_match_the_reference(
    candidate, reference_sample, candidate_sample, contract, batch_size, keeps_float32, subject, device, judge, shows
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
    biases = bias(comparison.pairs, levels, contract)
    same = identical(comparison.pairs, names, rounded=not keeps_float32)
    copies, absent = about_copies((*same, *identical_parts(comparison.pairs, contract)), keeps_float32)
    judge(
        subject,
        *comparison.measurements(),
        *copies,
        *biases,
        stand_in=device.stand_in,
        absent=absent,
        files={"differences.txt": comparison.listing()},
        evidence=shows.sample(found, comparison, biases),
    )
