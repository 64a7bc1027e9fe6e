"""Every entry of the zoo, slim: mmdet's own `predict`, onnxruntime and the emulated NPU find the same, to the last box.

The networks have all that an entry differs in and as little else as possible: a few channels, a small input, three classes,
seeded weights. Then each switch is seeded wrong, and something that every run has says so.
"""

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest

from fcos_lib.artifacts.from_checkpoint import check_export
from fcos_lib.ascend.atc_command import aipp_config
from fcos_lib.contract import COCO_R50, InputLayout
from fcos_lib.emulator import atc, scenario
from fcos_lib.emulator.processor import Model
from fcos_lib.errors import ExportError
from fcos_lib.measure.detections.causes import against_mmdet, explain
from fcos_lib.measure.detections.inputs import network_inputs, recipe_input
from fcos_lib.model.endings import ascend, portable
from fcos_lib.model.fixed_batch import with_fixed_batch
from fcos_lib.model.npu_operators import operator_counts
from fcos_lib.model.zoo import known_contracts
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.feed import load_batch
from fcos_lib.stream.sessions import Detections, OnnxSession, Outputs

torch = pytest.importorskip("torch", reason="needs the extra 'export'")

PICTURES = 2
SCORE, BOX = 1e-5, 1e-2
R18 = next(name for name in known_contracts() if "r18" in name)


def slim(contract):
    """The entry with few channels, a small input and three classes; its first level is cut, as at full size."""
    grouped = {"groups": 4, "group_width": 2} if contract.groups > 1 else {}
    return replace(
        contract, name="slim", classes=("a", "b", "c"), height=64, width=64, base_channels=8, feature_channels=16,
        head_norm_groups=contract.head_norm_groups and 4, proposals_per_level=50, stacked_convs=1, **grouped,
    )  # fmt: skip


DISTINCT = {str(slim(contract).as_dict()): name for name, contract in known_contracts().items() if name != "shapes"}
"""The last entry of those that are one network when they are slim."""


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Threads that wait for each other cost ten times what these networks compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two pictures that are larger than the network's input, one of them upright."""
    folder, random, listed = tmp_path_factory.mktemp("pictures"), np.random.default_rng(7), []
    for number, (width, height) in enumerate([(192, 128), (100, 140)], start=1):
        coarse = random.integers(0, 256, (8, 12, 3), np.uint8)
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))
        listed.append(Picture(number, path, width, height))
    return tuple(listed)


@dataclass(frozen=True)
class Sides:
    """A slim network and what is found with it, by picture."""

    contract: Any
    network: Any
    trunk: Any
    mmdet: dict
    reference: dict
    """Detections, and boxes and scores before NMS."""


def prepared(picture, contract):
    """The network's input by mmdet's own normalisation of the resized picture, float32[1, 3, H, W]: padding is zero."""
    from fcos_lib.model.detector import nms_of

    nms_of()  # mmdet imports in silence from there alone
    from mmdet.models import DetDataPreprocessor

    order = slice(None, None, -1) if contract.channel_order == "rgb" else slice(None)
    normalise = DetDataPreprocessor(
        mean=contract.mean_bgr[order], std=contract.std_bgr[order], bgr_to_rgb=contract.channel_order == "rgb"
    )
    whole, left, top, width, height = recipe_input(picture, contract, InputLayout.UINT8_NHWC)
    inside = np.ascontiguousarray(whole[top : top + height, left : left + width].transpose(2, 0, 1))
    tensor = torch.zeros(contract.input_shape(1))
    tensor[0, :, top : top + height, left : left + width] = normalise({"inputs": [torch.from_numpy(inside)]})["inputs"][
        0
    ]
    return tensor


def reference_of(trunk, contract, tensor, folder):
    """What onnxruntime finds in a batch, by picture number."""
    path = folder / "portable.onnx"
    onnx.save(portable(trunk, contract), path)
    with OnnxSession(path, contract) as session:
        outputs, (boxes, scores) = session.run(tensor), session.run_and_proposals(tensor)[1:]
    return {slot + 1: (outputs.detections(slot), boxes[slot], scores[slot]) for slot in range(len(tensor))}


