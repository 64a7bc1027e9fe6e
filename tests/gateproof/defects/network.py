"""Defects of the graph and its weights, mostly between the ONNX and the OM, so that the reference stays clean.

`compile_om` is given an edited ONNX. What both sides share is changed where the trunk is exported instead.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from tests.gateproof.case import MODELS, MORE, PART, REFUSED, Case, Injection, marks_for

COMPILE, TRUNK = "fcos_lib.ascend.atc:compile_om", "fcos_lib.model.export:export_trunk"
OM_ONLY = ("om", "om-json")
UNEXPLAINED = "consistency: unexplained differences"
BY_NETWORK, BY_NMS = f"{UNEXPLAINED} by the network", f"{UNEXPLAINED} by NMS"


def edited(edit: Callable[[Any, Any], object]) -> Any:
    """Arguments of `compile_om` with another ONNX: `edit(model, contract)` changes it."""

    def arguments(toolkit: Any, path: Path, output_dir: Path, contract: Any, *rest: Any, **named: Any) -> Any:
        import onnx

        model = onnx.load(path)
        edit(model, contract)
        trace = os.environ.get("FCOS_DEFECT_TRACE")  # the run's folder goes away with it
        other = Path(tempfile.mkdtemp(dir=Path(trace).parent if trace else None)) / path.name
        onnx.save(model, other)
        return (toolkit, other, output_dir, contract, *rest), named

    return arguments


def edited_trunk(edit: Callable[[Any, Any], object]) -> Any:
    """The same for the trunk, which becomes both endings."""

    def result(model: Any, detector: Any, contract: Any) -> Any:
        import onnx

        other = onnx.ModelProto()
        other.CopyFrom(model)
        edit(other, contract)
        return other

    return result


def insert(model: Any, tensor: str, *steps: tuple[str, Any] | tuple[str, Any, dict[str, Any]]) -> None:
    """Put operators with a constant each between `tensor` and whoever uses it; an output of the graph keeps its name."""
    from onnx import helper, numpy_helper

    nodes = model.graph.node
    place, producer = next((index, node) for index, node in enumerate(nodes) if tensor in node.output)
    producer.output[list(producer.output).index(tensor)] = source = f"defect/{tensor}/0"
    for number, (operator, constant, *attributes) in enumerate(steps, start=1):
        name = f"defect/{tensor}/constant{number}"
        inputs = [source]
        if constant is not None:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(constant), name))
            inputs.append(name)
        source = tensor if number == len(steps) else f"defect/{tensor}/{number}"
        node = helper.make_node(
            operator, inputs, [source], name=f"defect/{operator}/{tensor}/{number}", **dict(*attributes)
        )
        nodes.insert(place + number, node)


def weights(model: Any, name: str) -> tuple[Any, Any]:
    """An initializer by a part of its name, and its values."""
    from onnx import numpy_helper

    tensor = next(tensor for tensor in model.graph.initializer if name in tensor.name)
    return tensor, numpy_helper.to_array(tensor).copy()


def _set_weights(tensor: Any, values: Any) -> None:
    from onnx import numpy_helper

    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), tensor.name))


def per_proposal(contract: Any, values: Any) -> Any:
    """float32[1, M, 1] with one value per level."""
    parts = [
        np.full(count, value, np.float32) for count, value in zip(contract.proposals_by_level, values, strict=True)
    ]
    return np.concatenate(parts)[None, :, None]


def conv_weights(model: Any, node_name: str) -> list[tuple[Any, Any]]:
    """Weight and bias of the convolution whose node has this name."""
    node = next(node for node in model.graph.node if node.name == node_name)
    return [weights(model, name) for name in node.input[1:]]


def one_bit(model: Any, _: Any) -> None:
    """The lowest exponent bit but one of the largest weight of a convolution in the middle of the backbone: times 4 or a quarter."""
    ((tensor, values), _bias) = conv_weights(model, "/backbone/layer2/layer2.1/conv2/Conv")
    index = np.unravel_index(np.abs(values).argmax(), values.shape)
    bits = values.view(np.uint32)
    bits[index] ^= np.uint32(1 << 24)
    _set_weights(tensor, values)


def level_scale(factor: float, level: int, model: Any, contract: Any) -> None:
    """Boxes of one level, or of all (-1), grown about their centres."""
    chosen = per_proposal(contract, [float(level in (-1, index)) for index in range(len(contract.strides))])
    grow = np.array([[1, 0, -1, 0], [0, 1, 0, -1], [-1, 0, 1, 0], [0, -1, 0, 1]], np.float32) * np.float32(
        (factor - 1) / 2
    )
    _add_term(model, "boxes", grow, chosen)


def _add_term(model: Any, tensor: str, matrix: Any, chosen: Any) -> None:
    """tensor + (tensor @ matrix) * chosen"""
    from onnx import helper, numpy_helper

    nodes = model.graph.node
    place, producer = next((index, node) for index, node in enumerate(nodes) if tensor in node.output)
    producer.output[list(producer.output).index(tensor)] = "defect/before"
    for name, value in (("defect/matrix", matrix), ("defect/chosen", chosen)):
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    for operator, inputs, output in reversed((
        ("MatMul", ["defect/before", "defect/matrix"], "defect/product"),
        ("Mul", ["defect/product", "defect/chosen"], "defect/term"),
        ("Add", ["defect/before", "defect/term"], tensor),
    )):  # fmt: skip
        nodes.insert(place + 1, helper.make_node(operator, inputs, [output], name=output))


def half_stride(model: Any, contract: Any) -> None:
    """Points on the corners of their cells: all boxes half a stride to the upper left."""
    insert(model, "boxes", ("Sub", per_proposal(contract, [stride // 2 for stride in contract.strides])))


def shifted(pixels: float, model: Any, contract: Any) -> None:
    """All boxes moved right and down."""
    insert(model, "boxes", ("Add", np.float32(pixels)))


def score_factor(factor: float, model: Any, contract: Any) -> None:
    """All scores multiplied."""
    insert(model, "scores", ("Mul", np.float32(factor)))


def class_rolled(model: Any, contract: Any) -> None:
    """Every class gets its neighbour's scores."""
    insert(model, "scores", ("Gather", np.roll(np.arange(len(contract.classes)), 1), {"axis": 2}))


