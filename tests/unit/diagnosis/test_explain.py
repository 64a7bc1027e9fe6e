"""A drop in mAP is put down to the stage that was broken, and a broken layer is named; a healthy OM has neither."""

import json
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from fcos_lib.artifacts import ASCEND, PORTABLE
from fcos_lib.artifacts.from_checkpoint import onnx_artifact
from fcos_lib.ascend import atc
from fcos_lib.ascend.atc_command import AtcOptions
from fcos_lib.contract import SHAPES
from fcos_lib.device.npus import use_emulator
from fcos_lib.diagnosis import stages as explaining
from fcos_lib.diagnosis.layers import search_layers
from fcos_lib.diagnosis.stages import explain, explain_failure
from fcos_lib.diagnosis.tapped import Case
from fcos_lib.errors import AtcError, ExportError
from fcos_lib.evidence.explained import explained
from fcos_lib.measure.coco.truth import read_truth
from fcos_lib.store.artifacts import Store
from fcos_lib.stream.dataset import open_dataset
from fcos_lib.stream.feed import detect
from fcos_lib.stream.sessions import OnnxSession
from fixtures.settings import EMBEDDED, EMBEDDED_CHECKPOINT

PICTURES = 16
LAYER = "/backbone/layer2/layer2.2/conv2/Conv"


@pytest.fixture(scope="module")
def models(exported):
    """The embedded model's ONNX."""
    return onnx_artifact(Store(exported), SHAPES, EMBEDDED_CHECKPOINT)


@pytest.fixture(scope="module")
def dataset():
    """The embedded pictures."""
    return open_dataset(EMBEDDED)


@pytest.fixture(scope="module")
def reference(models, dataset):
    """What onnxruntime finds in the first of them."""
    return detect(OnnxSession(models.path / PORTABLE, SHAPES), dataset.pictures[:PICTURES], SHAPES, 8)


@pytest.fixture
def case(models, dataset, exported):
    """The healthy OM of batch size 8, on the emulator."""
    device = use_emulator(exported / "emulator")[0]
    return Case(
        SHAPES, read_truth(dataset), dataset.pictures[:PICTURES], Store(exported), models, device.toolkit,
        AtcOptions(device.soc_version, 8), lambda: nullcontext(device.device_id),
    )  # fmt: skip


def broken(case, change):
    """The same case with a graph for atc that is not the reference's any more."""

    def build(folder):
        model = onnx.load(case.onnx_models.path / ASCEND)
        change(model)
        onnx.save(model, folder / ASCEND)
        (folder / PORTABLE).write_bytes((case.onnx_models.path / PORTABLE).read_bytes())

    name = f"{change.__name__} {getattr(change, 'how', '')}"
    return replace(case, onnx_models=case.store.get("onnx", {"of": case.onnx_models.key, "broken": name}, build))


def scaled(name, factor):
    """Multiply the weights of a convolution."""

    def weights(model):
        node = next(node for node in model.graph.node if node.name == name)
        tensor = next(tensor for tensor in model.graph.initializer if tensor.name == node.input[1])
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(factor), tensor.name))

    weights.how = f"{name} {factor}"
    return weights


def lax_nms(model):
    """NMS keeps what overlaps by 0.7."""
    node = next(node for node in model.graph.node if node.op_type == "BatchMultiClassNMS")
    next(attribute for attribute in node.attribute if attribute.name == "iou_threshold").f = 0.7


def half_stride_lost(model):
    """Points lie at the corner of their cell instead of its centre."""
    made_by = {node.output[0]: node for node in model.graph.node}
    for node in model.graph.node:
        source = made_by.get(node.input[0]) if node.op_type in ("Sub", "Add") and node.input else None
        if source is not None and source.op_type == "Constant":
            points = numpy_helper.to_array(source.attribute[0].t)
            step = np.diff(np.unique(points)).min()
            source.attribute[0].t.CopyFrom(numpy_helper.from_array((points - step / 2).astype(np.float32)))


def share(records, stage):
    """What part of the difference in mAP a stage has."""
    ladder = records[0]["data"]
    return next(entry["value"] for entry in ladder["stages"] if entry["stage"] == stage) / ladder["total"]["value"]


@pytest.mark.parametrize(
    ("stage", "change"),
    [("network", scaled(LAYER, 2)), ("NMS", lax_nms), ("decoding", half_stride_lost)],
    ids=["network", "NMS", "decoding"],
)
def test_the_broken_stage_gets_the_difference(case, reference, stage, change):
    """At least 80 % of what a defect moves the mAP by is put down to the stage that has it, and the sentence says so first."""
    records = explain(broken(case, change), reference)
    ladder = records[0]["data"]
    assert share(records, stage) >= 0.8, ladder["sentence"]
    assert ladder["sentence"].split(", ")[0].endswith(stage)
    assert [entry["stage"] for entry in ladder["stages"]] == ["preprocess", "network", "decoding", "NMS"]
    assert json.dumps(records, allow_nan=False)
    lax = ladder["kept"]["candidate"]["overlap"] > 0.65
    assert lax == (stage == "NMS"), f"what NMS keeps overlaps by {ladder['kept']}"
    assert ("layers" in [record["kind"] for record in records]) == (stage == "network"), "only a network has layers"


