"""The emulator's OM: a first line that says STAND-IN, a JSON header, and ONNX graphs; and what `atc` reports of them.

    FCOS-EMULATOR STAND-IN OM 2\\n
    {"header": {"soc_version": "Ascend310P3", ...}, "graph_bytes": ..., "sha256": ...}\\n
    <graph for each picture><graph before NMS><graph after NMS>

A real runtime refuses such a file at its first byte, and so does the emulator a real OM. The reports have the fields of the ATC
user guide (`--export_compile_stat`, `--om`), and what they count is invented: one rule that merges a Relu into the Conv before
it, and a TransData behind each input that AIPP does not read.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import numpy as np

from fcos_lib.emulator import STAND_IN
from fcos_lib.emulator.kernels import NMS_OPERATOR, Aipp, NmsSettings
from fcos_lib.errors import SessionError, refusal_as

if TYPE_CHECKING:
    import onnx

MAGIC = f"FCOS-EMULATOR {STAND_IN} OM 2\n".encode()
DYNAMIC = -1
"""The batch axis in the shapes of an OM with profiles."""
_AGAIN = "compile the model again"
_LONGEST_HEADER = 1 << 20


@dataclass(frozen=True, slots=True)
class TensorDesc:
    """One input or output of the OM as the runtime describes it."""

    name: str
    dtype: str
    """numpy's name of the element type, such as `float32`."""
    shape: tuple[int, ...]
    nhwc: bool = False
    """The format of four axes is NCHW, but for what AIPP takes."""

    def at(self, batch: int) -> TensorDesc:
        """The same for one batch size; nothing changes if the shape is fixed."""
        return replace(self, shape=tuple(batch if size == DYNAMIC else size for size in self.shape))

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor; its shape has to be fixed."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True)
class Interface:
    """What goes into the graphs of an OM and what comes out of them."""

    inputs: tuple[TensorDesc, ...]
    outputs: tuple[TensorDesc, ...]
    """In the order of `--out_nodes`; names are `<op>:<index>:<ONNX output>` or `<op>:<index>`."""
    tensors: tuple[str, ...]
    """The graph tensor behind each output."""
    nms: NmsSettings | None
    """None if the graph has no `BatchMultiClassNMS`: everything is in the graph before it."""
    nms_inputs: tuple[str, ...]
    """Graph tensors of boxes and scores."""
    nms_outputs: tuple[str, ...]
    """Graph tensors of boxes, scores, classes and counts; empty names are unused."""


@dataclass(frozen=True, slots=True)
class OmHeader(Interface):
    """Everything about an OM but its graphs."""

    command: str
    """The `atc` command line."""
    soc_version: str
    atc_version: str
    precision_mode: str
    aipp: Aipp | None
    """What is done to the first input before the graph sees it."""
    batches: tuple[int, ...]
    """The profiles of `--dynamic_batch_size`, rising; empty if all shapes are fixed."""
    time_factor: float | None
    """By how much its runs take longer on a device with a rate; None is 1."""


@dataclass(frozen=True, slots=True)
class Om:
    """An OM in memory."""

    header: OmHeader
    graphs: tuple[bytes, bytes, bytes]
    """Serialised ONNX, empty if there is nothing in it, in the order in which they run: for one picture, whose outputs of all
    pictures are inputs of the next; up to the NMS; what follows it."""


@dataclass(frozen=True, slots=True)
class _Line:
    """The line before the graphs."""

    header: OmHeader
    graph_bytes: tuple[int, int, int]
    sha256: str
    """Of all graphs."""


def write(path: Path, om: Om) -> None:
    """Write `om` to `path`, not atomically, as `atc` does; OSError if the folder does not allow it."""
    payload = b"".join(om.graphs)
    each, before, after = map(len, om.graphs)
    line = _Line(om.header, (each, before, after), hashlib.sha256(payload).hexdigest())
    path.write_bytes(MAGIC + msgspec.json.encode(line) + b"\n" + payload)


def read(path: Path) -> Om:
    """The OM in `path`; `SessionError` if it is missing, cut short, damaged or not the emulator's."""
    with _opened(path) as file:
        line, payload = _read_line(file, path), file.read()
    if len(payload) != sum(line.graph_bytes):
        raise SessionError(f"{path} is cut short: {len(payload)} of {sum(line.graph_bytes)} payload bytes", _AGAIN)
    if hashlib.sha256(payload).hexdigest() != line.sha256:
        raise SessionError(f"the payload of {path} is damaged: its sha256 is not the header's", _AGAIN)
    ends = list(itertools.accumulate(line.graph_bytes, initial=0))
    each, before, after = (payload[start:end] for start, end in itertools.pairwise(ends))
    return Om(line.header, (each, before, after))


