"""A full-size checkpoint without training: seeded weights, calibrated on pictures until they detect something."""

import hashlib
import math

import torch

from fcos_lib.model.checkpoint import RENAMED
from fcos_lib.model.detector import build_detector


def seeded_detector(contract, batch, seed=3):
    """The contract's network with random weights whose activations, scores and boxes have the sizes of a trained one.

    `batch` float32[N, 3, H, W] sets the batch norm statistics and the spread of the outputs. Without `norm_on_bbox` distances
    are 2.5 strides or so; with it they are more spread, and some are cut off at 0.
    """
    torch.manual_seed(seed)
    detector = build_detector(contract)
    for name, module in detector.named_modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                torch.nn.init.zeros_(module.bias)
        elif isinstance(module, torch.nn.GroupNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
        elif isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0  # one forward pass in training mode sets the running statistics
            last = "bn3" if contract.depth >= 50 else "bn2"
            if name.endswith(last):  # as training starts: with loud residual branches fifty random layers are chaos
                torch.nn.init.constant_(module.weight, min(0.2, 10 / contract.depth))
    with torch.no_grad():
        detector.backbone.train()  # mmdet's train() returns nothing
        loud = detector.neck(detector.backbone(batch))
        detector.eval()
        gain = math.sqrt(len(loud) / sum(float(level.std()) for level in loud))
        for convolution in (*detector.neck.fpn_convs, *detector.neck.lateral_convs):
            convolution.conv.weight *= gain
        features = detector.neck(detector.backbone(batch))
        head = detector.bbox_head
        for scale, stride in zip(head.scales, contract.strides, strict=True):
            scale.scale.fill_(1.0 if head.norm_on_bbox else math.log(2.5 * stride) / 2.5)
        spread = 1.0 if head.norm_on_bbox else 0.1
        if head.norm_on_bbox:
            head.conv_reg.bias.fill_(100.0)  # above 0 everywhere, so that the spread shows
        head.conv_cls.weight /= outputs_of(head, features, 0).std()
        head.conv_reg.weight *= spread / outputs_of(head, features, 1).std()
        head.conv_centerness.weight /= outputs_of(head, features, 2).std()
        head.conv_cls.bias += 0.4 - outputs_of(head, features, 0).max()
        head.conv_reg.bias.fill_(2.5)
    return detector


def outputs_of(head, features, kind):
    """One kind of head output on all levels, flattened; distances as what the convolution gives."""
    levels = head(features)[kind]
    if kind == 1 and head.norm_on_bbox:
        levels = [level / stride for level, stride in zip(levels, head.strides, strict=True)]
    elif kind == 1:
        levels = [level.log() / scale.scale for level, scale in zip(levels, head.scales, strict=True)]
    return torch.cat([level.flatten() for level in levels])


def save_as_2019(detector, folder):
    """Write the weights as mmdet 1.x did in 2019: old key names, old file format, hash in the name."""
    weights = {}
    for key, value in detector.state_dict().items():
        for old, new in RENAMED.items():
            key = old + key.removeprefix(new) if key.startswith(new) else key
        weights[key] = value
    path = folder / "unnamed.pth"
    torch.save({"meta": {"mmdet_version": "0.6.0"}, "state_dict": weights}, path, _use_new_zipfile_serialization=False)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.rename(folder / f"fcos_r50_caffe_fpn_seeded-{digest[:8]}.pth")
