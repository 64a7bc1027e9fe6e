"""Does the exported network compute what the checkpoint's does? The graph is held against mmdet's own layers.

What follows mmdet's head is plain arithmetic (`measure.decoding`), written apart from the exporter: a graph that lost a stride
or the centerness would otherwise be compared with nothing but itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fcos_lib.contract import ModelContract
from fcos_lib.errors import ExportError
from fcos_lib.measure.candidates import compare_candidates
from fcos_lib.measure.decoding import decode
from fcos_lib.model.detector import head_of

if TYPE_CHECKING:
    import onnx
    import torch

BOUNDS = {"boxes": 0.05, "scores": 1e-4}
"""px and score; several times what float32 in torch and in onnxruntime makes of a full-size network
(`pytest -s tests/unit/model/test_exported.py` prints how far they are apart)."""


def check_export(trunk: onnx.ModelProto, detector: torch.nn.Module, contract: ModelContract) -> dict[str, float]:
    """The largest difference (px, score) of the trunk's candidates from the detector's in one picture of noise, by output.

    `ExportError` if it is beyond `BOUNDS`.
    """
    import onnxruntime

    picture = np.random.default_rng(0).normal(0, 60, contract.input_shape(1)).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(trunk.SerializeToString(), options, providers=["CPUExecutionProvider"])
    boxes, scores = session.run(list(contract.candidate_names), {contract.input_name: picture})
    expected = decode(head_of(detector, picture, contract), contract)
    largest = dict.fromkeys(BOUNDS, 0.0)
    for one in compare_candidates(expected, (boxes, scores), ("noise",), contract):
        largest[one.output] = max(largest[one.output], one.largest)
        if not one.largest <= BOUNDS[one.output]:
            raise ExportError(
                f"the exported ONNX does not compute what the checkpoint does: {one.output} of {one.level} differ by up to "
                f"{one.largest:.3g} ({one.where})",
                "use the pinned torch, mmdet and onnx (constraints.txt)",
            )
    return largest
