"""A COCO folder is checked before anything is run on it, and a broken picture is named."""

import json

import cv2
import numpy as np
import pytest

from fcos_lib.errors import DatasetError
from fcos_lib.stream.dataset import Picture, open_dataset, read_picture


@pytest.fixture
def document():
    """A small valid annotation file."""
    return {
        "images": [{"id": 5, "file_name": "a.jpg", "width": 40, "height": 30}],
        "categories": [{"id": 3, "name": "red square"}],
        "annotations": [{"id": 1, "image_id": 5, "category_id": 3, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}],
    }


@pytest.fixture
def folder(tmp_path, document):
    """A small valid COCO folder."""
    (tmp_path / "annotations").mkdir()
    (tmp_path / "val2017").mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "val2017" / "a.jpg"), picture)
    write(tmp_path, document)
    return tmp_path


def write(folder, document):
    """Replace the annotation file."""
    text = document if isinstance(document, str) else json.dumps(document)
    (folder / "annotations" / "instances_val2017.json").write_text(text)


def test_a_valid_folder_opens(folder):
    """Pictures and categories come out as annotated."""
    dataset = open_dataset(folder)
    assert [picture.id for picture in dataset.pictures] == [5]
    assert dataset.category_ids == {"red square": 3}
    assert read_picture(dataset.pictures[0]).shape == (30, 40, 3)


def test_a_missing_folder_is_named(tmp_path):
    """The message says which option to use."""
    with pytest.raises(DatasetError, match="--dataset"):
        open_dataset(tmp_path / "nowhere")


def test_an_empty_folder_says_what_it_holds(tmp_path):
    """Nothing, here."""
    with pytest.raises(DatasetError, match="holds nothing"):
        open_dataset(tmp_path)


BROKEN = {
    "not-json": (lambda d: "{", "is not JSON"),
    "list": (lambda d: [], "holds a list"),
    "deep": (lambda d: "[" * 100_000, "is not JSON"),
    "captions": (lambda d: {"images": d["images"], "annotations": []}, "no list 'categories'"),
    "no-size": (lambda d: {**d, "images": [{"id": 5, "file_name": "a.jpg"}]}, r"images\[0\] has no int 'width'"),
    "no-pictures": (lambda d: {**d, "images": [], "annotations": []}, "lists no images"),
    "twice": (lambda d: {**d, "images": d["images"] * 2}, "duplicate image ids"),
    "absent": (lambda d: {**d, "images": [{**d["images"][0], "file_name": "b.jpg"}]}, "not in .*b.jpg"),
    "escape": (lambda d: {**d, "images": [{**d["images"][0], "file_name": "../a.jpg"}]}, "leaves the folder"),
    "nan-box": (
        lambda d: {**d, "annotations": [{**d["annotations"][0], "bbox": [1, 2, float("nan"), 4]}]},
        "four finite",
    ),
    "orphan": (lambda d: {**d, "annotations": [{**d["annotations"][0], "image_id": 6}]}, "does not list"),
    "huge": (lambda d: {**d, "images": [{**d["images"][0], "width": 10**9}]}, "outside 1..65535"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_annotation_file_is_one_clear_error(folder, document, case):
    """Each kind of damage is named, with the file."""
    change, words = BROKEN[case]
    write(folder, change(document))
    with pytest.raises(DatasetError, match=words):
        open_dataset(folder)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: b"", "is empty"),
        (lambda data: data[: len(data) // 2], "is truncated"),
        (lambda data: data[:-2], "is truncated"),
        (lambda data: b"GIF89a not a picture", "is not a picture"),
    ],
    ids=["zero-byte", "half", "no-end", "other"],
)
def test_a_broken_picture_is_named(folder, damage, words):
    """OpenCV decodes half a JPEG to half grey without a word; we do not."""
    path = folder / "val2017" / "a.jpg"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetError, match=f"a.jpg {words}"):
        read_picture(open_dataset(folder).pictures[0])


def test_a_picture_of_another_size_is_refused(folder):
    """Boxes would be scaled by the wrong factor."""
    picture = open_dataset(folder).pictures[0]
    with pytest.raises(DatasetError, match="annotated as 41 x 30"):
        read_picture(Picture(picture.id, picture.path, 41, 30))


def test_a_grey_jpeg_becomes_three_channels(folder):
    """COCO has a few of them."""
    path = folder / "val2017" / "a.jpg"
    cv2.imwrite(str(path), np.full((30, 40), 99, np.uint8))
    assert read_picture(open_dataset(folder).pictures[0]).shape == (30, 40, 3)
