"""What the parts of an mmdetection config may say: for each key the values of which a contract can be made, and mmdetection's default.

Sources: the constructors of mmdet 3.3 (`ResNet`, `ResNeXt`, `FPN`, `FCOSHead`, `AnchorFreeHead`, `DetDataPreprocessor`, `transforms`)
and 2.28. A key that is neither held to values nor read nor known to be without influence on what a trained network computes is
refused by its line, and so is one that is left out where mmdetection's default is another network.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from fcos_lib.model.config_syntax import Node, refuse

UNSUPPORTED = (
    "this FCOS cannot be described by a contract: its fields are those of ModelContract in fcos_lib/contract.py"
)
UNKNOWN = "take the key out of a copy of the config if a trained network computes the same without it"
_DCN = "CANN's list of ONNX operators has no deformable convolution (DCNv2)"
_WHY = {"dcn": _DCN, "stage_with_dcn": _DCN, "dcn_on_last_conv": _DCN, "keep_ratio": "the letterbox keeps the ratio"}


@dataclass(frozen=True, slots=True)
class Part:
    """A dict of a config: which keys it may have."""

    fixed: Mapping[str, tuple[Collection[Any], Any]]
    """By key: the values that are supported, lists as tuples, and what mmdetection takes if the key is left out."""
    read: str = ""
    """Keys that become fields of the contract."""
    ignored: str = ""
    """Keys that only training, loading or speed depends on; `*`: all others."""


BACKBONE = Part(
    {
        "type": (("ResNet", "ResNeXt"), None),
        "in_channels": ((3,), 3),
        "num_stages": ((4,), 4),
        "strides": (((1, 2, 2, 2),), (1, 2, 2, 2)),
        "dilations": (((1, 1, 1, 1),), (1, 1, 1, 1)),
        "out_indices": (((0, 1, 2, 3),), (0, 1, 2, 3)),
        "deep_stem": ((False,), False),
        "avg_down": ((False,), False),
        "conv_cfg": ((None,), None),
        "plugins": ((None,), None),
        "dcn": ((None, False), None),
        "stage_with_dcn": (((False,) * 4,), (False,) * 4),
    },
    read="depth base_channels stem_channels style groups base_width norm_cfg",
    ignored="frozen_stages norm_eval with_cp zero_init_residual pretrained init_cfg",
)
BATCH_NORM = Part({"type": (("BN", "BN2d", "SyncBN"), None), "eps": ((1e-5,), 1e-5)}, ignored="requires_grad momentum")
GROUP_NORM = Part({"type": (("GN",), None), "eps": ((1e-5,), 1e-5)}, "num_groups", "requires_grad")
NECK = Part(
    {
        "type": (("FPN",), None),
        "start_level": ((1,), 0),
        "end_level": ((-1, 3), -1),
        "relu_before_extra_convs": ((True,), False),
        "norm_cfg": ((None,), None),
        "conv_cfg": ((None,), None),
        "act_cfg": ((None,), None),
        "upsample_cfg": (({"mode": "nearest"},), {"mode": "nearest"}),
    },
    read="in_channels out_channels num_outs add_extra_convs extra_convs_on_inputs",
    ignored="no_norm_on_lateral init_cfg",
)
HEAD = Part(
    {
        "type": (("FCOSHead",), None),
        "dcn_on_last_conv": ((False,), False),
        "conv_cfg": ((None,), None),
        "cls_predictor_cfg": ((None,), None),
        "bbox_coder": (({"type": "DistancePointBBoxCoder"},), {"type": "DistancePointBBoxCoder"}),
        "conv_bias": ((True, False, "auto"), "auto"),
        "test_cfg": ((None,), None),
    },
    read="num_classes in_channels feat_channels stacked_convs strides norm_cfg norm_on_bbox centerness_on_reg center_sampling"
    " loss_cls loss_bbox loss_centerness",
    ignored="center_sample_radius regress_ranges init_cfg train_cfg",
)
LOSS_CLS = Part({"use_sigmoid": ((True,), False)}, ignored="*")
MODEL = Part(
    {"type": (("FCOS",), None)},
    read="data_preprocessor backbone neck bbox_head test_cfg",
    ignored="train_cfg init_cfg pretrained",
)
PREPROCESSOR = Part(
    {"type": (("DetDataPreprocessor",), None), "pad_value": ((0,), 0)},
    read="mean std bgr_to_rgb rgb_to_bgr",
    ignored="pad_size_divisor pad_mask mask_pad_value pad_seg seg_pad_value boxtype2tensor non_blocking batch_augments",
)
TEST = Part({"min_bbox_size": ((0, -1), -1)}, read="nms_pre score_thr nms max_per_img")
NMS = Part(
    {
        "type": (("nms",), "nms"),
        "class_agnostic": ((False,), False),
        "offset": ((0,), 0),
        "max_num": ((-1,), -1),
        "score_threshold": ((0,), 0),
    },
    read="iou_threshold iou_thr",
    ignored="split_thr",
)
_RESIZE = {
    "backend": (("cv2",), "cv2"),
    "interpolation": (("bilinear",), "bilinear"),
    "scale_factor": ((None,), None),
    "ratio_range": ((None,), None),
}
TRANSFORMS = {
    "LoadImageFromFile": Part(
        {
            "color_type": (("color",), "color"),
            "imdecode_backend": (("cv2",), "cv2"),
            "channel_order": (("bgr",), "bgr"),
            "to_float32": ((False,), False),
        },
        ignored="file_client_args backend_args ignore_empty",
    ),
    "LoadAnnotations": Part({}, ignored="*"),
    "Resize": Part(
        {**_RESIZE, "keep_ratio": ((True,), False)},
        read="scale img_scale",
        ignored="clip_object_border bbox_clip_border override multiscale_mode",
    ),
    "RandomFlip": Part({"prob": ((None, 0), None), "flip_ratio": ((None, 0), None)}, ignored="direction"),
    "Normalize": Part({}, read="mean std to_rgb"),
    "Pad": Part({"size": ((None,), None), "pad_to_square": ((False,), False)}, read="pad_val", ignored="size_divisor"),
    "ImageToTensor": Part({}, ignored="*"),
    "DefaultFormatBundle": Part({}, ignored="*"),
    "Collect": Part({}, ignored="*"),
    "PackDetInputs": Part({}, ignored="*"),
}  # fmt: skip
"""What a test pipeline may do, in the order in which it may: a picture that was normalised first is resized with other numbers."""
SCALES = Part({"flip": ((False,), False)}, read="img_scale transforms", ignored="flip_direction scale_factor")
"""mmdet 2.x's `MultiScaleFlipAug`, which is around the rest of a test pipeline."""


