"""The operators of the network that `atc` is given, and what is documented of each for Atlas inference products (310P).

This is the one list of them: `with_fixed_batch` writes no graph with another operator or with other types, so a new one is a
decision. Types and opsets are those of the vendor's list of ONNX operators, which is a list for "Atlas inference products",
the family of the 310P. Its pages have the same numbers in CANN 8.0 to 9.0. Beside it is what is asked of any graph: its nodes
that are needed, the number of each operator, the shape that a value declares.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import onnx
from onnx import TensorProto

NMS_OPERATOR = "BatchMultiClassNMS"
"""The operator that Ascend's ONNX plugin registers in the default domain; onnx does not know it."""
_LIST = "https://www.hiascend.com/document/detail/zh/canncommercial/900/API/aolapi/atlasoxol_09_{}.html"
_OLDER = "https://www.hiascend.com/document/detail/zh/canncommercial/601/oplist/fwoperator/atlasoxol_09_{}.html"
_NAMES = (
    "https://www.hiascend.com/doc_center/source/zh/canncommercial/5046/reference/fwoperatorlist/operatorlist_0071.html"
)
_HALF, _FLOAT, _INT32, _INT64 = TensorProto.FLOAT16, TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64
_FLOATS, _NUMBERS = frozenset({_HALF, _FLOAT}), frozenset({_HALF, _FLOAT, _INT32})
_SIZES = frozenset({_INT64})


@dataclass(frozen=True, slots=True)
class Documented:
    """What the vendor says of one operator."""

    inputs: tuple[frozenset[int], ...]
    """The element types (`TensorProto`) of each input, those of the last for all that follow."""
    opsets: tuple[int, int]
    """The first and the last."""
    source: str
    note: str = ""
    """What else it says and how the network stands to it."""


OPERATORS: Mapping[str, Documented] = {
    "Add": Documented((_NUMBERS,), (8, 18), _LIST.format("0006"), "int64 is listed too, and not needed"),
    NMS_OPERATOR: Documented(
        (_FLOATS,), (8, 16), _LIST.format("0025"), "CANN 6.0 lists float16 alone, which is what the network gives it"
    ),
    "Cast": Documented((_NUMBERS | _SIZES,), (8, 18), _LIST.format("0031")),
    "Clip": Documented((_FLOATS,), (11, 16), _LIST.format("0034")),
    "Concat": Documented((_NUMBERS,), (8, 18), _LIST.format("0037")),
    "Conv": Documented((_FLOATS,), (9, 18), _LIST.format("0040"), "up to 4096 columns; not must_keep_origin_dtype"),
    "Exp": Documented((_FLOATS,), (8, 18), _LIST.format("0057")),
    "Gather": Documented(
        (_FLOATS, frozenset({_INT32})), (8, 18), _LIST.format("0062"), "no index below 0; int64 is listed too"
    ),
    "Identity": Documented(
        (_FLOATS,), (8, 13), _NAMES, "named there without its types; shows a network's input (taps)"
    ),
    "InstanceNormalization": Documented(
        (_FLOATS,), (8, 18), _LIST.format("0082"), "what a GroupNorm is exported as, between two Reshapes"
    ),
    "MaxPool": Documented(
        (_FLOATS,), (8, 18), _LIST.format("0094"), "up to 4096 columns; CANN 8.0 lists float16 alone"
    ),
    "Mul": Documented((_NUMBERS,), (8, 18), _LIST.format("0102")),
    "ReduceMax": Documented((_NUMBERS,), (8, 17), _LIST.format("0128")),
    "Relu": Documented((_FLOATS,), (8, 18), _LIST.format("0129")),
    "Reshape": Documented((_NUMBERS, _SIZES), (8, 16), _OLDER.format("0120")),
    "Resize": Documented(
        (_FLOATS, _FLOATS, _FLOATS, _SIZES),
        (10, 18),
        _LIST.format("0131"),
        "sizes must be constant; releases since 8.1 say that nearest rounds half up (round_prefer_ceil), and FCOS asks for "
        "floor: the recipe's own ONNX does so too and reached its mAP, and `explain` looks behind this layer",
    ),
    "Sigmoid": Documented((_FLOATS,), (8, 18), _LIST.format("0145")),
    "Split": Documented((_NUMBERS,), (8, 18), _LIST.format("0156")),
    "Sub": Documented((_NUMBERS,), (8, 15), _LIST.format("0159")),
    "TopK": Documented(
        (_FLOATS, _SIZES), (8, 18), _LIST.format("0166"), "indices are int64 in ONNX, cast to int32 at once"
    ),
    "Transpose": Documented((_NUMBERS,), (8, 18), _LIST.format("0167")),
    "Unsqueeze": Documented((_NUMBERS,), (8, 12), _LIST.format("0169")),
}


def undocumented(model: onnx.ModelProto, types: Mapping[str, int]) -> list[str]:
    """What in a graph is not in `OPERATORS`, one sentence each; `types` are the element types of its tensors by name."""
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    wrong = []
    for node in model.graph.node:
        entry = OPERATORS.get(node.op_type)
        if entry is None:
            wrong.append(f"{node.op_type} ({node.name}) is not in the table")
            continue
        if not entry.opsets[0] <= opset <= entry.opsets[1]:
            wrong.append(f"{node.op_type} ({node.name}) is documented for opsets {entry.opsets}, not for {opset}")
        for position, name in enumerate(node.input):
            listed = entry.inputs[min(position, len(entry.inputs) - 1)]
            if name and types.get(name) not in listed:
                given = TensorProto.DataType.Name(types.get(name, TensorProto.UNDEFINED))
                wrong.append(f"{node.op_type} ({node.name}) gets {name} as {given}")
    return wrong


def with_needed_nodes_only(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without nodes and weights that no output needs."""
    needed = {value.name for value in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            kept.append(node)
    weights = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    del model.graph.initializer[:]
    model.graph.initializer.extend(weights)
    return model


def operator_counts(model: onnx.ModelProto) -> dict[str, int]:
    """How often each operator occurs in the graph."""
    return dict(sorted(Counter(node.op_type for node in model.graph.node).items()))


def tensor_shape(value: onnx.ValueInfoProto) -> list[int | str]:
    """Declared shape: numbers, or the name of a dynamic axis."""
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
