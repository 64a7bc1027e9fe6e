"""The torch network that a contract describes: the only door to mmdet, mmengine and mmcv.

`mmcv-lite` has no compiled operators, and mmdet does not import without them. A stand-in for `mmcv._ext` lets it import;
it carries the one operator that FCOS inference calls, `nms`, and every other one raises by name. A compiled mmcv is used
when it is there. With the stand-in, the NMS behind "mmdet's own detections" is this project's: `nms_of` says which it was,
and tests hold the stand-in to NMS's plain definition.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import types
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.errors import CheckpointError, FcosError, NotInstalledError
from fcos_lib.model.checkpoint import read_checkpoint

if TYPE_CHECKING:
    import torch


_FIRST_WITH_BOTTLENECKS = 50
"""Depth of the shallowest ResNet whose blocks widen their channels by four."""


class _Ops(types.ModuleType):
    """Stand-in for `mmcv._ext`: a module that has every operator's name and only one working operator."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)

        def missing(*_: object, **__: object) -> NoReturn:
            raise FcosError(
                f"the compiled mmcv operator '{name}' was called, and mmcv-lite does not have it",
                "FCOS needs none but nms; for other models install a compiled mmcv 2.1.0",
            )

        return missing


def _nms(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float, offset: int) -> torch.Tensor:
    """mmcv's CPU `nms`: indices of kept boxes, best first; drops a box when IoU > `iou_threshold`, strictly."""
    import torch

    x1, y1, x2, y2 = boxes.unbind(1)
    areas = (x2 - x1 + offset) * (y2 - y1 + offset)
    order = torch.sort(scores, descending=True, stable=True).indices
    kept = []
    while order.numel():
        best, rest = order[0], order[1:]
        kept.append(best)
        width = (torch.minimum(x2[best], x2[rest]) - torch.maximum(x1[best], x1[rest]) + offset).clamp(min=0)
        height = (torch.minimum(y2[best], y2[rest]) - torch.maximum(y1[best], y1[rest]) + offset).clamp(min=0)
        inter = width * height
        order = rest[inter / (areas[best] + areas[rest] - inter) <= iou_threshold]
    return torch.stack(kept) if kept else order


@contextmanager
def _own_caches() -> Iterator[None]:
    """Have what mmdet imports and FCOS never uses, matplotlib and YAPF, write their caches where they are thrown away."""
    names = ("MPLCONFIGDIR", "XDG_CACHE_HOME")
    before = {name: os.environ.get(name) for name in names}
    with tempfile.TemporaryDirectory(prefix="fcos_lib-") as folder:
        os.environ |= dict.fromkeys(names, folder)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name)
                if value is not None:
                    os.environ[name] = value


def _open_the_door() -> Any:
    """Import mmdet, after registering the stand-in for compiled operators where mmcv has none; returns `mmdet.models`."""
    try:
        with warnings.catch_warnings(), _own_caches():
            warnings.simplefilter("ignore")
            if "mmcv._ext" not in sys.modules and importlib.util.find_spec("mmcv._ext") is None:  # imports mmcv
                ops = _Ops("mmcv._ext")
                ops.nms = _nms  # type: ignore[attr-defined]
                sys.modules["mmcv._ext"] = ops
            import mmdet.models
    except ImportError as error:
        raise NotInstalledError(
            f"building the network needs mmdet, and it does not import ({error})",
            "pip install -e '.[export]' -c constraints.txt, or pass a ready ONNX",
        ) from error
    return mmdet.models


def config_folder() -> Path | None:
    """The folder of the configs that the installed mmdet carries, without importing it; None if there is none."""
    spec = importlib.util.find_spec("mmdet")
    folder = Path(spec.origin).parent / ".mim" / "configs" if spec and spec.origin else None
    return folder.resolve() if folder and folder.is_dir() else None


def config_as_json(path: str) -> str:
    """What mmengine makes of a config, as JSON; it runs the config, so call this in a process that may (`config_run`)."""
    from mmengine.config import Config

    variables = Config.fromfile(path, import_custom_modules=False, format_python_code=False).to_dict()
    return json.dumps(variables, allow_nan=False, default=repr)


def build_detector(contract: ModelContract, **overrides: Any) -> torch.nn.Module:
    """mmdet's own FCOS for a contract, randomly initialised, in evaluation mode.

    `overrides` replace entries of the head's configuration (training needs its own ranges and losses).
    """
    models = _open_the_door()
    from mmengine.config import ConfigDict

    base = contract.base_channels
    widest = base if contract.depth < _FIRST_WITH_BOTTLENECKS else 4 * base
    groups = dict(groups=contract.groups, base_width=contract.group_width) if contract.groups > 1 else {}
    norm = dict(type="GN", num_groups=contract.head_norm_groups) if contract.head_norm_groups else None
    detector: torch.nn.Module = models.FCOS(
        backbone=dict(
            type=contract.backbone, depth=contract.depth, num_stages=4, out_indices=(0, 1, 2, 3), base_channels=base,
            frozen_stages=-1, norm_cfg=dict(type="BN", requires_grad=True), norm_eval=False, style=contract.style, **groups,
        ),
        neck=dict(
            type="FPN", in_channels=[widest << stage for stage in range(4)], out_channels=contract.feature_channels,
            start_level=1, add_extra_convs="on_output", num_outs=len(contract.strides), relu_before_extra_convs=True,
        ),
        bbox_head=dict(
            type="FCOSHead", num_classes=len(contract.classes), in_channels=contract.feature_channels,
            feat_channels=contract.feature_channels, stacked_convs=contract.stacked_convs,
            strides=list(contract.strides), norm_cfg=norm, conv_bias=contract.head_conv_bias,
            norm_on_bbox=contract.norm_on_bbox, centerness_on_reg=contract.centerness_on_reg, **overrides,
        ),
        test_cfg=ConfigDict(
            nms_pre=contract.proposals_per_level, min_bbox_size=0, score_thr=contract.score_threshold,
            nms=dict(type="nms", iou_threshold=contract.iou_threshold), max_per_img=contract.max_detections,
        ),
    )  # fmt: skip
    return detector.eval()


