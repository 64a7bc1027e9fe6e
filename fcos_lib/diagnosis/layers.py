"""Layers: the first one that differs by more than rounding, each held against what fp16 does to that layer.

A fixed bound on a cosine is blind in early layers and cries in late ones. Here the reference itself, rounded to fp16 behind
every layer, says what is to be expected of each, on the same pictures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fcos_lib.artifacts import ASCEND, PORTABLE
from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.diagnosis.blame import threshold
from fcos_lib.diagnosis.tapped import Case, Clock, tapped_session
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.feed import load_batch

if TYPE_CHECKING:
    import onnx

    from fcos_lib.model.taps import Tap

TAPS_AT_ONCE = 60
"""Tensors that one OM returns: at full size the first layers of one picture are hundreds of megabytes."""
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
                    "name": layer.name,
                    "operator": layer.operator,
                    "error": _finite(layer.error),
                    "expected": _finite(layer.expected),
                    "ratio": _finite(layer.ratio),
                }
                for layer in self.layers
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
            for kind, other in ((1, candidate[name]), (2, expected[name])):
                if other.shape != truth.shape:
                    raise ValueError(f"{name} is {other.shape}, the reference's is {truth.shape}")
                with np.errstate(invalid="ignore", over="ignore"):
                    apart = float(((other.astype(np.float64) - truth) ** 2).sum())
                sums[kind] += apart if math.isfinite(apart) else math.inf

    def of(self, tensor: str) -> tuple[float, float]:
        """(error, expected error) of a tensor, as shares of the reference's length; infinite if one is not finite."""
        length, apart, rounded = self._sums[tensor]
        return _share(apart, length), _share(rounded, length)


def _share(squares: float, length: float) -> float:
    if squares == 0:
        return 0.0
    return math.sqrt(squares / length) if length and math.isfinite(squares) else math.inf


def search_layers(case: Case, pictures: Sequence[Picture], clock: Clock | None = None) -> LayerSearch:
    """Compare the network layer by layer in these pictures, in OMs of batch size 1, up to the first that differs too much.

    The reference gets what the candidate's network got, so that neither preprocessing nor AIPP counts. `ExportError` if the
    two endings are not of one network, otherwise errors as of `explain`.
    """
    import onnx

    from fcos_lib.model.taps import taps_of, tensors_of

    clock = clock or Clock(None)
    trunk = onnx.load(case.onnx_models.path / PORTABLE)
    taps = taps_of(trunk, case.contract)
    named = set(
        tensors_of(onnx.load(case.onnx_models.path / ASCEND, load_external_data=False), [tap.tensor for tap in taps])
    )
    shared = [tap for tap in taps if tap.tensor in named]
    layers: list[LayerError] = []
    result = LayerSearch((), tuple(picture.name for picture in pictures))
    for start in range(0, len(shared), TAPS_AT_ONCE):
        layers += _errors(case, trunk, taps, shared[start : start + TAPS_AT_ONCE], pictures, clock)
        result = replace(result, layers=tuple(layers))
        if result.first or clock.spent(1.0):
            break
    return result


def _errors(
    case: Case,
    trunk: onnx.ModelProto,
    taps: Sequence[Tap],
    shown: Sequence[Tap],
    pictures: Sequence[Picture],
    clock: Clock,
) -> list[LayerError]:
    """The errors of `shown` layers; fp16 rounds behind all `taps`."""
    from fcos_lib.model.taps import NETWORK_INPUT, rounded, tapped_trunk

    names = [tap.tensor for tap in shown]
    exact = tapped_trunk(trunk, names)
    reference, expected = runner(exact, names, case.contract), runner(rounded(exact, taps), names, case.contract)
    given = (NETWORK_INPUT,) if case.options.aipp else ()
    errors = Errors()
    with tapped_session(case, (*names, *given), 1, clock) as session:
        for picture in pictures:
            tensor = load_batch([picture], case.contract, 1, session.layout).tensor
            _, tensors = session.run_and_taps(tensor, (*names, *given))
            fed = tensors[NETWORK_INPUT] if session.layout is InputLayout.UINT8_NHWC else tensor
            errors.add(reference(fed), tensors, expected(fed))
            if clock.spent(1.0):
                break
    return [LayerError(tap.name, tap.operator, tap.nodes, *errors.of(tap.tensor)) for tap in shown]


def runner(
    model: onnx.ModelProto, names: Sequence[str], contract: ModelContract
) -> Callable[[NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Runs a part of the reference in onnxruntime: from network input to tensors by name."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda batch: dict(zip(names, session.run(list(names), {contract.input_name: batch}), strict=True))