def _levels_dead(levels: tuple[int, ...], model: Any, contract: Any) -> None:
    alive = [float(index not in levels) for index in range(len(contract.strides))]
    insert(model, "scores", ("Mul", per_proposal(contract, alive)))


def capped(model: Any, contract: Any) -> None:
    """P3's proposals come sorted: all but the first 100 are lost."""
    alive = np.ones((1, contract.proposals, 1), np.float32)
    alive[:, 100 : contract.proposals_by_level[0]] = 0
    insert(model, "scores", ("Mul", alive))


def _one_nan(model: Any, contract: Any) -> None:
    factor = np.ones((1, contract.proposals, 1), np.float32)
    factor[:, 1234] = np.nan
    insert(model, "scores", ("Mul", factor))


def centerness_lost(model: Any, _: Any) -> None:
    """Centerness is 1 everywhere, so that scores are not multiplied by it."""
    for name, value in (("conv_centerness.weight", 0.0), ("conv_centerness.bias", 20.0)):
        tensor, values = weights(model, name)
        _set_weights(tensor, np.full_like(values, value))


def _centerness_twice(model: Any, _: Any) -> None:
    """Every level's centerness goes through the sigmoid once more."""
    nodes = {output: node for node in model.graph.node for output in node.output}
    readers = {tensor: node for node in model.graph.node for tensor in node.input}
    for number in range(3, 8):
        node = readers[f"centerness_p{number}"]
        while node.op_type != "Sigmoid":
            node = readers[node.output[0]]
        assert nodes[node.output[0]] is node
        insert(model, node.output[0], ("Sigmoid", None))


def _checked_twice(original: Any, head: Any, contract: Any) -> Any:
    """The same in the arithmetic that the export is checked by."""
    twice = {
        name: -np.log(np.float32(1) / _sigmoid(_sigmoid(tensor)) - 1) if name.startswith("centerness") else tensor
        for name, tensor in head.items()
    }
    return original(twice, contract)


def _sigmoid(values: Any) -> Any:
    return 1 / (1 + np.exp(-values))


def noisy(share: float, model: Any, _: Any) -> None:
    """Every weight of a convolution moved at random by a share of that convolution's own spread."""
    from onnx import numpy_helper

    dice = np.random.default_rng(5)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            values = numpy_helper.to_array(tensor)
            _set_weights(tensor, values + dice.normal(0, share * values.std(), values.shape).astype(np.float32))


def head_untrained(model: Any, _: Any) -> None:
    """Random weights in the last layers of the head."""
    dice = np.random.default_rng(7)
    for name in ("conv_cls.weight", "conv_reg.weight", "conv_centerness.weight"):
        tensor, values = weights(model, name)
        _set_weights(tensor, dice.normal(0, 0.01, values.shape).astype(np.float32))


