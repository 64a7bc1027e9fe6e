"""Promise: what is found in a picture depends neither on its slot, nor on its neighbours, nor on the batch size."""

import numpy as np
import pytest

from fcos_lib.judge.limits import find_limit
from fcos_lib.measure.matching import compare

pytestmark = pytest.mark.consistency


def test_every_slot_finds_the_same(candidate, contract, sample, busiest, batch_size, device, judge):
    """One picture at every slot, then alone in a last batch padded with zeros: the same detections everywhere."""
    picture = sample.tensor[busiest[0]]
    everywhere = candidate.run(np.ascontiguousarray(np.broadcast_to(picture, contract.input_shape(batch_size))))
    padded = np.zeros(contract.input_shape(batch_size), np.float32)
    padded[0] = picture
    alone = candidate.run(padded).detections(0)
    found = [everywhere.detections(slot) for slot in range(batch_size)]
    names = [f"slot {slot}" for slot in range(batch_size)]
    unmatched, score, box = compare([alone] * batch_size, found, names, "between slots")
    judge(
        "consistency",
        f"batch{batch_size}",
        (unmatched, find_limit("batch_truth", "unmatched")),
        (score, find_limit("batch_truth", "score")),
        (box, find_limit("batch_truth", "box")),
        stand_in=device.stand_in,
    )


def test_every_batch_size_finds_the_same(
    candidate, smallest_batch_detections, sample, busiest, batch_size, device, judge
):
    """The busiest pictures of the sample at this batch size and at the smallest one under test."""
    count = min(batch_size, len(smallest_batch_detections))
    tensor = np.zeros((batch_size, *sample.tensor.shape[1:]), np.float32)
    tensor[:count] = sample.tensor[busiest[:count]]
    outputs = candidate.run(tensor)
    found = [outputs.detections(slot) for slot in range(count)]
    names = [sample.pictures[slot].path.name for slot in busiest[:count]]
    unmatched, score, box = compare(smallest_batch_detections[:count], found, names, "between batch sizes")
    judge(
        "consistency",
        f"batch{batch_size}",
        (unmatched, find_limit("batch_truth", "unmatched")),
        (score, find_limit("batch_truth", "score")),
        (box, find_limit("batch_truth", "box")),
        stand_in=device.stand_in,
    )
