"""Promise: the model's inputs and outputs have the names, shapes, types and padding that consumers rely on."""

import pytest

from fcos_lib.measure.detections.broken_rows import broken_rows
from fcos_lib.stream.letterbox import blank

pytestmark = pytest.mark.contract


def test_every_row_is_a_detection_or_padding(candidate, candidate_sample, batch, judge):
    """Rows are sorted by score, above the threshold with a known label inside the picture, or else all zero."""
    tensor = blank(batch.contract, batch.size, batch.layout)
    used = min(batch.size - 1, len(candidate_sample.tensor)) or 1  # from batch 4 on, at least one slot stays blank
    tensor[:used] = candidate_sample.tensor[:used]
    outputs = candidate.run(tensor)
    judge(batch.subject, broken_rows(outputs, batch.contract), stand_in=batch.device.stand_in)


def test_the_reference_keeps_the_same_promise(reference, contract, sample, judge):
    """onnxruntime's rows obey the same rules, or a comparison with them would mean nothing."""
    outputs = reference.run(sample.tensor[:8])
    judge("reference", broken_rows(outputs, contract).for_gate("contract.broken_reference_rows"), stand_in=False)