def load_detector(contract: ModelContract, checkpoint: Path) -> torch.nn.Module:
    """The contract's network with the weights of a `.pth`; `CheckpointError` lists every key that does not fit."""
    _open_the_door()  # says what to install if torch or mmdet is missing
    import torch

    weights = read_checkpoint(checkpoint)
    detector = build_detector(contract)
    expected = detector.state_dict()
    counters = {key for key in expected if key.endswith("num_batches_tracked")}
    missing = sorted(expected.keys() - weights.keys() - counters)
    unexpected = sorted(weights.keys() - expected.keys())
    misshaped = [
        f"{key} {tuple(weights[key].shape)}, expected {tuple(expected[key].shape)}"
        for key in sorted(expected.keys() & weights.keys())
        if weights[key].shape != expected[key].shape
    ]
    if missing or unexpected or misshaped:
        parts = [
            f"{len(keys)} {what} ({'; '.join(keys[:4])}{'; ...' if len(keys) > 4 else ''})"
            for what, keys in (("missing", missing), ("unexpected", unexpected), ("of another shape", misshaped))
            if keys
        ]
        raise CheckpointError(
            f"{checkpoint} is not a checkpoint of contract '{contract.name}': keys {', '.join(parts)}",
            "pass the checkpoint that was trained for this dataset and architecture (--checkpoint, --dataset)",
        )
    whole = [key for key, value in weights.items() if not value.is_floating_point() and key not in counters]
    if whole:
        raise CheckpointError(
            f"{checkpoint} has weights that are no real numbers: {weights[whole[0]].dtype} in {', '.join(whole[:4])}",
            "pass the checkpoint as it was trained, before it was quantized",
        )
    bad = [key for key, value in weights.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if bad:
        raise CheckpointError(
            f"{checkpoint} has NaN or infinite weights in {', '.join(bad[:4])}", "train or fetch it again"
        )
    detector.load_state_dict(weights, strict=False)
    return detector


def head_of(
    detector: torch.nn.Module, batch: NDArray[np.float32], contract: ModelContract
) -> dict[str, NDArray[np.float32]]:
    """What mmdet's own layers compute for float32[N, 3, H, W]: the head's tensors, named as `export.head_names` does."""
    import torch

    with torch.no_grad():
        kinds = detector(torch.from_numpy(batch), mode="tensor")
    return {
        f"{kind}_p{stride.bit_length() - 1}": tensor.numpy()
        for kind, levels in zip(("class", "distance", "centerness"), kinds, strict=True)
        for stride, tensor in zip(contract.strides, levels, strict=True)
    }


def nms_of() -> str:
    """Whose NMS `predict` runs: mmcv's compiled one, or this project's stand-in for it."""
    _open_the_door()
    stand_in = isinstance(sys.modules.get("mmcv._ext"), _Ops)
    return "fcos_lib's stand-in for mmcv's compiled operator" if stand_in else "mmcv's compiled operator"


def predict(detector: torch.nn.Module, batch: torch.Tensor, contract: ModelContract, *, cut: bool = True) -> list[Any]:
    """mmdet's own detections for float32[N, 3, H, W], in network pixels: per picture bboxes, scores, labels (torch).

    mmdet compares the class score alone with the threshold, and takes each level's best `proposals_per_level` by it; so it
    returns detections whose product with the centerness is below the threshold, too. With `cut` False no level is cut.
    """
    import torch
    from mmdet.structures import DetDataSample

    config = detector.bbox_head.test_cfg.copy()  # type: ignore[operator, union-attr]
    if not cut:
        config.nms_pre = sum(rows * columns for rows, columns in contract.level_shapes) * len(contract.classes)
    detector.bbox_head.test_cfg, before = config, detector.bbox_head.test_cfg  # type: ignore[union-attr]
    meta = {
        "img_shape": (contract.height, contract.width),
        "ori_shape": (contract.height, contract.width),
        "scale_factor": (1.0, 1.0),
    }
    samples = [DetDataSample(metainfo=meta) for _ in range(batch.shape[0])]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # mmdet calls torch.meshgrid the old way
            results: list[Any] = detector.predict(batch, samples, rescale=False)  # type: ignore[operator]
    finally:
        detector.bbox_head.test_cfg = before  # type: ignore[union-attr]
    return [result.pred_instances for result in results]
