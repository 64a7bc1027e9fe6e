"""A contract is read from a plain file, and whatever is wrong in the file is named."""

import json

import pytest

from fcos_lib.contract import COCO_CLASSES, COCO_R50, ModelContract
from fcos_lib.errors import UsageError
from fcos_lib.model.contract_record import contract_of, read_contract

MINE = """
name = "mine"
classes = ["cat", "dog"]
height = 640
width = 640
depth = 101
style = "pytorch"
channel_order = "rgb"
mean_bgr = [103.53, 116.28, 123.675]
std_bgr = [57.375, 57.12, 58.395]
head_norm_groups = 32
norm_on_bbox = true
strides = [8, 16, 32]
candidates_per_level = 500
"""


def written(folder, text, name="mine.toml"):
    """The text as a file."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_toml_file_and_its_json_are_the_same_contract(tmp_path):
    """What a file leaves out is the recipe's."""
    contract = read_contract(written(tmp_path, MINE))
    assert contract == ModelContract(
        "mine", ("cat", "dog"), 640, 640, 64, 256, depth=101, style="pytorch", channel_order="rgb",
        mean_bgr=(103.53, 116.28, 123.675), std_bgr=(57.375, 57.12, 58.395), head_norm_groups=32, norm_on_bbox=True,
        strides=(8, 16, 32), proposals_per_level=500,
    )  # fmt: skip
    as_json = json.dumps(contract.as_dict() | {"classes": ["cat", "dog"]})
    kept = {key: value for key, value in json.loads(as_json).items() if key != "candidate_names"}
    assert read_contract(written(tmp_path, json.dumps(kept), "mine.json")) == contract


def test_the_recipe_is_a_record_of_two_lines():
    """Its name, and COCO's classes by one word."""
    assert contract_of({"name": "coco_r50", "classes": "coco"}, "here") == COCO_R50
    assert contract_of({"name": "coco_r50", "classes": list(COCO_CLASSES)}, "here") == COCO_R50


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"heigth": 640}, "unknown field `heigth`"),
        ({"proposals_per_level": 500}, "unknown field `proposals_per_level`"),
        ({"candidates_per_level": 0}, "candidates_per_level: Expected `int` >= 1"),
        ({"name": None}, "name: Expected `str`, got `null`"),
        ({"name": "../up"}, "name: Expected `str`"),
        ({"name": "a.b"}, "name: Expected `str`"),
        ({"depth": 99}, "depth: Invalid enum value 99"),
        ({"depth": "50"}, "depth"),
        ({"height": 10**9}, "height: Expected `int` <= 4096"),
        ({"width": True}, "width"),
        ({"mean_bgr": [1, 2]}, "mean_bgr"),
        ({"mean_bgr": [float("nan"), 1, 1]}, "mean_bgr"),
        ({"std_bgr": [0, 1, 1]}, "std_bgr"),
        ({"std_bgr": [float("inf"), 1, 1]}, "std_bgr"),
        ({"iou_threshold": float("nan")}, "iou_threshold"),
        ({"channel_order": "RGB"}, "channel_order: Invalid enum value 'RGB'"),
        ({"classes": []}, "classes: there are none"),
        ({"classes": ["cat", "cat"]}, "two have the same name"),
        ({"classes": ["cat\u202e", "dog"]}, "classes"),
        ({"strides": [8, 16, 64]}, "strides: "),
        ({"strides": [16, 32, 64]}, "strides: "),
        ({"strides": [8]}, "strides: "),
        ({"head_norm_groups": 7}, "head_norm_groups: 7 do not divide 256"),
        ({"groups": 32, "depth": 18}, "no ResNeXt of depth 18"),
        ({"output_names": ["dets", "dets"]}, "two are the same"),
        ({"output_names": ["boxes", "dets"]}, "one is boxes or scores, as what reaches NMS is called"),
        ({"input_name": "scores"}, "one is boxes or scores"),
        ({"candidates_per_level": 76}, "candidates_per_level: 76 are fewer than the 77 points of the last level"),
        ({"max_detections": 6701}, "max_detections: 6701 are more than the 6700 scores of a picture"),
        ({"norm_on_bbox": 1}, "norm_on_bbox: Expected `bool`"),
        ({"dcn": "yes"}, "dcn: Expected `bool`"),
    ],
)
def test_what_is_wrong_is_named(change, reason):
    """By its field; nothing is converted."""
    with pytest.raises(UsageError) as error:
        contract_of({"name": "mine", "classes": ["cat", "dog"]} | change, "mine.toml")
    assert error.value.found.startswith("mine.toml is not a model contract (")
    assert reason in error.value.found, error.value.found


def test_deformable_convolutions_are_refused_by_name():
    """With the reason, and not as an unknown field."""
    with pytest.raises(
        UsageError, match="'mine' with dcn: CANN's list of ONNX operators has no deformable convolution"
    ):
        contract_of({"name": "mine", "classes": "coco", "dcn": True}, "mine.toml")


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("mine.toml", "name = ", "is not TOML"),
        ("mine.toml", "a = " + "[" * 5000, "is not TOML"),
        ("mine.toml", "a." * 1001 + "a = 1", "more than 1,000 dots"),
        ("mine.json", "{", "is not JSON"),
        ("mine.py", "import os", "neither a .toml nor a .json"),
        ("mine.toml", "#" * (1 << 18) + "\n", "cannot be read"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, name, text, reason):
    """Whatever it holds, it runs nothing."""
    with pytest.raises(UsageError, match=reason):
        read_contract(written(tmp_path, text, name))


def test_a_link_a_folder_and_nothing_are_no_contract(tmp_path):
    """Files are read as all of a stranger's are."""
    (tmp_path / "folder.toml").mkdir()
    for name in ("folder.toml", "absent.toml"):
        with pytest.raises(UsageError, match=name):
            read_contract(tmp_path / name)
