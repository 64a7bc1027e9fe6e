"""The tensors of an OM against those of the contract, and which output is which: reads aclruntime's descriptions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.errors import SessionError

_DTYPES = {
    0: "float32", 1: "float16", 2: "int8", 3: "int32", 4: "uint8", 6: "int16", 7: "uint16", 8: "uint32", 9: "int64",
    10: "uint64", 11: "double", 12: "bool",
}  # fmt: skip
"""ACL's numbers of the data types (aclruntime exports the same)."""

_DYNAMIC = -1
"""A size that the chosen profile decides."""
_NHWC = 1
"""ACL's number of the format that AIPP forces upon its input (aclruntime: 0 NCHW, 1 NHWC, 2 ND)."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A `tensor_desc` of aclruntime as plain values, for the batch size that was chosen."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    nhwc: bool

    def __str__(self) -> str:
        return f"'{self.name}' {self.dtype}{list(self.shape)}{' NHWC' * self.nhwc}"


def read_tensors(session: Any, batch: int) -> tuple[list[Tensor], list[Tensor]]:
    """The inputs and the outputs of an `InferenceSession`; of an OM with profiles, those of the one for `batch`, which is chosen.

    Such an OM has -1 on axis 0 of its inputs. Its outputs are described as the largest profile has them, as long as nobody asks
    for those of the current one (CANN's `aclmdlGetOutputDims`, of which aclruntime makes its descriptions).
    """
    inputs, outputs = list(session.get_inputs()), list(session.get_outputs())
    profiles = is_dynamic(inputs)
    return [_plain(desc, batch, profiles) for desc in inputs], [_plain(desc, batch, profiles) for desc in outputs]


def check_inputs(
    tensors: Sequence[Tensor],
    contract: ModelContract,
    batch: int,
    om: Path,
    layout: InputLayout = InputLayout.FLOAT_NCHW,
) -> None:
    """`SessionError` unless the OM has the contract's input alone, in name, type, shape, format and bytes of `layout`."""
    shape = contract.input_shape(batch, layout)
    nbytes = int(np.prod(shape)) * np.dtype(layout.dtype).itemsize
    expected = Tensor(contract.input_name, layout.dtype, shape, nbytes, nhwc=layout is InputLayout.UINT8_NHWC)
    if tensors == [expected]:
        return
    advice = "compile the OM from this contract's ascend ending at this batch size"
    if layout is InputLayout.UINT8_NHWC:
        advice = (
            "compile the OM with --insert_op_conf and this contract's AIPP configuration, or test it without --aipp"
        )
    elif any(tensor.dtype == "uint8" for tensor in tensors):
        advice = "an OM with AIPP normalises on the device: compile it without --insert_op_conf, or test it with --aipp"
    elif any(-1 in tensor.shape for tensor in tensors):
        advice = "only the batch size may be dynamic: compile it without dynamic image size or dims"
    sizes = "".join(f" ({tensor.nbytes} bytes)" for tensor in tensors) if len(tensors) == 1 else ""
    raise SessionError(
        f"{om} has the input{'s' * (len(tensors) != 1)} {_listed(tensors)}{sizes}, expected {expected} ({expected.nbytes} bytes)",
        advice,
    )


def output_places(tensors: Sequence[Tensor], contract: ModelContract, batch: int, om: Path) -> tuple[int, int]:
    """Where `labels` and `dets` are among the outputs, whatever the order of `--out_nodes`.

    By name where atc kept it (`<op>:<index>:<name>`, ATC user guide), otherwise by dtype and shape. Labels may be int32 or
    int64. `SessionError` unless there is exactly one of each with the contract's shape.
    """
    rows = contract.max_detections
    labels_name, dets_name = contract.output_names
    names = [_onnx_name(tensor.name) for tensor in tensors]
    fits_labels = [tensor.dtype in {"int32", "int64"} and tensor.shape == (batch, rows) for tensor in tensors]
    fits_dets = [tensor.dtype == "float32" and tensor.shape == (batch, rows, 5) for tensor in tensors]
    positions = (_only(names, labels_name, fits_labels), _only(names, dets_name, fits_dets))
    duplicates = len({tensor.name for tensor in tensors}) != len(tensors)
    if positions[0] is None or positions[1] is None or duplicates:
        raise SessionError(
            f"{om} has the outputs {_listed(tensors)}, expected '{labels_name}' int64[{batch}, {rows}] and "
            f"'{dets_name}' float32[{batch}, {rows}, 5]",
            "aclruntime cannot tell outputs of one name apart: rename them in the ONNX"
            if duplicates
            else "compile the OM from this contract's ascend ending at this batch size, without --output_type",
        )
    return positions[0], positions[1]


def proposal_places(tensors: Sequence[Tensor], contract: ModelContract, batch: int, om: Path) -> tuple[int, int]:
    """Where boxes and scores before NMS are among the outputs of an OM that returns them too; `SessionError` if it does not."""
    names = [_onnx_name(tensor.name) for tensor in tensors]
    positions = []
    for name, last in zip(contract.proposal_names, (4, len(contract.classes)), strict=True):
        shape = (batch, contract.proposals, last)
        position = _only(names, name, [tensor.dtype == "float32" and tensor.shape == shape for tensor in tensors])
        if position is None:
            raise SessionError(
                f"{om} has the outputs {_listed(tensors)}, and none is '{name}' float32{list(shape)}",
                "compile it from the ONNX that returns its proposals (`fcos_lib.model.endings.with_proposals`)",
            )
        positions.append(position)
    return positions[0], positions[1]


def tap_places(tensors: Sequence[Tensor], taps: Sequence[str], batch: int, om: Path) -> dict[str, int]:
    """Where the tensors `taps` of the network's inside are among the outputs: by name, or as the last ones in their order.

    `SessionError` if there are not as many, or one is no float32 or float16 of this batch size.
    """
    names = [_onnx_name(tensor.name) for tensor in tensors]
    first = len(tensors) - len(taps)
    positions = {tap: names.index(tap) if tap in names else first + position for position, tap in enumerate(taps)}
    for tap, position in positions.items():
        fits = 0 <= position < len(tensors) and tensors[position].dtype in ("float32", "float16")
        if not fits or tensors[position].shape[:1] != (batch,) or len(set(positions.values())) != len(taps):
            raise SessionError(
                f"{om} has {len(tensors)} outputs, and none is '{tap}' for batch size {batch}",
                "compile it from the ONNX that returns these tensors (`fcos_lib.model.taps.with_taps`)",
            )
    return positions


def _only(names: Sequence[str], name: str, fits: Sequence[bool]) -> int | None:
    """The position of `name`, or without one of that name the only one that fits; None if it does not fit."""
    named = [position for position, other in enumerate(names) if other == name]
    fitting = named or [position for position, fit in enumerate(fits) if fit]
    return fitting[0] if len(fitting) == 1 and fits[fitting[0]] else None


def _onnx_name(name: str) -> str:
    fields = name.split(":")
    return fields[-1] if len(fields) == 3 else name


def is_dynamic(descs: Iterable[Any]) -> bool:
    """Whether an OM has profiles for its batch size: -1 on axis 0 of an input."""
    return any(list(desc.shape[:1]) == [_DYNAMIC] for desc in descs)


def _plain(desc: Any, batch: int, profiles: bool) -> Tensor:
    """The description; with profiles, the batch size in the place of -1 or a larger one, and its bytes in that of the largest."""
    number = int(desc.datatype)
    shape = [int(size) for size in desc.shape]
    open_batch = profiles and (shape[:1] == [_DYNAMIC] or shape[:1] >= [batch])
    return Tensor(
        name=str(desc.name),
        dtype=_DTYPES.get(number, f"type{number}"),
        shape=(batch, *shape[1:]) if open_batch else tuple(shape),
        nbytes=int(desc.realsize if open_batch else desc.size),
        nhwc=int(desc.format) == _NHWC,
    )


def _listed(tensors: Sequence[Tensor]) -> str:
    return ", ".join(str(tensor) for tensor in tensors) or "none"
