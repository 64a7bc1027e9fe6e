"""Promise: the device finds what onnxruntime finds in the same pictures, whatever the order; every difference has a cause."""

import pytest

from fcos_lib.measure.detections.bias import bias, levels_of
from fcos_lib.measure.detections.causes import explain
from fcos_lib.measure.independence import identical, identical_parts
from fixtures.samples import detections_of
from fixtures.verdicts import about_copies

pytestmark = pytest.mark.consistency


def test_detections_match_the_reference(candidate, paired_sample, batch, keeps_float32, judge, shows):
    """No difference without a cause that rounding explains, few with one, and no common shift of sizes, places or scores."""
    names, reference, contract = paired_sample.names, paired_sample.reference, batch.contract
    detections = detections_of(candidate, paired_sample.tensor)
    comparison = explain(reference.detections, detections, names, contract, reference.before_nms)
    levels = levels_of(comparison.pairs, reference.boxes, reference.scores, contract)
    biases = bias(comparison.pairs, levels, contract)
    same = identical(comparison.pairs, names, rounded=not keeps_float32)
    copies, absent = about_copies((*same, *identical_parts(comparison.pairs, contract)), keeps_float32)
    judge(
        batch.subject,
        *comparison.measurements(),
        *copies,
        *biases,
        stand_in=batch.device.stand_in,
        absent=absent,
        files={"differences.txt": comparison.listing()},
        evidence=shows.sample(detections, comparison, biases),
    )
