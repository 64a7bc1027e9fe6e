"""The published model at full size: every step of the real thing but the trained weights and the NPU.

Two models of mmdetection's zoo go the same way, in minutes each, when they are asked for: `pytest -m slow tests/unit/test_full_size.py`.
"""

import resource

import numpy as np
import pytest

from fcos_lib.artifacts import ASCEND, PORTABLE, from_checkpoint
from fcos_lib.artifacts.from_checkpoint import check_export, onnx_artifact
from fcos_lib.artifacts.om import om_artifact, om_path
from fcos_lib.ascend.atc import AtcOptions
from fcos_lib.ascend.om_session import OmSession
from fcos_lib.contract import COCO_R50
from fcos_lib.device.npus import use_emulator
from fcos_lib.measure.detections.broken_rows import broken_rows
from fcos_lib.measure.detections.causes import against_mmdet
from fcos_lib.measure.detections.matching import compare, describe
from fcos_lib.model.zoo import known_contracts
from fcos_lib.store.artifacts import Store
from fcos_lib.stream.dataset import open_dataset
from fcos_lib.stream.feed import load_batch
from fcos_lib.stream.sessions import Detections, OnnxSession
from fixtures.settings import EMBEDDED

pytestmark = pytest.mark.slow

PICTURES = 2
BOX, SCORE = 3.0, 0.01  # px, score
GIB = 2**30


def test_the_published_architecture_goes_from_checkpoint_to_detections(tmp_path, monkeypatch):
    """2019 checkpoint → both ONNX → OM for batch 1 and 4 → mmdet, onnxruntime and the emulated NPU agree.

    The export is held against mmdet's layers on the way, with sums that are longer and levels that are cut by a TopK; in
    the batch of 4 each picture is there twice, in different slots, which an emulator computes once.
    """
    check_the_whole_way(COCO_R50, tmp_path, monkeypatch, (1, 4), every=2)


ZOO = {
    "R101 caffe": "fcos_r101-caffe_fpn_gn-head-1x_coco",
    "R50 pytorch": "fcos_r50_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco",
}


@pytest.mark.slow(asked=True)
@pytest.mark.parametrize("name", ZOO.values(), ids=ZOO)
def test_one_of_the_zoo_goes_the_same_way(name, tmp_path, monkeypatch):
    """A deeper network, and one with every switch: GroupNorm, normed distances, centerness beside them, RGB, IoU 0.6."""
    check_the_whole_way(known_contracts()[name], tmp_path, monkeypatch, (2,))


def check_the_whole_way(contract, tmp_path, monkeypatch, sizes, every=1):
    """From a checkpoint with seeded weights to mmdet, onnxruntime and the emulated NPU at these batch sizes, which agree.

    The weights are seeded on one in `every` rows and columns of pixels: spreads are much the same, for less work.
    """
    torch = pytest.importorskip("torch", reason="needs the extra 'export'")
    from fcos_lib.model.detector import load_detector, predict
    from tests.unit.seeded import save_as_2019, seeded_detector

    pictures = open_dataset(EMBEDDED).pictures[1 : 1 + PICTURES]
    batch = load_batch(pictures, contract, PICTURES)
    names = [picture.path.name for picture in pictures]
    calibration = torch.from_numpy(batch.tensor[:, :, ::every, ::every])
    checkpoint = save_as_2019(seeded_detector(contract, calibration), tmp_path)

    checked = []
    monkeypatch.setattr(from_checkpoint, "check_export", lambda *given: checked.append(check_export(*given)))
    store = Store(tmp_path / "artifacts")
    onnx_models = onnx_artifact(store, contract, checkpoint)
    assert set(onnx_models.files) == {PORTABLE, ASCEND}
    (largest,) = checked
    print(f"exported / mmdet's layers, largest differences: {largest}")
    with OnnxSession(onnx_models.path / PORTABLE, contract) as session:
        outputs = [session.run_and_proposals(batch.tensor[slot : slot + 1]) for slot in range(PICTURES)]
    reference = [run.detections(0) for run, *_ in outputs]
    proposals = [offered for _, *offered in outputs]
    assert sum(map(len, reference)) > 40, "the seeded weights detect too little to compare"

    detector = load_detector(contract, checkpoint)
    mmdet = [
        Detections(predicted.bboxes.numpy(), predicted.scores.numpy(), predicted.labels.numpy())
        for predicted in predict(detector, torch.from_numpy(batch.tensor), contract, cut=False)
    ]
    del detector
    offered = {
        picture.id: (found, boxes[0], scores[0])
        for picture, found, (boxes, scores) in zip(pictures, reference, proposals, strict=True)
    }
    by_picture = {picture.id: found for picture, found in zip(pictures, mmdet, strict=True)}
    unexplained, explained, *_ = against_mmdet(pictures, offered, by_picture, contract)
    _, score, box = compare(mmdet, reference, names)
    print(f"mmdet / onnxruntime: {unexplained.n} detections, {unexplained.details}")
    print(f"  score {score.value:.2e}, box {box.value:.2e} px")
    assert unexplained.n > 40, f"{unexplained.n} detections were compared: the proof is empty"
    assert not unexplained.details["left_out"], f"the cut of a level left out {unexplained.details['left_out']}"
    assert unexplained.value == 0, f"{unexplained.value:g} differences from mmdet: {unexplained.where}"
    assert explained.value == 0, f"a share of {explained.value:g} differs from mmdet in float32: {explained.where}"
    assert score.value < 1e-4, score.where
    assert box.value < 0.1, box.where

    device = use_emulator(tmp_path / "emulator")[0]
    for size in sizes:
        om = om_artifact(store, onnx_models, contract, device.toolkit, AtcOptions(device.soc_version, size))
        slots = np.arange(size) % PICTURES
        with OmSession(om_path(om), contract, size) as session:
            outputs = session.run(np.ascontiguousarray(batch.tensor[slots]))
        assert broken_rows(outputs, contract).value == 0
        detections = [outputs.detections(slot) for slot in range(size)]
        expected, offered, of = ([items[slot] for slot in slots] for items in (reference, proposals, names))
        strangers = [
            f"{describe(seen, index)} in {name}"
            for seen, (boxes, scores), name in zip(detections, offered, of, strict=True)
            for index in range(len(seen))
            if not is_proposal(seen, index, boxes[0], scores[0])
        ]
        unmatched, *_ = compare(expected, detections, of)
        print(f"onnxruntime / emulated NPU, batch {size}: {unmatched.details}, {len(strangers)} without a proposal")
        assert not strangers, "found on the device, but no proposal of the reference:\n" + "\n".join(strangers)
        assert unmatched.value <= 0.05, unmatched.where
    peak = max(resource.getrusage(who).ru_maxrss * 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(f"peak memory {peak / GIB:.1f} GiB")
    assert peak < 8 * GIB, f"a process used {peak / GIB:.1f} GiB, not less than 8"


def is_proposal(found, index, boxes, scores):
    """True if the reference handed this detection to NMS, to within fp16. What NMS keeps among random neighbours is a lottery."""
    near = np.abs(boxes - found.boxes[index]).max(axis=1) <= BOX
    return bool((np.abs(scores[near, found.labels[index]] - found.scores[index]) <= SCORE).any())
