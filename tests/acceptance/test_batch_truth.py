"""Promise: what is found in a picture depends neither on its slot, nor on its neighbours, nor on the batch size."""

import numpy as np
import pytest

from fcos_lib.measure.detections.matching import compare
from fcos_lib.stream.letterbox import blank
from fixtures.samples import detections_of

SLOTS = ("between_slots.unmatched", "between_slots.score", "between_slots.box")
BATCH_SIZES = ("between_batch_sizes.unmatched", "between_batch_sizes.score", "between_batch_sizes.box")
pytestmark = pytest.mark.consistency


def test_every_slot_finds_the_same(candidate, paired_sample, batch, judge):
    """One picture at every slot, then alone in a last batch of padding: the same detections everywhere."""
    picture = paired_sample.tensor[paired_sample.busiest[0]]
    padded = blank(batch.contract, batch.size, batch.layout)
    everywhere = candidate.run(np.ascontiguousarray(np.broadcast_to(picture, padded.shape)))
    padded[0] = picture
    alone = candidate.run(padded).detections(0)
    detections = [everywhere.detections(slot) for slot in range(batch.size)]
    names = [f"slot {slot}" for slot in range(batch.size)]
    measured = compare([alone] * batch.size, detections, names, "between slots", SLOTS)
    judge(batch.subject, *measured, stand_in=batch.device.stand_in)


def test_every_batch_size_finds_the_same(candidate, smallest_batch_detections, paired_sample, batch, judge):
    """The busiest pictures of the sample at this batch size and at the smallest one under test."""
    count = min(batch.size, len(smallest_batch_detections))
    busiest = paired_sample.busiest[:count]
    detections = detections_of(candidate, paired_sample.tensor[busiest])
    names = [paired_sample.names[index] for index in busiest]
    measured = compare(smallest_batch_detections[:count], detections, names, "between batch sizes", BATCH_SIZES)
    judge(batch.subject, *measured, stand_in=batch.device.stand_in)