@pytest.fixture(scope="module")
def sides(pictures, tmp_path_factory):
    """The two sides for an entry's name, made once."""
    from fcos_lib.model.detector import predict
    from fcos_lib.model.export import export_trunk
    from tests.unit.seeded import seeded_detector

    made: dict[str, Sides] = {}

    def of(name):
        if name not in made:
            contract = slim(known_contracts()[name])
            batch = torch.cat([prepared(picture, contract) for picture in pictures])
            network = seeded_detector(contract, batch)
            trunk = export_trunk(network, contract)
            found = predict(network, batch, contract, cut=False)
            mmdet = {
                number: Detections(seen.bboxes.numpy(), seen.scores.numpy(), seen.labels.numpy())
                for number, seen in enumerate(found, start=1)
            }
            tensor = load_batch(pictures, contract, PICTURES).tensor
            reference = reference_of(trunk, contract, tensor, tmp_path_factory.mktemp("onnx"))
            made[name] = Sides(contract, network, trunk, mmdet, reference)
        return made[name]

    return of


def emulated(trunk, contract, tensor, monkeypatch, folder: Path, aipp: str = ""):
    """What the emulated NPU finds in a batch: a list of detections."""
    monkeypatch.setenv(scenario.VARIABLE, "")
    monkeypatch.chdir(folder)
    onnx.save(with_fixed_batch(ascend(trunk, contract), PICTURES), "model.onnx")
    Path("aipp.cfg").write_text(aipp)
    shape = ",".join(map(str, contract.input_shape(PICTURES)))
    status = atc.main([
        "--framework=5", "--model=model.onnx", "--output=model", f"--input_shape={contract.input_name}:{shape}",
        "--soc_version=Ascend310P3", f"--out_nodes={';'.join(contract.output_names)}", "--precision_mode=force_fp16",
        *(["--insert_op_conf=aipp.cfg"] if aipp else []),
    ])  # fmt: skip
    assert status == 0, "the emulated atc refuses the network"
    outputs = Outputs(*Model(folder / "model.om").execute([tensor]))
    return [outputs.detections(slot) for slot in range(PICTURES)]


def differences(reference, candidate, contract):
    """How many differences between the reference and a candidate no rounding explains, and how many it does."""
    expected = [seen for seen, _, _ in reference.values()]
    before = [before for _, *before in reference.values()]
    comparison = explain(expected, candidate, ["1.png", "2.png"], contract, lambda index: tuple(before[index]))
    unexplained, explained = comparison.measurements()
    return int(unexplained.value), explained.value, unexplained.where


@pytest.mark.parametrize("name", DISTINCT.values())
def test_mmdet_onnxruntime_and_the_emulated_npu_agree(sides, pictures, name, monkeypatch, tmp_path):
    """Every box of mmdet's own is one of onnxruntime's, and every difference of the emulated NPU has a cause."""
    both = sides(name)
    contract = both.contract
    check_export(both.trunk, both.network, contract)
    tensor = load_batch(pictures, contract, PICTURES).tensor
    fixed = operator_counts(with_fixed_batch(ascend(both.trunk, contract), PICTURES))
    assert ("InstanceNormalization" in fixed) == bool(contract.head_norm_groups)

    unexplained, _, score, box = against_mmdet(pictures, both.reference, both.mmdet, contract)
    assert unexplained.n >= 20, f"{unexplained.n} detections were compared with mmdet's: the proof is empty"
    assert unexplained.value == 0, f"{unexplained.value} detections differ from mmdet's: {unexplained.where}"
    assert score.value <= SCORE, f"scores differ from mmdet's by {score.value:.2e}, at most {SCORE} is rounding"
    assert box.value <= BOX, f"boxes differ from mmdet's by {box.value:.2e} px, at most {BOX} px is rounding"

    found = emulated(both.trunk, contract, tensor, monkeypatch, tmp_path)
    strange, share, where = differences(both.reference, found, contract)
    print(f"{name}: {unexplained.n} detections, {sum(map(len, found))} on the NPU, explained {share:.3f}")
    assert strange == 0, f"{strange} differences of the emulated NPU have no cause: {where}"


def test_aipp_of_an_rgb_network_finds_the_same(sides, pictures, monkeypatch, tmp_path):
    """Bytes in, swapped and divided on the device: every difference has a cause."""
    both = sides(R18)
    pixels = load_batch(pictures, both.contract, PICTURES, InputLayout.UINT8_NHWC).tensor
    found = emulated(both.trunk, both.contract, pixels, monkeypatch, tmp_path, aipp_config(both.contract))
    strange, _, where = differences(both.reference, found, both.contract)
    assert strange == 0, f"{strange} differences with AIPP have no cause: {where}"


