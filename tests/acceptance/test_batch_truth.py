"""Promise: what is found in a picture depends neither on its slot, nor on its neighbours, nor on the batch size."""

import numpy as np
import pytest

from fcos_lib.measure.detections.matching import compare
from fcos_lib.stream.letterbox import blank

SLOTS = ("between_slots.unmatched", "between_slots.score", "between_slots.box")
BATCH_SIZES = ("between_batch_sizes.unmatched", "between_batch_sizes.score", "between_batch_sizes.box")
pytestmark = pytest.mark.consistency


def test_every_slot_finds_the_same(candidate, contract, candidate_sample, busiest, batch_size, subject, device, judge):
    """One picture at every slot, then alone in a last batch of padding: the same detections everywhere."""
    picture = candidate_sample.tensor[busiest[0]]
    padded = blank(contract, batch_size, candidate.layout)
    everywhere = candidate.run(np.ascontiguousarray(np.broadcast_to(picture, padded.shape)))
    padded[0] = picture
    alone = candidate.run(padded).detections(0)
    found = [everywhere.detections(slot) for slot in range(batch_size)]
    names = [f"slot {slot}" for slot in range(batch_size)]
    measured = compare([alone] * batch_size, found, names, "between slots", SLOTS)
    judge(subject, *measured, stand_in=device.stand_in)


def test_every_batch_size_finds_the_same(
    candidate, contract, smallest_batch_detections, candidate_sample, busiest, batch_size, subject, device, judge
):
    """The busiest pictures of the sample at this batch size and at the smallest one under test."""
    count = min(batch_size, len(smallest_batch_detections))
    tensor = blank(contract, batch_size, candidate.layout)
    tensor[:count] = candidate_sample.tensor[busiest[:count]]
    outputs = candidate.run(tensor)
    found = [outputs.detections(slot) for slot in range(count)]
    names = [candidate_sample.pictures[slot].path.name for slot in busiest[:count]]
    measured = compare(smallest_batch_detections[:count], found, names, "between batch sizes", BATCH_SIZES)
    judge(subject, *measured, stand_in=device.stand_in)
