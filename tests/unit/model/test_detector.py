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


def test_nms_keeps_the_best_and_drops_above_the_threshold_strictly():
    """IoU of exactly 0.5 stays."""
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 6], [20, 20, 30, 30]])
    scores = torch.tensor([0.9, 0.8, 0.7, 0.95])
    assert _nms(boxes, scores, 0.5, 0).tolist() == [3, 0, 1]


def test_nms_of_nothing_is_nothing():
    """No boxes, no failure."""
    assert _nms(torch.zeros(0, 4), torch.zeros(0), 0.5, 0).numel() == 0


def test_the_coco_network_has_the_published_size():
    """32 million weights, caffe-style, and a head without norm."""
    detector = build_detector(COCO_R50)
    assert 31e6 < sum(weight.numel() for weight in detector.parameters()) < 33e6
    assert detector.backbone.layer2[0].conv1.stride == (2, 2), "caffe style strides in the first 1x1 convolution"
    assert not any("norm" in type(module).__name__.lower() for module in detector.bbox_head.modules())
    assert detector.bbox_head.conv_cls.out_channels == 80


def test_the_library_imports_without_torch():
    """torch and mmdet are imported where they are used, not before."""
    code = (
        "import sys, fcos_lib.artifacts.from_checkpoint, fcos_lib.artifacts.om, fcos_lib.sessions, fcos_lib.stream.feed, fcos_lib.measure.coco_metrics\n"
        "heavy = {'torch', 'mmdet', 'mmcv', 'mmengine', 'aclruntime', 'pytest'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