def without_norm(network):
    """The head's towers without their GroupNorm."""
    for module in network.bbox_head.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = lambda features: features


def one_group(network):
    """A GroupNorm over all channels at once."""
    for module in network.bbox_head.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.num_groups = 1


def other_branch(network):
    """Centerness from the tower of the classes."""
    network.bbox_head.centerness_on_reg = False


def without_stride(network):
    """Distances in strides, as training has them."""
    network.bbox_head.strides = [1] * len(network.bbox_head.strides)


def exponential(network):
    """Distances as older heads have them."""
    network.bbox_head.norm_on_bbox = False


def not_cut_off(network):
    """Distances that may be negative."""
    network.bbox_head.norm_on_bbox = False
    forward = network.bbox_head.forward

    def linear(features):
        classes, distances, centernesses = forward(features)
        return classes, [level.log() * stride for level, stride in zip(distances, network.bbox_head.strides, strict=True)], centernesses  # fmt: skip

    network.bbox_head.forward = linear


@pytest.mark.parametrize(
    ("defect", "output"),
    [
        (without_norm, "scores"), (one_group, "scores"), (other_branch, "scores"), (without_stride, "boxes"),
        (exponential, "boxes"), (not_cut_off, "boxes"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)  # fmt: skip
def test_an_export_with_a_switch_wrong_is_caught(sides, pictures, tmp_path, defect, output):
    """By the check of the export, which names the output, and by mmdet's own detections in the accuracy run."""
    from fcos_lib.model.export import export_trunk

    both = sides(R18)
    network = copy.deepcopy(both.network)
    defect(network)
    trunk = export_trunk(network, both.contract)
    with pytest.raises(ExportError, match=f"before the TopK, {output} of P3 differ"):
        check_export(trunk, both.network, both.contract)
    tensor = load_batch(pictures, both.contract, PICTURES).tensor
    reference = reference_of(trunk, both.contract, tensor, tmp_path)
    unexplained, *_ = against_mmdet(pictures, reference, both.mmdet, both.contract)
    assert unexplained.value > 0, f"mmdet's own detections do not show {defect.__name__}"


WRONG_INPUTS = {
    "deviation of 1": {"std_bgr": (1.0, 1.0, 1.0)},
    "BGR for RGB": {"channel_order": "bgr"},
    "the recipe's mean": {"mean_bgr": COCO_R50.mean_bgr},
}


@pytest.mark.parametrize("change", WRONG_INPUTS.values(), ids=WRONG_INPUTS)
def test_an_input_with_a_switch_wrong_is_caught(sides, pictures, tmp_path, change):
    """By the gate of the network's inputs to the last bit, and, where it is not a small one, by mmdet's own detections."""
    both = sides(R18)
    batch = load_batch(pictures, replace(both.contract, **change), PICTURES)
    wrong, _ = network_inputs([batch], both.contract, InputLayout.FLOAT_NCHW)
    assert wrong.value == PICTURES, f"{wrong.value} of {PICTURES} inputs are told from the right ones"
    reference = reference_of(both.trunk, both.contract, batch.tensor, tmp_path)
    unexplained, *_ = against_mmdet(pictures, reference, both.mmdet, both.contract)
    assert unexplained.value > 0, f"mmdet's own detections do not show {change}"


@pytest.mark.parametrize(
    "change", [WRONG_INPUTS["deviation of 1"], WRONG_INPUTS["BGR for RGB"]], ids=lambda change: next(iter(change))
)
def test_an_aipp_with_a_switch_wrong_is_caught(sides, pictures, monkeypatch, tmp_path, change):
    """By the comparison with the reference: what the device does to the pixels shows in its detections alone."""
    both = sides(R18)
    pixels = load_batch(pictures, both.contract, PICTURES, InputLayout.UINT8_NHWC).tensor
    config = aipp_config(replace(both.contract, **change))
    found = emulated(both.trunk, both.contract, pixels, monkeypatch, tmp_path, config)
    strange, *_ = differences(both.reference, found, both.contract)
    assert strange > 0, f"the comparison with the reference does not show {change}"