def test_a_mean_that_is_dropped_is_preprocessing(case, reference, monkeypatch):
    """What AIPP makes of a picture on the device is part of what the network is given, not of the network."""
    real = atc.aipp_config
    for module in ("fcos_lib.ascend.atc.aipp_config", "fcos_lib.artifacts.om.aipp_config"):
        monkeypatch.setattr(module, lambda contract: real(replace(contract, mean_bgr=(0.0, 0.0, 0.0))))
    case = replace(case, options=replace(case.options, aipp=True))
    records = explain(case, reference)
    assert share(records, "preprocess") >= 0.8, records[0]["data"]["sentence"]
    total = records[0]["data"]["total"]["value"]
    assert total < -0.01, f"without the mean mAP changed by {total}"


@pytest.mark.parametrize("name", ["/backbone/conv1/Conv", LAYER, "/bbox_head/reg_convs.1/conv/Conv"])
def test_a_layer_that_is_two_percent_off_is_named(case, name):
    """Two percent in one convolution cost next to no mAP here, but no rounding explains them."""
    search = search_layers(broken(case, scaled(name, 1.02)), case.pictures[:4])
    assert search.first is not None, f"nothing named, {name} is 2 % off"
    assert search.first.name == name
    assert name in search.mixed_precision


def test_a_layer_that_overflows_is_named(case, reference):
    """Infinite and NaN are the worst error, and no reason to see nothing at all."""
    records = explain(replace(broken(case, scaled(LAYER, 1e7)), pictures=case.pictures[:8]), reference)
    assert records[2]["data"]["first"] == LAYER
    assert "not finite" in "\n".join(explained(records))
    assert json.dumps(records, allow_nan=False)


@pytest.mark.parametrize("aipp", [False, True], ids=["float", "aipp"])
def test_a_healthy_om_has_no_layer_that_differs(case, aipp):
    """Nothing exceeds what fp16 explains, and by far."""
    case = replace(case, options=replace(case.options, aipp=aipp))
    search = search_layers(case, case.pictures[:1])
    assert search.first is None
    assert len(search.layers) == 119
    largest = max(layer.ratio for layer in search.layers)
    assert largest < search.k / 2, f"a healthy layer has {largest} times what fp16 explains, {search.k} are allowed"


def test_a_head_without_names_counts_as_network(case, reference):
    """An ONNX that was exported elsewhere has names of its own: decoding cannot be told apart, and that is said."""

    def anonymous(model):
        for node in model.graph.node:
            for names in (node.input, node.output):
                for index, name in enumerate(names):
                    if name.startswith(("class_p", "distance_p", "centerness_p")):
                        names[index] = f"{name}/elsewhere"

    records = explain(replace(broken(case, anonymous), pictures=case.pictures[:8]), reference)
    assert [entry["stage"] for entry in records[0]["data"]["stages"]] == ["preprocess", "network", "NMS"]
    assert records[0]["data"]["left_out"].startswith("decoding: ")


def test_little_time_is_enough_for_a_small_answer(case, reference, monkeypatch):
    """When time is up, the pictures seen so far count, and what was left out is said."""
    monkeypatch.setattr(explaining.Clock, "spent", lambda self, share: True)
    records = explain(broken(case, scaled(LAYER, 2)), reference, seconds=60, judged=-0.04)
    ladder = records[0]["data"]
    assert ladder["pictures"] == 8
    assert "no time" in ladder["left_out"]
    assert ladder["judged"] == -0.04


def test_a_search_that_fails_leaves_the_ladder(case, reference, monkeypatch):
    """What was found before counts."""

    def refuse(*arguments):
        raise ExportError("two networks", "")

    monkeypatch.setattr(explaining, "search_layers", refuse)
    records = explain(replace(case, pictures=case.pictures[:8]), reference, layers=True)
    assert [record["kind"] for record in records] == ["ladder", "error_types"]
    assert records[0]["data"]["left_out"] == "layers: two networks"


def test_a_gate_that_failed_is_never_hidden(reference):
    """Whatever goes wrong in explaining becomes a sentence."""

    def no_case():
        raise AtcError("atc is gone", "install it")

    assert explain_failure(no_case, reference) == ([], "the drop could not be explained: atc is gone")
    records, text = explain_failure(lambda: 1 / 0, reference)
    assert not records
    assert "ZeroDivisionError" in text
