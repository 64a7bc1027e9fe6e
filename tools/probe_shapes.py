"""What the embedded default can show: mAP of the reference as it is, and with one thing wrong at a time.

    python tools/probe_shapes.py

A defect that does not lower mAP here could not be seen by the accuracy gate; the figures are quoted in
fixtures/shapes/README.md.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lib.artifacts import PORTABLE
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.contract import SHAPES
from fcos_lib.emulator.kernels import NmsSettings, batch_multi_class_nms
from fcos_lib.measure.coco.metrics import evaluate
from fcos_lib.store.artifacts import Store
from fcos_lib.stream.dataset import open_dataset
from fcos_lib.stream.feed import Batch, batches
from fcos_lib.stream.letterbox import to_picture
from fcos_lib.stream.sessions import Detections, OnnxSession, Outputs

FOLDER = Path(__file__).parent.parent / "fixtures" / "shapes"
Floats = NDArray[np.float32]


def measure(
    session: OnnxSession,
    ready: list[Batch],
    tensor: Callable[[Floats], Floats] = lambda batch: batch,
    proposals: Callable[[Floats, Floats], tuple[Floats, Floats]] = lambda boxes, scores: (boxes, scores),
    labels: Callable[[NDArray[np.int64]], NDArray[np.int64]] = lambda labels: labels,
) -> float:
    """mAP with a change to the network input, to the proposals before NMS, or to the labels."""
    settings = NmsSettings(SHAPES.score_threshold, SHAPES.iou_threshold, SHAPES.max_detections, SHAPES.max_detections)
    figures = {}
    for batch in ready:
        _, *before_nms = session.run_and_proposals(np.ascontiguousarray(tensor(batch.tensor)))
        boxes, scores = proposals(*before_nms)
        kept, values, classes, _ = batch_multi_class_nms(boxes, scores, settings)
        dets = np.concatenate([kept, values[..., None]], axis=2).astype(np.float32)
        outputs = Outputs(labels(classes.astype(np.int64)), dets)
        for slot, (picture, letterbox) in enumerate(zip(batch.pictures, batch.places, strict=True)):
            seen = outputs.detections(slot)
            figures[picture.id] = Detections(to_picture(seen.boxes, letterbox), seen.scores, seen.labels)
    return evaluate(open_dataset(FOLDER), SHAPES, figures).value


def without_level(level: int) -> Callable[[Floats, Floats], tuple[Floats, Floats]]:
    """Proposals with the scores of one pyramid level set to 0."""
    start = sum(SHAPES.proposals_by_level[:level])

    def change(boxes: Floats, scores: Floats) -> tuple[Floats, Floats]:
        scores = scores.copy()
        scores[:, start : start + SHAPES.proposals_by_level[level]] = 0
        return boxes, scores

    return change


def main() -> None:
    """Print one line per change."""
    dataset = open_dataset(FOLDER)
    ready = [replace(batch) for batch in batches(dataset.pictures, SHAPES, 8)]
    mean = np.array(SHAPES.mean_bgr, np.float32)[:, None, None]
    with tempfile.TemporaryDirectory() as folder:
        models = onnx_artifact(Store(Path(folder)), SHAPES, FOLDER / "fcos_shapes.pth")
        session = OnnxSession(models.path / PORTABLE, SHAPES)
    print(f"as it is              {measure(session, ready):.4f}")
    for level in range(len(SHAPES.strides)):
        print(f"without P{3 + level}            {measure(session, ready, proposals=without_level(level)):.4f}")
    print(f"RGB instead of BGR    {measure(session, ready, tensor=lambda t: (t + mean)[:, ::-1] - mean):.4f}")
    print(f"mean not subtracted   {measure(session, ready, tensor=lambda t: t + mean * (t != 0)):.4f}")
    print(f"labels shifted by 1   {measure(session, ready, labels=lambda x: (x + 1) % len(SHAPES.classes)):.4f}")
    shifted = measure(session, ready, proposals=lambda boxes, scores: (boxes + np.float32(4), scores))
    print(f"half a stride lost    {shifted:.4f}")


if __name__ == "__main__":
    main()
