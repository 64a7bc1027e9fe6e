"""Broken rows: what an OM returns that is neither a proper detection nor padding."""

from __future__ import annotations

import numpy as np

from fcos_lib.contract import ModelContract
from fcos_lib.measure import Measurement
from fcos_lib.stream.sessions import Outputs

SLACK = 1.0
"""Network pixels that a box may leave the input by: one fp16 step above 1024."""


def broken_rows(outputs: Outputs, contract: ModelContract) -> Measurement:
    """How many rows are neither a proper detection nor padding, over all slots and rows of a batch.

    A detection has a score above the threshold (as fp16 sees it) and at most 1, a label of the contract and a box with
    x1 <= x2, y1 <= y2 inside the input; padding has score 0 and box 0, its label means nothing. Scores never rise.
    """
    boxes, scores = outputs.dets[..., :4], outputs.dets[..., 4]
    used = scores > 0
    threshold = np.float32(np.float16(contract.score_threshold)) - np.float32(1e-4)
    limits = np.array([contract.width, contract.height] * 2, np.float32) + SLACK
    problems = {
        "score not above the threshold": used & ((scores <= threshold) | (scores > 1)),
        "unknown label": used & ((outputs.labels < 0) | (outputs.labels >= len(contract.classes))),
        "box turned inside out": used & ((boxes[..., 2] < boxes[..., 0]) | (boxes[..., 3] < boxes[..., 1])),
        "box outside the input": used & ((boxes < -SLACK) | (boxes > limits)).any(axis=-1),
        "padding with a score below 0": scores < 0,
        "padding with a box": ~used & (boxes != 0).any(axis=-1),
        "score above the row before": np.diff(scores, axis=1, prepend=np.inf) > 0,
    }
    broken = np.logical_or.reduce(list(problems.values()))
    where = ""
    if broken.any():
        slot, row = (int(index) for index in np.argwhere(broken)[0])
        reasons = [name for name, mask in problems.items() if mask[slot, row]]
        where = f"slot {slot} row {row}: {', '.join(reasons)} (label {outputs.labels[slot, row]}, {outputs.dets[slot, row]})"
    counts = {name: int(mask.sum()) for name, mask in problems.items()}
    return Measurement(
        "broken rows", float(broken.sum()), "rows", int(broken.size), where, {**counts, "used": int(used.sum())},
        gate="contract.broken_rows",
    )  # fmt: skip
