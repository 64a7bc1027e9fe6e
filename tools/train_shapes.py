"""Train an embedded checkpoint on drawings that are not in the validation set.

    python tools/train_shapes.py fixtures/shapes/fcos_shapes.pth --minutes 60
    python tools/train_shapes.py fixtures/shapes/fcos_shapes_gn.pth --contract shapes_gn --minutes 45

Runs on two CPU cores (bf16, channels last). The schedule is a share of the time given, so the steps done, and with them
the last digits of the weights, depend on the machine; the drawings and the seeds do not.
"""

from __future__ import annotations

import argparse
import hashlib
import time

import cv2
import numpy as np
import torch
from draw_shapes import CATEGORY_IDS, JPEG_QUALITY, TRAINING_SEED, draw_scene
from mmengine.structures import InstanceData
from numpy.typing import NDArray

from fcos_lib.contract import EMBEDDED, ModelContract
from fcos_lib.model.detector import build_detector
from fcos_lib.options.option import path
from fcos_lib.stream.letterbox import letterbox

REGRESS_RANGES = ((-1, 12), (12, 24), (24, 48), (48, 96), (96, 1e8))
"""Largest distance (network pixels) that each level learns: COCO's ranges scaled so that all five levels are needed."""
SCENES, BATCH, PEAK_RATE, WEIGHT_DECAY, WARM_UP = 6000, 8, 1.5e-3, 0.02, 0.04


def training_example(
    index: int, contract: ModelContract
) -> tuple[NDArray[np.float16], NDArray[np.float32], NDArray[np.int64]]:
    """Drawing `index` as a letterboxed tensor, boxes in network pixels and labels."""
    scene = draw_scene(np.random.default_rng([TRAINING_SEED, index]))
    encoded = cv2.imencode(".jpg", scene.picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    tensor = np.empty((3, contract.height, contract.width), np.float32)
    geometry = letterbox(cv2.imdecode(encoded, cv2.IMREAD_COLOR), contract, tensor)
    boxes = np.array(scene.boxes, np.float32).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    boxes[:, 0::2] = boxes[:, 0::2] * geometry.scale_x + geometry.left
    boxes[:, 1::2] = boxes[:, 1::2] * geometry.scale_y + geometry.top
    order = {name: label for label, name in enumerate(contract.classes)}
    return tensor.astype(np.float16), boxes, np.array([order[name] for name in scene.names], np.int64)


def flipped(tensor: torch.Tensor, boxes: torch.Tensor, across: bool, down: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirror a tensor [3, H, W] and its boxes left-right and top-bottom."""
    height, width = tensor.shape[1:]
    boxes = boxes.clone()
    if across:
        tensor = tensor.flip(2)
        boxes[:, [0, 2]] = width - boxes[:, [2, 0]]
    if down:
        tensor = tensor.flip(1)
        boxes[:, [1, 3]] = height - boxes[:, [3, 1]]
    return tensor, boxes


def aim_at_level_sizes(detector: torch.nn.Module, contract: ModelContract) -> None:
    """Start each level at distances of about its stride; from 1 px, or from none at all, the boxes never grow.

    A distance is exp(scale * bias), or, normed, the positive part of scale * bias times the stride.
    """
    bias = 1.2 if contract.norm_on_bbox else 2.5
    torch.nn.init.constant_(detector.bbox_head.conv_reg.bias, bias)
    for scale, stride in zip(detector.bbox_head.scales, contract.strides, strict=True):
        torch.nn.init.constant_(scale.scale, 1.0 if contract.norm_on_bbox else float(np.log(1.2 * stride)) / bias)


def train(contract: ModelContract, minutes: float, threads: int) -> torch.nn.Module:
    """A trained detector, in evaluation mode."""
    torch.manual_seed(TRAINING_SEED)
    torch.set_num_threads(threads)
    assert set(contract.classes) == set(CATEGORY_IDS)
    examples = [training_example(index, contract) for index in range(SCENES)]
    print(f"drew {SCENES} scenes, {sum(len(e[2]) for e in examples)} objects", flush=True)
    loss_bbox = {"type": contract.loss_bbox, "loss_weight": 1.0}
    detector = build_detector(
        contract, regress_ranges=REGRESS_RANGES, center_sampling=contract.center_sampling, loss_bbox=loss_bbox
    ).train()
    aim_at_level_sizes(detector, contract)
    detector = detector.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(detector.parameters(), lr=PEAK_RATE, weight_decay=WEIGHT_DECAY)
    rng = np.random.default_rng(TRAINING_SEED)
    start, step, recent = time.monotonic(), 0, 0.0
    order: list[int] = []
    while (share := (time.monotonic() - start) / (60 * minutes)) < 1:
        rate = PEAK_RATE * min(1.0, share / WARM_UP + 0.01) * 0.5 * (1 + np.cos(np.pi * share))
        for group in optimizer.param_groups:
            group["lr"] = rate
        if len(order) < BATCH:
            order = rng.permutation(SCENES).tolist()
        tensors, instances = [], []
        for index in [order.pop() for _ in range(BATCH)]:
            picture, boxes, labels = examples[index]
            tensor, moved = flipped(
                torch.from_numpy(picture).float(), torch.from_numpy(boxes), rng.random() < 0.5, rng.random() < 0.5
            )
            tensors.append(tensor)
            instances.append(InstanceData(bboxes=moved, labels=torch.from_numpy(labels)))
        batch = torch.stack(tensors).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            outputs = detector.bbox_head(detector.neck(detector.backbone(batch)))
        outputs = tuple([level.float() for level in kind] for kind in outputs)
        metas = [{"img_shape": (contract.height, contract.width)}] * BATCH
        losses = detector.bbox_head.loss_by_feat(*outputs, instances, metas)
        loss = sum(losses.values())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(detector.parameters(), 10.0)
        optimizer.step()
        recent = 0.98 * recent + 0.02 * loss.item()
        step += 1
        if step % 100 == 0:
            parts = " ".join(f"{name[5:]} {value.item():.3f}" for name, value in losses.items())
            print(
                f"step {step} {share:5.1%} loss {recent:.3f} ({parts}) {(time.monotonic() - start) / step:.3f} s",
                flush=True,
            )
    print(f"trained {step} steps of {BATCH} pictures in {minutes} minutes", flush=True)
    return detector.eval()


def main() -> None:
    """Train and write the checkpoint, weights only."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=path, help="where the .pth is written")
    parser.add_argument("--contract", choices=EMBEDDED, default="shapes", help="what to train (default %(default)s)")
    parser.add_argument("--minutes", type=float, default=60.0, help="time to train for (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default %(default)s)")
    options = parser.parse_args()
    contract = EMBEDDED[options.contract]
    detector = train(contract, options.minutes, options.threads)
    weights = {key: value.contiguous() for key, value in detector.state_dict().items()}
    torch.save(
        {"meta": {"contract": contract.name, "classes": list(contract.classes)}, "state_dict": weights},
        options.checkpoint,
    )
    print(f"{options.checkpoint}: sha256 {hashlib.sha256(options.checkpoint.read_bytes()).hexdigest()}")


if __name__ == "__main__":
    main()
