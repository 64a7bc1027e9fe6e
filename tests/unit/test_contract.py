"""The contract says what the recipe says."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from fcos_lib.contract import COCO_R50, CONTRACTS, IN_FILES, SHAPES, InputLayout, ModelContract, contract_for
from fcos_lib.errors import UsageError
from fcos_lib.store.artifacts import content_key

KEYS = {"coco_r50": "d2b133e44b4b31dd9699", "shapes": "270431b7274c2e0c52d8"}
"""What each contract adds to the keys of artifacts, references and journals, written down before there were other contracts."""


@pytest.mark.parametrize("name", sorted(KEYS))
def test_what_a_contract_adds_to_every_key_stays(name):
    """A field that is new leaves the keys of contracts which have its default as they were: nothing is built again for it."""
    key = content_key("contract", {"contract": CONTRACTS[name].as_dict()})
    assert key == KEYS[name], f"the contract {name} has the key {key}, and it was {KEYS[name]}"


def test_the_coco_contract_hands_3350_proposals_to_nms():
    """1,000 points from each of P3-P5, all 273 of P6 and all 77 of P7."""
    assert COCO_R50.proposals_by_level == (1000, 1000, 1000, 273, 77)
    assert COCO_R50.proposals == 3350


def test_the_coco_input_has_the_size_of_the_recipes_files():
    """One picture is 12,796,800 bytes of float32."""
    _, channels, height, width = COCO_R50.input_shape(1)
    assert 4 * channels * height * width == 12_796_800


def test_level_shapes_round_up_at_every_halving():
    """427 columns become 54 at stride 8, as convolutions with padding make them."""
    assert SHAPES.level_shapes == ((32, 54), (16, 27), (8, 14), (4, 7), (2, 4))


@pytest.mark.parametrize("name", sorted(CONTRACTS))
def test_class_names_are_unique(name):
    """A label must mean one class."""
    classes = CONTRACTS[name].classes
    assert len(set(classes)) == len(classes)


def test_coco_has_80_classes():
    """The published checkpoint has 80 class channels."""
    assert len(COCO_R50.classes) == 80


def test_a_contract_is_found_by_its_class_names_in_any_order():
    """Annotation files list categories in an order of their own."""
    assert contract_for(tuple(reversed(SHAPES.classes))) is SHAPES


def test_unknown_classes_are_refused_with_the_known_contracts():
    """A dataset of another kind is a usage error that names what would fit."""
    with pytest.raises(UsageError, match=r"known contracts: coco_r50 \(80 classes\), shapes"):
        contract_for(("cat", "dog"))


def test_bytes_are_a_quarter_of_the_floats():
    """3,199,200 bytes per picture instead of 12,796,800."""
    sizes = [math.prod(COCO_R50.input_shape(1, layout)) * np.dtype(layout.dtype).itemsize for layout in InputLayout]
    assert sizes == [12_796_800, 3_199_200]


def test_padding_is_the_mean_in_bytes():
    """(103, 116, 123) in BGR, less than a quarter of a grey level from the mean."""
    assert COCO_R50.padding_bgr == (103, 116, 123)


ADDED = {
    "groups": 32, "group_width": 8, "style": "pytorch", "std_bgr": (57.375, 57.12, 58.395), "channel_order": "rgb",
    "head_norm_groups": 32, "head_conv_bias": False, "norm_on_bbox": True, "centerness_on_reg": True,
}  # fmt: skip
RECORDED = {
    "center_sampling": True, "loss_cls": "QualityFocalLoss", "loss_bbox": "GIoULoss", "loss_centerness": "none",
    "limits_of": "shapes",
}  # fmt: skip


@pytest.mark.parametrize("field", ADDED)
def test_whatever_is_computed_in_another_way_has_another_key(field):
    """Each field that came later counts as soon as it has another value."""
    assert replace(COCO_R50, **{field: ADDED[field]}).as_dict() == COCO_R50.as_dict() | {field: ADDED[field]}


@pytest.mark.parametrize("field", RECORDED)
def test_what_only_training_used_is_in_no_key(field):
    """A checkpoint's artifacts are the same whatever it was trained with."""
    assert replace(COCO_R50, **{field: RECORDED[field]}).as_dict() == COCO_R50.as_dict()


def test_every_field_is_known_to_these_tests():
    """A field that somebody adds without thinking of the keys would be in all of them."""
    names = {IN_FILES.get(field.name, field.name) for field in fields(ModelContract)}
    assert names == {*COCO_R50.as_dict(), *ADDED, *RECORDED}


def test_differences_are_by_field_and_leave_out_the_names():
    """What a list of contracts says beside each."""
    other = replace(COCO_R50, name="other", depth=101, style="pytorch")
    assert dict(other.differences(COCO_R50)) == {"depth": (101, 50), "style": ("pytorch", "caffe")}


def test_the_channels_of_the_input_are_in_the_contracts_order():
    """Blue is the first channel of the caffe-style weights and the last of torchvision's."""
    assert COCO_R50.planes_bgr == (0, 1, 2)
    assert replace(COCO_R50, channel_order="rgb").planes_bgr == (2, 1, 0)
