"""Values of the reference's layers: few enough to be carried, enough to see at which layer another machine departs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import ModelContract
from fcos_lib.diagnosis.layers import runner

KEPT_VALUES = 65
"""Of each layer: its root mean square, and 64 values spread evenly over the tensor."""


def reference_layers(
    portable: Path, contract: ModelContract, tensor: NDArray[np.float32]
) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """(names of the layers in the order of the network, float32[L, 65]) for a network input float32[1, 3, H, W]."""
    import onnx

    from fcos_lib.model.taps import tapped_trunk, taps_of

    model = onnx.load(portable)
    taps = taps_of(model, contract)
    names = [tap.tensor for tap in taps]
    outputs = runner(tapped_trunk(model, names), names, contract)(tensor)
    return tuple(tap.name for tap in taps), np.stack([_kept(outputs[name]) for name in names])


def _kept(output: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = output.reshape(-1)
    indices = np.linspace(0, len(flat) - 1, KEPT_VALUES - 1).astype(np.int64)
    size = np.sqrt(np.square(flat, dtype=np.float64).mean())
    return np.concatenate([[size], flat[indices]]).astype(np.float32)


def depart(kept: NDArray[np.float32], computed: NDArray[np.float32]) -> NDArray[np.float64]:
    """float64[L]: the largest difference of a layer's kept values, as a share of its root mean square; not finite is infinite."""
    with np.errstate(all="ignore"):
        apart = np.abs(kept.astype(np.float64) - computed).max(axis=1)
        share = np.where(apart == 0, 0.0, apart / np.maximum(np.abs(kept[:, 0].astype(np.float64)), 1e-30))
    return np.where(np.isnan(share), np.inf, share)
