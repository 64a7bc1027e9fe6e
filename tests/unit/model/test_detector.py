"""The one door to OpenMMLab: the stand-in for compiled operators does what it must and nothing else."""

import subprocess
import sys

import pytest

from fcos_lib.contract import COCO_R50
from fcos_lib.errors import FcosError
from fcos_lib.model.detector import _nms, build_detector

torch = pytest.importorskip("torch", reason="needs the extra 'export'")


def test_a_compiled_operator_that_is_missing_raises_by_name():
    """Never a silent mock."""
    build_detector(COCO_R50)
    from mmcv import _ext

    with pytest.raises(FcosError, match="'deform_conv_forward' was called"):
        _ext.deform_conv_forward(1, 2)


def plain_nms(boxes, scores, iou_threshold, offset):
    """NMS as it is defined, in Python's own numbers: take the best that is left, drop what overlaps it by more."""

    def overlap(first, second):
        width = min(first[2], second[2]) - max(first[0], second[0]) + offset
        height = min(first[3], second[3]) - max(first[1], second[1]) + offset
        inter = max(width, 0) * max(height, 0)
        areas = [(box[2] - box[0] + offset) * (box[3] - box[1] + offset) for box in (first, second)]
        union = sum(areas) - inter
        return inter / union if union else float("nan")

    left, kept = sorted(range(len(boxes)), key=lambda index: -scores[index]), []
    while left:
        best, *left = left
        kept.append(best)
        left = [index for index in left if not overlap(boxes[best], boxes[index]) > iou_threshold]
    return kept


@pytest.mark.parametrize("offset", [0, 1])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("seed", range(6))
def test_nms_is_its_plain_definition(seed, threshold, offset):
    """On whole pixels, where IoUs meet the threshold exactly and scores are equal: what mmdet's own detections rest on here."""
    random = torch.Generator().manual_seed(seed)
    corners = torch.randint(0, 24, (150, 2), generator=random)
    boxes = torch.cat([corners, corners + torch.randint(1, 13, (150, 2), generator=random)], 1).float()
    scores = torch.randint(1, 40, (150,), generator=random) / 40
    kept = _nms(boxes, scores, threshold, offset).tolist()
    assert kept == plain_nms(boxes.tolist(), scores.tolist(), threshold, offset)
    assert 10 < len(kept) < 150, f"{len(kept)} of 150 boxes were kept: the example shows nothing"
    assert _nms(boxes[:0], scores[:0], threshold, offset).numel() == 0


def test_the_coco_network_has_the_published_size():
    """32 million weights, caffe-style, and a head without norm."""
    detector = build_detector(COCO_R50)
    weights = sum(weight.numel() for weight in detector.parameters())
    assert 31e6 < weights < 33e6, f"the network has {weights:,} weights, the published one 32 million"
    assert detector.backbone.layer2[0].conv1.stride == (2, 2), "caffe style strides in the first 1x1 convolution"
    assert not any("norm" in type(module).__name__.lower() for module in detector.bbox_head.modules())
    assert detector.bbox_head.conv_cls.out_channels == 80


def test_the_library_imports_without_torch():
    """torch and mmdet are imported where they are used, not before."""
    code = (
        "import sys, fcos_lib.artifacts.from_checkpoint, fcos_lib.artifacts.om, fcos_lib.stream.sessions, fcos_lib.stream.feed, fcos_lib.measure.coco.metrics\n"
        "heavy = {'torch', 'mmdet', 'mmcv', 'mmengine', 'aclruntime', 'pytest'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
