"""A COCO folder is checked when it is opened; a picture is decoded as it is meant to be seen, or refused.

What is wrong with a folder, its annotations or a picture has its cases in tests/unit/hostile/test_files.py.
"""

import errno
import os
import struct

import cv2
import numpy as np
import pytest

from fcos_lib.contract import SHAPES, InputLayout
from fcos_lib.errors import DatasetError, FeedError
from fcos_lib.stream import picture_file
from fcos_lib.stream.dataset import Picture, file_digest, open_dataset, read_picture
from fcos_lib.stream.feed import load_batch
from tests.unit.hostile import makers

WIDTH, HEIGHT = 60, 40


def test_a_valid_folder_opens(tmp_path):
    """Pictures and categories come out as annotated."""
    dataset = open_dataset(makers.coco(tmp_path))
    assert [picture.id for picture in dataset.pictures] == [1, 2, 3]
    assert dataset.category_ids == {"red square": 3}
    assert read_picture(dataset.pictures[0]).shape == (30, 40, 3)


def test_a_folder_without_annotations_says_what_it_holds_and_what_to_do(tmp_path):
    """One that is not there, and one with nothing in it."""
    with pytest.raises(DatasetError, match="--dataset"):
        open_dataset(tmp_path / "nowhere")
    with pytest.raises(DatasetError, match="holds nothing"):
        open_dataset(tmp_path)


def with_exif(jpeg, orientation, thumbnail=b""):
    """The JPEG with an EXIF block: an orientation, and bytes behind it, such as a thumbnail."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    tiff = b"MM\x00*" + struct.pack(">IH", 8, 1) + entry + struct.pack(">I", 0) + thumbnail
    block = b"Exif\x00\x00" + tiff
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + jpeg[2:]


@pytest.fixture
def scene():
    """Dark, with one bright corner."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:10, :10] = 255
    return pixels


@pytest.fixture
def jpeg(scene):
    """The scene as a file's content."""
    return cv2.imencode(".jpg", scene)[1].tobytes()


@pytest.fixture
def picture(tmp_path):
    """Write a file and say what it is annotated as."""

    def write(content, width=WIDTH, height=HEIGHT):
        path = tmp_path / "a.jpg"
        path.write_bytes(content)
        return Picture(1, path, width, height)

    return write


def test_a_rotated_picture_is_turned_upright(jpeg, picture):
    """EXIF orientation 6: the file lies on its side, the annotation describes the picture as seen."""
    seen = read_picture(picture(with_exif(jpeg, 6), HEIGHT, WIDTH))
    assert seen.shape == (WIDTH, HEIGHT, 3)
    darkest = seen[2:8, -8:-2].min()
    assert darkest > 200, f"the upper right has pixels of {darkest}: the bright corner did not move there"
    batch = load_batch([picture(with_exif(jpeg, 6), HEIGHT, WIDTH)], SHAPES, 1)
    assert batch.places[0].resized == (170, 256), "the letterbox is not that of the upright picture"


def test_a_picture_of_another_size_is_refused(jpeg, picture):
    """Boxes would be scaled by the wrong factor, or lie elsewhere if the annotation describes it as the file lies."""
    with pytest.raises(DatasetError, match="60 x 40 pixels, annotated as 61 x 40"):
        read_picture(picture(jpeg, WIDTH + 1))
    with pytest.raises(DatasetError, match="40 x 60 pixels, annotated as 60 x 40"):
        read_picture(picture(with_exif(jpeg, 6)))


def test_what_follows_a_whole_picture_is_no_damage(jpeg, picture, scene):
    """Cameras and servers append bytes."""
    seen = read_picture(picture(jpeg + b"appended"))
    np.testing.assert_allclose(seen.astype(int), scene.astype(int), atol=30)


def test_the_end_of_a_thumbnail_is_not_the_pictures(jpeg, picture):
    """A thumbnail is a whole JPEG inside the EXIF block, and has an end marker of its own."""
    whole = with_exif(jpeg, 1, thumbnail=jpeg)
    assert read_picture(picture(whole)).shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(DatasetError, match="is truncated"):
        read_picture(picture(whole[:-40]))


@pytest.mark.parametrize("layout", list(InputLayout), ids=lambda layout: layout.name)
def test_a_grey_picture_is_as_good_as_its_colours(tmp_path, layout):
    """One channel becomes three alike."""
    grey = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH), np.uint8)
    tensors = []
    for name, pixels in (("grey.png", grey), ("colour.png", np.repeat(grey[..., None], 3, axis=2))):
        cv2.imwrite(str(tmp_path / name), pixels)
        tensors.append(load_batch([Picture(1, tmp_path / name, WIDTH, HEIGHT)], SHAPES, 1, layout).tensor)
    np.testing.assert_array_equal(*tensors)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE])
def test_a_picture_that_the_machine_cannot_read_is_not_blamed(picture, jpeg, number, monkeypatch):
    """A disk that fails, a network folder that went away: to restore the file would not help."""
    path = picture(jpeg).path

    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(picture_file, "read_plain", fail)
    monkeypatch.setattr("fcos_lib.stream.dataset.sha256_of", fail)
    for read in (read_picture, file_digest):
        with pytest.raises(FeedError, match=rf"{path} cannot be read \({os.strerror(number)}\)") as caught:
            read(picture(jpeg))
        assert "network folder" in caught.value.advice


def test_a_picture_for_which_there_is_no_memory_is_not_blamed(picture, jpeg, monkeypatch):
    """OpenCV says so in an error of its own."""

    def fail(*_):
        error = cv2.error("")
        error.err = "Failed to allocate 48000000 bytes"
        raise error

    monkeypatch.setattr(picture_file.cv2, "imdecode", fail)
    with pytest.raises(FeedError, match="cannot be decoded"):
        read_picture(picture(jpeg))