def read_header(path: Path) -> OmHeader:
    """What `path` says of itself, its graphs unread; `SessionError` if it is missing or not the emulator's."""
    with _opened(path) as file:
        return _read_line(file, path).header


def _opened(path: Path) -> BinaryIO:
    with refusal_as(SessionError, f"{path} cannot be read", _AGAIN):
        return path.open("rb")


def _read_line(file: BinaryIO, path: Path) -> _Line:
    if file.read(len(MAGIC)) != MAGIC:
        raise SessionError(f"{path} is no OM of the emulator", "run a real OM on the NPU it was compiled for")
    try:
        return msgspec.json.decode(file.readline(_LONGEST_HEADER), type=_Line)
    except (ValueError, RecursionError) as error:
        raise SessionError(f"the header of {path} is damaged", _AGAIN) from error


RULE = f"ConvRelu-{STAND_IN}"
_TYPES = {"Conv": "Conv2D", "Constant": "Const"}


def fusion_result(*graphs: onnx.ModelProto | None) -> dict[str, Any]:
    """The content of `fusion_result.json`; times are text, as in the real one."""
    times = str(sum(len(_merged(list(model.graph.node))) for model in graphs if model))
    counts = {"effect_times": times, "match_times": times, "repository_hit_times": "0"}
    return {"session_and_graph_id_0_0": {"graph_fusion": {}, "ub_fusion": {RULE: counts}}}


def om_as_json(om: Om) -> dict[str, Any]:
    """What `--mode=1` writes: attributes of the model, and of each operator its name, type and engine."""
    import onnx

    header = om.header
    operators = [_operator(desc.name, "Data") for desc in header.inputs]
    for position in range(len(header.inputs)):
        read = header.aipp is not None and position == 0
        operators.append(
            _operator(f"{'aipp' if read else 'trans_TransData'}_{position}", "Aipp" if read else "TransData")
        )
    each, before, after = ([*_operators(onnx.load_from_string(graph))] if graph else [] for graph in om.graphs)
    nms = [_operator(NMS_OPERATOR, "BatchMultiClassNonMaxSuppression")] if header.nms else []
    operators += [*each, *before, *nms, *after]
    operators.append(_operator("Node_Output", "NetOutput"))
    attributes = {
        "atc_version": header.atc_version,
        "opp_version": header.atc_version,
        "soc_version": header.soc_version,
        "atc_cmdline": header.command,
    }
    return {
        "name": f"{STAND_IN} model",
        "attr": [_attribute(key, {"s": value}) for key, value in attributes.items()],
        "graph": [{"name": "graph", "op": operators}],
    }


def _operators(model: onnx.ModelProto) -> Iterator[dict[str, Any]]:
    """The operators of one graph, without the Casts that only imitate fp16."""
    nodes = list(model.graph.node)
    merged = _merged(nodes)
    gone = {id(relu) for relu in merged.values()}
    for node in nodes:
        name = node.name or node.output[0]
        if id(node) in gone or (node.op_type == "Cast" and name.endswith(("/half", "/back"))):
            continue
        relu = merged.get(node.output[0])
        originals = [name, relu.name or relu.output[0]] if relu is not None else [name]
        yield _operator(name, _TYPES.get(node.op_type, node.op_type), originals)


def _merged(nodes: list[onnx.NodeProto]) -> dict[str, onnx.NodeProto]:
    """The Relu behind each Conv whose output nothing else reads, by the name of that output."""
    convolved = {node.output[0] for node in nodes if node.op_type == "Conv"}
    readers = Counter(name for node in nodes for name in node.input)
    return {
        node.input[0]: node
        for node in nodes
        if node.op_type == "Relu" and node.input[0] in convolved and readers[node.input[0]] == 1
    }


def _operator(name: str, kind: str, originals: list[str] | None = None) -> dict[str, Any]:
    engine = "DNN_VM_GE_LOCAL_OP_STORE" if kind in ("Data", "Const", "NetOutput") else "AIcoreEngine"
    attributes = [
        _attribute("_ge_attr_op_kernel_lib_name", {"s": engine}),
        _attribute("_datadump_original_op_names", {"list": {"s": originals or []}}),
    ]
    return {"name": name, "type": kind, "attr": attributes}


def _attribute(key: str, value: dict[str, Any]) -> dict[str, Any]:
    return {"key": key, "value": value}
