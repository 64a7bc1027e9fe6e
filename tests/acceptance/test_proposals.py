"""Promise: what reaches NMS on the device is what reaches it in onnxruntime, and NMS makes of it what it should."""

import numpy as np
import pytest

from fcos_lib.measure.detections.causes import explain
from fcos_lib.measure.independence import identical_proposals
from fcos_lib.measure.proposals.comparison import compare_proposals, measurements, non_finite
from fcos_lib.measure.proposals.replay import replay
from fcos_lib.stream.feed import in_batches
from fixtures.verdicts import about_copies

pytestmark = [pytest.mark.consistency, pytest.mark.own_om]


def test_the_network_and_its_nms_match_the_reference(
    candidate_before_nms, paired_sample, batch_before_nms, keeps_float32, judge, shows
):
    """Proposals are finite and near the reference's; the reference's NMS, replayed on them, tells who is to blame."""
    session, batch, contract = candidate_before_nms, batch_before_nms, batch_before_nms.contract
    inputs = in_batches(paired_sample.tensor, contract, batch.size, batch.layout)
    runs = [session.run_and_proposals(tensor) for tensor in inputs]
    names, reference = paired_sample.names, paired_sample.reference
    boxes, scores = (np.concatenate([run[part] for run in runs])[: len(names)] for part in (1, 2))

    dets = np.concatenate([outputs.dets for outputs, _, _ in runs])[: len(names)]
    judge(
        batch.subject,
        non_finite("proposals", {"boxes": boxes, "scores": scores}, names, "proposals.non_finite"),
        non_finite("detections", {"dets": dets}, names, "proposals.non_finite_detections"),
        stand_in=batch.device.stand_in,
    )
    detections = [outputs.detections(slot) for outputs, _, _ in runs for slot in range(batch.size)][: len(names)]
    both = (reference.boxes, reference.scores), (boxes, scores)
    levels = compare_proposals(*both, names, contract)
    replayed = replay(boxes, scores, contract)
    network = explain(reference.detections, replayed, names, contract, reference.before_nms)
    post_processing = explain(replayed, detections, names, contract, lambda index: (boxes[index], scores[index]))
    highest = float(scores.max())
    copies, absent = about_copies(identical_proposals(*both, names, contract), keeps_float32)
    judge(
        batch.subject,
        *measurements(levels),
        *copies,
        *network.measurements("by the network", ("network.unexplained", "network.explained"), highest),
        *post_processing.measurements("by NMS", ("nms.unexplained", "nms.explained"), highest),
        stand_in=batch.device.stand_in,
        absent=absent,
        files={"by-network.txt": network.listing(), "by-nms.txt": post_processing.listing()},
        evidence=shows.proposals(levels),
    )
