"""Sessions: what runs a batch. The `Session` that reference and candidate share, its checks, and the reference itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.errors import SessionError


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one picture, best first; boxes are x1, y1, x2, y2 in network or picture pixels, as the owner says."""

    boxes: NDArray[np.float32]
    """float32[K, 4]"""
    scores: NDArray[np.float32]
    """float32[K]"""
    labels: NDArray[np.int64]
    """int64[K], an index into the contract's classes"""
    network: NDArray[np.float32] | None = None
    """float32[K, 4], the same boxes in network pixels as the model gave them, if `boxes` were brought into the picture."""

    def __len__(self) -> int:
        return len(self.scores)

    def only(self, rows: NDArray[np.bool_ | np.int64]) -> Detections:
        """Some of them, without their boxes in network pixels; `rows` is bool[K], or int64 in the order that they come in."""
        return Detections(self.boxes[rows], self.scores[rows], self.labels[rows])


@dataclass(frozen=True, slots=True)
class Outputs:
    """One batch as a model returns it."""

    labels: NDArray[np.int64]
    """int64[N, 100]"""
    dets: NDArray[np.float32]
    """float32[N, 100, 5]: x1, y1, x2, y2 in network pixels, score"""

    def detections(self, slot: int) -> Detections:
        """The used rows of one picture, in network pixels. Padding is told by its score of 0, never by its label."""
        rows = self.dets[slot]
        used = rows[:, 4] > 0
        return Detections(rows[used, :4], rows[used, 4], self.labels[slot][used])


class Session(Protocol):
    """Something that runs batches of the contract's input. Used as a context manager; not shared between threads."""

    contract: ModelContract
    layout: InputLayout
    """What `run` takes."""

    def run(self, batch: NDArray[Any]) -> Outputs:
        """Detections for a batch in the session's layout; `SessionError` if it or what comes back breaks the contract."""
        ...

    def close(self) -> None:
        """Give back what the session holds. Closing twice is harmless."""
        ...

    def __enter__(self) -> Session: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def usable_cpus() -> int:
    """How many CPUs this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _usable_cores() -> int:
    """The threads for a session; 0 leaves the number to onnxruntime, which counts cores and not their hyper-threads.

    But it counts those of the whole machine, and its threads spin: where a process may use only some of them, as in many
    containers, they would take turns with each other.
    """
    usable = usable_cpus()
    return usable if usable < (os.cpu_count() or 1) else 0


def check_input(
    batch: NDArray[Any], contract: ModelContract, size: int | None, layout: InputLayout = InputLayout.FLOAT_NCHW
) -> None:
    """`SessionError` unless `batch` is C-contiguous and has the layout's shape and dtype; `size` None allows any batch."""
    count = size if size is not None else (batch.shape[0] if batch.ndim else 0)
    for other in InputLayout:
        if other is not layout and batch.dtype == other.dtype and batch.shape == contract.input_shape(count, other):
            raise SessionError(
                f"input '{contract.input_name}' is {other.value}, and this model takes {layout.value}",
                "pass the session's layout to fcos_lib.stream.feed when building batches",
            )
    expected = contract.input_shape(count, layout)
    problems = []
    if batch.shape != expected:
        problems.append(f"shape {batch.shape}, expected {expected}")
    if batch.dtype != layout.dtype:
        problems.append(f"dtype {batch.dtype}, expected {layout.dtype}")
    if not batch.flags.c_contiguous:
        problems.append("memory is not contiguous")
    if problems:
        raise SessionError(
            f"input '{contract.input_name}' has {' and '.join(problems)}",
            "build batches with fcos_lib.stream.letterbox; runtimes that check bytes only would return garbage",
        )


def check_outputs(
    labels: NDArray[Any], dets: NDArray[Any], contract: ModelContract, size: int, *, finite_only: bool = True
) -> Outputs:
    """The outputs as a record; `SessionError` names the first wrong shape, dtype or, with `finite_only`, non-finite value."""
    rows = contract.max_detections
    for name, array, shape, dtype in (
        (contract.output_names[0], labels, (size, rows), np.int64),
        (contract.output_names[1], dets, (size, rows, 5), np.float32),
    ):
        if array.shape != shape or array.dtype != dtype:
            raise SessionError(
                f"output '{name}' is {array.dtype}{list(array.shape)}, expected {np.dtype(dtype).name}{list(shape)}",
                "check the order of the outputs (--out_nodes) and the batch size of the model",
            )
    finite = np.isfinite(dets)
    if finite_only and not finite.all():
        slot, row, column = (int(index) for index in np.argwhere(~finite)[0])
        raise SessionError(
            f"output 'dets' has {int((~finite).sum())} NaN or infinite values, the first at "
            f"[{slot}, {row}, {column}]: {dets[slot, row, column]}",
            "a layer overflowed: compare the proposals before NMS, or compile with a higher precision mode",
        )
    return Outputs(labels, dets)


class OnnxSession:
    """The reference: the portable ONNX on onnxruntime's CPU provider, any batch size.

    onnxruntime's own settings are the fastest of those tried (docs/measurements/reference.md); the number of threads and the batch size
    change no bit of the results, the optimisation level does.
    """

    def __init__(self, model: Path, contract: ModelContract, threads: int = 0) -> None:
        """Load `model`; `threads` 0 means one per usable core. `SessionError` if it is not the contract's portable ending."""
        import onnxruntime

        self.contract = contract
        self.layout = InputLayout.FLOAT_NCHW
        self.path = model
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or _usable_cores()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        # What the numbers depend on besides model and input: part of the key under which they are kept.
        self.numerics = {
            "runtime": f"onnxruntime {onnxruntime.__version__}",
            "provider": "CPUExecutionProvider",
            "optimization": options.graph_optimization_level.name,
        }
        try:
            self._session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises its own hierarchy, RuntimeError and ValueError
            raise SessionError(
                f"onnxruntime cannot load {model} ({error})", "build it again: delete it and rerun"
            ) from error
        names = [value.name for value in self._session.get_outputs()]
        missing = [name for name in contract.output_names if name not in names]
        inputs = [(value.name, list(value.shape[1:])) for value in self._session.get_inputs()]
        if missing or inputs != [(contract.input_name, list(contract.input_shape(1)[1:]))]:
            raise SessionError(
                f"{model} has inputs {inputs} and outputs {names}, which is not contract '{contract.name}'",
                "pass the portable ONNX of the same contract",
            )

    def run(self, batch: NDArray[np.float32]) -> Outputs:
        """Detections for float32[N, 3, H, W]."""
        check_input(batch, self.contract, None)
        labels, dets = self._session.run(list(self.contract.output_names), {self.contract.input_name: batch})
        return check_outputs(np.asarray(labels), np.asarray(dets), self.contract, len(batch))

    def run_and_proposals(self, batch: NDArray[np.float32]) -> tuple[Outputs, NDArray[np.float32], NDArray[np.float32]]:
        """Detections, and what reached NMS, boxes float32[N, M, 4] and scores float32[N, M, C], from one run."""
        check_input(batch, self.contract, None)
        names = [*self.contract.output_names, "boxes", "scores"]
        labels, dets, boxes, scores = self._session.run(names, {self.contract.input_name: batch})
        outputs = check_outputs(np.asarray(labels), np.asarray(dets), self.contract, len(batch))
        return outputs, np.asarray(boxes), np.asarray(scores)

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> OnnxSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