def _class_weakened(model: Any, _: Any) -> None:
    tensor, values = weights(model, "conv_cls.bias")
    values[1] -= 4
    _set_weights(tensor, values)


def _layer_lost(model: Any, _: Any) -> None:
    ((tensor, values), _bias) = conv_weights(model, "/backbone/layer2/layer2.1/conv2/Conv")
    _set_weights(tensor, np.zeros_like(values))


def overflow(model: Any, _: Any) -> None:
    """One layer's activations times 2^17 and the next layer's weights divided by it: the same in float32, infinite in fp16."""
    factor = np.float32(2**17)
    for tensor, values in conv_weights(model, "/backbone/layer1/layer1.0/conv1/Conv"):
        _set_weights(tensor, values * factor)
    tensor, values = conv_weights(model, "/backbone/layer1/layer1.0/conv2/Conv")[0]
    _set_weights(tensor, values / factor)


def two_casts(model: Any, contract: Any) -> None:
    """A detour through double, which changes no number."""
    insert(model, "scores", ("Cast", None, {"to": 11}), ("Cast", None, {"to": 1}))


def ballast(model: Any, contract: Any) -> None:
    """A constant of nothing but zeros is added, for each picture of a batch of 4."""
    insert(model, "scores", ("Add", np.zeros((4, contract.proposals, len(contract.classes)), np.float32)))


def _on_ai_cpu(document: Any, *_: Any) -> Any:
    operators = document["graph"][0]["op"]
    for operator in operators:
        for attribute in operator["attr"]:
            if operator["type"] == "TopK" and attribute["key"] == "_ge_attr_op_kernel_lib_name":
                attribute["value"] = {"s": "aicpu_ascend_kernel"}
    layouts = [{**operators[-1], "name": f"trans_{number}", "type": "TransData"} for number in range(2)]
    return {**document, "graph": [{**document["graph"][0], "op": [*operators, *layouts]}]}


def _wider(contract: Any, *_: Any) -> Any:
    return replace(contract, width=contract.width + 32)


def _nms(name: str, value: float | int, model: Any, _: Any) -> None:
    (node,) = [node for node in model.graph.node if node.op_type == "BatchMultiClassNMS"]
    (attribute,) = [attribute for attribute in node.attribute if attribute.name == name]
    setattr(attribute, "i" if isinstance(value, int) else "f", value)


def compiled(name: str, what: str, edit: Any, *gates: str, words: str = "") -> Case:
    """A case in which atc compiles another graph than the reference runs."""
    injections = (Injection(COMPILE, "arguments", edited(edit)),)
    return Case(name, what, gates, words, injections, OM_ONLY, marks_for(gates), PART)


def exported(name: str, what: str, edit: Any) -> Case:
    """A case in which the exporter gives both sides the same wrong graph."""
    words = "does not compute what the checkpoint does"
    return Case(name, what, (REFUSED,), words, (Injection(TRUNK, "result", edited_trunk(edit)),), MODELS, "contract")


def foreign_onnx(child: Any) -> tuple[str, ...]:
    """A file for `--onnx`, which nobody here can hold against a checkpoint."""
    import onnx

    from fcos_lib.contract import SHAPES

    (path,) = (child.prepared / "onnx").glob("*/ascend.onnx")
    model = onnx.load(path)
    half_stride(model, SHAPES)
    other = child.folder / "exported_elsewhere.onnx"
    onnx.save(model, other)
    return "--onnx", str(other)


def untrained_checkpoint(child: Any) -> tuple[str, ...]:
    """The embedded weights, with random ones in the last layers of the head."""
    import torch

    from fixtures.settings import EMBEDDED_CHECKPOINT

    document = torch.load(EMBEDDED_CHECKPOINT, weights_only=True)
    weights = document.get("state_dict", document)
    torch.manual_seed(7)
    for kind in ("cls", "reg", "centerness"):
        torch.nn.init.normal_(weights[f"bbox_head.conv_{kind}.weight"], std=0.01)
    path = child.folder / "untrained.pth"
    torch.save(document, path)
    return "--checkpoint", str(path)


