"""The letterbox follows the recipe's arithmetic, and boxes find their way back."""

import cv2
import numpy as np
import pytest

from fcos_lib.contract import COCO_R50, SHAPES, InputLayout
from fcos_lib.stream.letterbox import blank, geometry, letterbox, letterbox_uint8, to_picture


def recipe(picture, contract):
    """The recipe's steps one after the other: resize uint8, to float, subtract, pad with zeros, transpose."""
    height, width = picture.shape[:2]
    scale = min(contract.width / width, contract.height / height)
    resized = cv2.resize(
        picture, (max(1, int(width * scale)), max(1, int(height * scale))), interpolation=cv2.INTER_LINEAR
    )
    floats = resized.astype(np.float32) - np.array(contract.mean_bgr, np.float32)
    left, top = (contract.width - floats.shape[1]) // 2, (contract.height - floats.shape[0]) // 2
    bottom, right = contract.height - floats.shape[0] - top, contract.width - floats.shape[1] - left
    padded = cv2.copyMakeBorder(floats, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0)
    return padded.transpose(2, 0, 1)


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (427, 256), (333, 500), (1333, 800), (51, 50), (2000, 3)])
@pytest.mark.parametrize("contract", [SHAPES, COCO_R50], ids=lambda contract: contract.name)
def test_the_tensor_is_bit_identical_to_the_recipes(size, contract):
    """Same bytes as resize, subtract and pad done one after the other."""
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    out = np.full(contract.input_shape(1)[1:], 7, np.float32)
    letterbox(picture, contract, out)
    np.testing.assert_array_equal(out, recipe(picture, contract))


def test_padding_is_zero_after_the_mean_is_subtracted():
    """A black picture is minus the mean inside and zero outside."""
    out = np.empty(SHAPES.input_shape(1)[1:], np.float32)
    place = letterbox(np.zeros((100, 100, 3), np.uint8), SHAPES, out)
    assert (place.left, place.top, place.resized_width) == (85, 0, 256)
    np.testing.assert_allclose(out[:, 10, 100], -np.array(SHAPES.mean_bgr), rtol=1e-6)
    assert not out[:, :, :85].any()


def test_a_portrait_is_centred_with_the_odd_pixel_on_the_right():
    """Floor on the left and top."""
    place = geometry(320, 480, SHAPES)
    assert (place.resized_width, place.resized_height, place.left, place.top) == (170, 256, 128, 0)
    assert SHAPES.width - place.left - place.resized_width == 129


def test_boxes_return_to_picture_pixels():
    """to_picture undoes the letterbox and clips to the picture."""
    place = geometry(640, 480, SHAPES)
    picture_box = np.array([[10, 20, 300, 400]], np.float32)
    scale = np.array([place.scale_x, place.scale_y] * 2, np.float32)
    network = picture_box * scale + np.array([place.left, place.top] * 2, np.float32)
    np.testing.assert_allclose(to_picture(network, place), picture_box, atol=1e-3)
    outside = np.array([[-50, -50, 500, 500]], np.float32)
    np.testing.assert_array_equal(to_picture(outside, place), [[0, 0, 640, 480]])


@pytest.mark.parametrize("size", [(640, 480), (480, 640), (1333, 800), (51, 50), (2000, 3)])
@pytest.mark.parametrize("contract", [SHAPES, COCO_R50], ids=lambda contract: contract.name)
def test_bytes_lie_where_floats_do(size, contract):
    """The same resize and the same place: minus the mean, the picture in bytes is the picture in floats."""
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    floats = np.empty(contract.input_shape(1)[1:], np.float32)
    pixels = np.full(contract.input_shape(1, InputLayout.UINT8_NHWC)[1:], 7, np.uint8)
    place = letterbox_uint8(picture, contract, pixels)
    assert place == letterbox(picture, contract, floats)
    inside = pixels[place.rows, place.columns].astype(np.float32) - np.array(contract.mean_bgr, np.float32)
    np.testing.assert_array_equal(inside.transpose(2, 0, 1), floats[:, place.rows, place.columns])
    border = np.ones(pixels.shape[:2], bool)
    border[place.rows, place.columns] = False
    assert (pixels[border] == contract.padding_bgr).all(), "bytes around the picture are not the rounded mean"


def test_a_blank_batch_is_all_padding():
    """Zeros for floats, the mean for bytes: what a letterbox puts around a picture."""
    assert not blank(SHAPES, 2).any()
    pixels = blank(SHAPES, 2, InputLayout.UINT8_NHWC)
    assert (pixels.shape, pixels.dtype) == ((2, 256, 427, 3), np.uint8)
    assert pixels.flags.c_contiguous
    assert (pixels == (103, 116, 123)).all()
