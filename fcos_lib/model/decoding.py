"""Decoding in numpy: from the head's tensors to proposals, the trunk's last part done a second time.

Between a head's tensors and the proposals lie a sigmoid, a product, four sums and a TopK. Doing that here tells a network
that is wrong from a decoding that is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract

Proposals = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Boxes [N, M, 4] and scores [N, M, C]."""


def decode(head: Mapping[str, NDArray[np.floating]], contract: ModelContract) -> Proposals:
    """Boxes float32[N, M, 4] in network pixels and scores float32[N, M, C] from the tensors that `head_names` lists.

    `class_p3` float32[N, C, h, w] are logits, `centerness_p3` float32[N, 1, h, w] too, `distance_p3` float32[N, 4, h, w] are
    pixels to the left, top, right and bottom. A level with more points than `proposals_per_level` is cut to its best, of
    equal scores the first, NaN last.
    """
    boxes, scores = [], []
    for stride, (rows, columns) in zip(contract.strides, contract.level_shapes, strict=True):
        level = f"p{stride.bit_length() - 1}"
        level_scores = _sigmoid(_by_point(head[f"class_{level}"])) * _sigmoid(_by_point(head[f"centerness_{level}"]))
        y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        centre = np.stack([x, y], axis=-1).reshape(1, -1, 2).astype(np.float32) * stride + stride // 2
        distance = _by_point(head[f"distance_{level}"])
        ends = np.array([contract.width, contract.height] * 2, np.float32)
        corners = np.concatenate([centre - distance[..., :2], centre + distance[..., 2:]], axis=-1)
        level_boxes = np.clip(corners.astype(np.float32), np.float32(0), ends)
        if rows * columns > contract.proposals_per_level:
            best = np.argsort(-level_scores.max(axis=2), axis=1, kind="stable")[:, : contract.proposals_per_level]
            level_boxes, level_scores = (
                np.take_along_axis(values, best[..., None], axis=1) for values in (level_boxes, level_scores)
            )
        boxes.append(level_boxes)
        scores.append(level_scores)
    return np.concatenate(boxes, axis=1), np.concatenate(scores, axis=1)


def _by_point(tensor: NDArray[np.floating]) -> NDArray[np.float32]:
    """[N, K, h, w] as float32[N, h * w, K]."""
    pictures, channels = tensor.shape[:2]
    points: NDArray[np.float32] = np.asarray(tensor, np.float32).transpose(0, 2, 3, 1).reshape(pictures, -1, channels)
    return points


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):
        result: NDArray[np.float32] = np.float32(1) / (np.float32(1) + np.exp(-values))
    return result