def entries_of(node: Node, name: str) -> Mapping[str, Node]:
    """The entries of a dict; `UsageError` for another value."""
    if not isinstance(node.value, dict):
        refuse(node.place, f"{name} is no dict", "pass a config of mmdetection")
    return node.value


def plain(node: Node, key: str = "") -> Any:
    """A value without places, lists as tuples; a `type` of OpenMMLab's by its last name, as a scope or a module is before it."""
    if isinstance(node.value, dict):
        return {name: plain(each, name) for name, each in node.value.items()}
    if isinstance(node.value, list | tuple):
        return tuple(plain(each) for each in node.value)
    if key == "type" and isinstance(node.value, str) and node.value.startswith(("mmdet.", "mmcv.", "mmengine.")):
        return node.value.rpartition(".")[2]
    return node.value


def held_to(node: Node, part: Part, name: str) -> Mapping[str, Node]:
    """The entries of a dict that says nothing but what its part may; `UsageError` names the line and the key otherwise."""
    entries = entries_of(node, name)
    known = {*part.read.split(), *part.ignored.split(), *part.fixed}
    for key, value in entries.items():
        if key in part.fixed:
            if not _is_one_of(plain(value, key), part.fixed[key][0]):
                unsupported(value, f"{name}.{key}", part.fixed[key][0])
        elif key not in known and "*" not in known and (key, value.value) != ("_scope_", "mmdet"):
            refuse(
                value.place,
                f"{name} has '{key[:60]}', of which is not known whether it changes what is computed",
                UNKNOWN,
            )
    for key, (supported, default) in part.fixed.items():
        if key not in entries and not _is_one_of(default, supported):
            means = "" if default is None else f", which means {default!r} to mmdetection"
            refuse(node.place, f"{name} has no {key}{means}; supported is {_either(supported)}{_why(key)}", UNSUPPORTED)
    return entries


def unsupported(node: Node, name: str, supported: Collection[Any]) -> NoReturn:
    """Refuse a value by its line, with those that are supported."""
    key = name.rpartition(".")[2]
    refuse(
        node.place, f"{name} is {_short(plain(node, key))}; supported is {_either(supported)}{_why(key)}", UNSUPPORTED
    )


def _is_one_of(value: Any, supported: Collection[Any]) -> bool:
    """Equal, and True is not 1."""
    return any(value == each and isinstance(value, bool) == isinstance(each, bool) for each in supported)


def _either(supported: Collection[Any]) -> str:
    return " or ".join(_short(each) for each in supported)


def _why(key: str) -> str:
    return f": {_WHY[key]}" if key in _WHY else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
