"""Layers: the first one that differs by more than rounding, each held against what fp16 does to that layer.

A fixed bound on a cosine is blind in early layers and cries in late ones. Here the reference itself, rounded to fp16 behind
every layer, says what is to be expected of each, on the same pictures.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.diagnosis.blame import threshold

_LEAST = 1e-5
"""What is expected of a layer at least, as a share of its values: a tensor of zeros and powers of two does not round."""


@dataclass(frozen=True, slots=True)
class LayerError:
    """One layer, over all pictures looked at."""

    name: str
    operator: str
    """Its operators: `Conv+Relu`."""
    nodes: tuple[str, ...]
    """Names of its nodes in the ONNX."""
    error: float
    """Length of the difference over the length of the reference; infinite if a value is not finite where the reference's is."""
    expected: float
    """The same for the rounded reference; infinite if fp16 cannot hold the layer's values."""

    @property
    def ratio(self) -> float:
        """Error over expected error. Infinite over anything is infinite: what is not finite is wrong even where expected."""
        if not math.isfinite(self.error):
            return math.inf
        return self.error / max(self.expected, _LEAST)


@dataclass(frozen=True, slots=True)
class LayerSearch:
    """Layers in the order of the network, as far as they were looked at."""

    layers: tuple[LayerError, ...]
    pictures: tuple[str, ...]
    k: float = field(default_factory=lambda: threshold("layer_error").bound)
    """How many times the expected error a layer may have."""

    @property
    def first(self) -> LayerError | None:
        """The first layer whose error exceeds k times the expected one."""
        return next((layer for layer in self.layers if layer.ratio > self.k), None)

    @property
    def mixed_precision(self) -> tuple[str, ...]:
        """Nodes that atc could keep in float32, to see whether that helps: those of the first layer."""
        return self.first.nodes if self.first else ()

    def as_evidence(self) -> dict[str, Any]:
        """The evidence of kind `layers`; JSON-ready. What is infinite is null, since JSON has no infinity."""
        return {
            "layers": [
                {
                    "name": one.name,
                    "operator": one.operator,
                    "error": _finite(one.error),
                    "expected": _finite(one.expected),
                    "ratio": _finite(one.ratio),
                }
                for one in self.layers
            ],
            "first": self.first.name if self.first else None,
            "k": self.k,
            "mixed_precision": list(self.mixed_precision),
            "pictures": list(self.pictures),
        }


def _finite(value: float) -> float | None:
    return float(f"{value:.4g}") if math.isfinite(value) else None


def keep_dtype_list(nodes: Sequence[str]) -> str:
    """The file for atc's `--keep_dtype`: names of nodes as the ONNX has them, one per line (ATC user guide, `--keep_dtype`)."""
    return "".join(f"{name}\n" for name in nodes)


@dataclass(slots=True)
class Errors:
    """Adds up the errors of tensors, picture by picture; the tensors themselves are not kept."""

    _sums: dict[str, list[float]] = field(default_factory=dict)

    def add(
        self,
        reference: Mapping[str, NDArray[np.float32]],
        candidate: Mapping[str, NDArray[np.float32]],
        expected: Mapping[str, NDArray[np.float32]],
    ) -> None:
        """Tensors of the same pictures by name; `ValueError` if shapes differ."""
        for name, truth in reference.items():
            sums = self._sums.setdefault(name, [0.0, 0.0, 0.0])
            sums[0] += float((truth.astype(np.float64) ** 2).sum())
            for place, other in ((1, candidate[name]), (2, expected[name])):
                if other.shape != truth.shape:
                    raise ValueError(f"{name} is {other.shape}, the reference's is {truth.shape}")
                with np.errstate(invalid="ignore", over="ignore"):
                    apart = float(((other.astype(np.float64) - truth) ** 2).sum())
                sums[place] += apart if math.isfinite(apart) else math.inf

    def of(self, tensor: str) -> tuple[float, float]:
        """(error, expected error) of a tensor, as shares of the reference's length; infinite if one is not finite."""
        length, apart, rounded = self._sums[tensor]
        return _share(apart, length), _share(rounded, length)


def _share(squares: float, length: float) -> float:
    if squares == 0:
        return 0.0
    return math.sqrt(squares / length) if length and math.isfinite(squares) else math.inf
