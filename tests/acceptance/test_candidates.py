"""Promise: what reaches NMS on the device is what reaches it in onnxruntime, and NMS makes of it what it should."""

import numpy as np
import pytest

from fcos_lib.measure.candidates.comparison import compare_candidates, measurements, non_finite
from fcos_lib.measure.candidates.independence import identical_proposals
from fcos_lib.measure.candidates.replay import replay
from fcos_lib.measure.detections.causes import explain
from fcos_lib.stream.feed import in_batches
from fixtures.verdicts import about_copies

pytestmark = [pytest.mark.consistency, pytest.mark.own_om]


def test_the_network_and_its_nms_match_the_reference(
    candidate_before_nms,
    reference_sample,
    candidate_sample,
    contract,
    subject_before_nms,
    keeps_float32,
    device,
    judge,
    shows,
):
    """Candidates are finite and near the reference's; the reference's NMS, replayed on them, tells who is to blame."""
    om = candidate_before_nms
    runs = [
        om.run_and_candidates(tensor) for tensor in in_batches(candidate_sample.tensor, contract, om.batch, om.layout)
    ]
    names = [picture.path.name for picture in candidate_sample.pictures]
    boxes, scores = (np.concatenate([run[part] for run in runs])[: len(names)] for part in (1, 2))

    dets = np.concatenate([outputs.dets for outputs, _, _ in runs])[: len(names)]
    judge(
        subject_before_nms,
        non_finite("candidates", {"boxes": boxes, "scores": scores}, names, "candidates.non_finite"),
        non_finite("detections", {"dets": dets}, names, "candidates.non_finite_detections"),
        stand_in=device.stand_in,
    )
    found = [outputs.detections(slot) for outputs, _, _ in runs for slot in range(om.batch)][: len(names)]
    reference = reference_sample.boxes, reference_sample.scores
    levels = compare_candidates(reference, (boxes, scores), names, contract)
    replayed = replay(boxes, scores, contract)
    network = explain(
        reference_sample.detections,
        replayed,
        names,
        contract,
        lambda place: (reference[0][place], reference[1][place]),
    )
    post_processing = explain(replayed, found, names, contract, lambda place: (boxes[place], scores[place]))
    proposals = identical_proposals(reference, (boxes, scores), names, contract)
    copies, absent = about_copies(proposals, keeps_float32)
    judge(
        subject_before_nms,
        *measurements(levels),
        *copies,
        *network.measurements("by the network", ("network.unexplained", "network.explained")),
        *post_processing.measurements("by NMS", ("nms.unexplained", "nms.explained")),
        stand_in=device.stand_in,
        absent=absent,
        files={"by-network.txt": network.listing(), "by-nms.txt": post_processing.listing()},
        evidence=shows.candidates(levels),
    )