CASES = (
    compiled("weight_bit", "one exponent bit of one weight is flipped", one_bit, BY_NETWORK),
    compiled("level_scale_p3", "boxes of P3 are 10 % too large", partial(level_scale, 1.1, 0), "consistency: size bias", words="P3"),
    compiled("level_scale_p5", "boxes of P5 are 10 % too large", partial(level_scale, 1.1, 2), "consistency: size bias", words="P5"),
    compiled("box_scale", "all boxes are 1 % too large", partial(level_scale, 1.01, -1), "consistency: size bias"),
    compiled("class_rolled", "every class is called by its neighbour's name", class_rolled, BY_NETWORK, UNEXPLAINED),
    compiled("p6_p7_dead", "P6 and P7 find nothing", partial(_levels_dead, (3, 4)), BY_NETWORK),
    compiled("p7_dead", "P7 finds nothing", partial(_levels_dead, (4,)), "consistency: largest difference of scores"),
    compiled("stride_offset_lost", "points lie on the corners of their cells", half_stride, BY_NETWORK, "contract: broken rows"),
    compiled("centerness_lost", "scores are not multiplied by centerness", centerness_lost, "consistency: score bias", BY_NETWORK),
    compiled("score_factor", "scores are 3 % too low", partial(score_factor, 0.97), "consistency: score bias"),
    compiled("score_factor_small", "scores are 0.5 % too low", partial(score_factor, 0.995), "consistency: largest difference of scores"),
    compiled("weights_of_another_epoch", "weights are 2 % off at random", partial(noisy, 0.02), BY_NETWORK),
    compiled("head_untrained", "the last layers of the head have random weights", head_untrained, BY_NETWORK, "accuracy: mAP difference"),
    compiled("class_weakened", "the bias of one class is lower by 4", _class_weakened, "accuracy: certain loss in a class", BY_NETWORK),
    compiled("layer_lost", "the weights of one convolution are 0", _layer_lost, BY_NETWORK),
    compiled("fp16_overflow", "one layer is beyond fp16's range", overflow, "consistency: non-finite proposals"),
    replace(compiled("proposals_capped", "P3 hands 100 proposals to NMS instead of 1,000", capped,
                     "consistency: largest difference of scores"), options=MORE),
    compiled("one_nan", "the scores of one proposal are NaN", _one_nan, "consistency: non-finite proposals"),
    replace(compiled("two_casts", "two casts that compute nothing", two_casts, "cost: Cast operators against champion"), champion=True),
    replace(compiled("ballast", "a large constant of zeros is added", ballast, "cost: OM size against champion",
                     "cost: OM operators against champion"), champion=True),
    Case("on_ai_cpu", "TopK falls back to the AI CPU, with a change of layout before and behind",
         ("cost: AI CPU operators against champion", "cost: TransData operators against champion"), "TopK +",
         (Injection("fcos_lib.emulator.om:om_as_json", "result", _on_ai_cpu),), OM_ONLY, "cost", champion=True),
    Case("input_wider", "the network's input has become 32 px wider", ("cost: bytes per picture against champion",), "",
         (Injection("fcos_lib.contract:contract_for", "result", _wider),), (*MODELS, "references"), "cost", champion=True),
    compiled("nms_iou", "NMS with an IoU of 0.7 instead of 0.5", partial(_nms, "iou_threshold", 0.7), BY_NMS),
    compiled("nms_score", "NMS with a score of 0.3 instead of 0.05", partial(_nms, "score_threshold", 0.3), BY_NMS),
    compiled("nms_rows", "NMS returns 50 rows", partial(_nms, "max_total_size", 50), REFUSED),
    compiled("nms_per_class", "NMS keeps one box per class", partial(_nms, "max_size_per_class", 1), BY_NMS),
    exported("stride_offset_lost_on_both_sides", "points lie on the corners of their cells, also in the reference", half_stride),
    exported("centerness_lost_on_both_sides", "scores are not multiplied by centerness, also in the reference", centerness_lost),
    Case("centerness_twice", "centerness goes through the sigmoid twice, in both sides and in the check of the export",
         ("accuracy: unexplained differences from mmdet", "accuracy: usual difference of scores from mmdet"), "",
         (Injection(TRUNK, "result", edited_trunk(_centerness_twice)),
          Injection("fcos_lib.model.decoding:decode", "function", _checked_twice)), (*MODELS, "references"), "accuracy", PART),
    Case("onnx_from_elsewhere", "an ONNX that was exported elsewhere has its points on the corners of their cells",
         ("accuracy: mAP",), "reference", without=(*MODELS, "references"), marks="reference", arrange=foreign_onnx),
    Case("head_untrained_on_both_sides", "a checkpoint whose head was never trained", ("accuracy: mAP",), "reference",
         without=(*MODELS, "references"), marks="reference", arrange=untrained_checkpoint),
)  # fmt: skip
