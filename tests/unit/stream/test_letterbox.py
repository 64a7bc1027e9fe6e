"""The letterbox follows the recipe's arithmetic, and boxes find their way back."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import cv2
import numpy as np
import pytest

from fcos_lib.contract import COCO_R50, SHAPES, InputLayout
from fcos_lib.stream.letterbox import _workspace, blank, clear, geometry, letterbox, letterbox_uint8, to_picture

SIZES = [
    *[(640, 480), (480, 640), (427, 256), (333, 500), (1333, 800), (1334, 801), (51, 50), (2000, 3), (3, 2000)],
    *[(666, 400), (333, 200), (2666, 1600), (213, 128)],  # whole factors, for which OpenCV has other code
    *[(1, 1), (1, 700), (700, 1), (1, 5000), (5000, 1), (2, 2)],
]

RGB = replace(
    SHAPES, name="rgb", mean_bgr=(103.53, 116.28, 123.675), std_bgr=(57.375, 57.12, 58.395), channel_order="rgb"
)
"""torchvision's weights: the order of the channels is turned and each is divided by its own deviation."""


def resized(picture, contract):
    """The recipe's first step, and where the picture goes: scale to fit, floored, the odd pixel to the right and below."""
    height, width = picture.shape[:2]
    scale = min(contract.width / width, contract.height / height)
    size = max(1, int(width * scale)), max(1, int(height * scale))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR)
    left, top = (contract.width - size[0]) // 2, (contract.height - size[1]) // 2
    return small, (top, contract.height - size[1] - top, left, contract.width - size[0] - left)


def recipe(picture, contract):
    """The recipe's steps one after the other: resize uint8, to float, subtract, divide, pad with zeros, order, transpose."""
    small, borders = resized(picture, contract)
    floats = small.astype(np.float32) - np.array(contract.mean_bgr, np.float32)
    if contract.std_bgr != (1, 1, 1):
        floats = floats / np.array(contract.std_bgr, np.float32)
    whole = cv2.copyMakeBorder(floats, *borders, cv2.BORDER_CONSTANT, value=0).transpose(2, 0, 1)
    return whole[::-1] if contract.channel_order == "rgb" else whole


def recipe_in_bytes(picture, contract):
    """Resize uint8 and pad with the mean."""
    small, borders = resized(picture, contract)
    return cv2.copyMakeBorder(small, *borders, cv2.BORDER_CONSTANT, value=contract.padding_bgr)


def noise(size, seed=0):
    """A picture of random bytes."""
    return np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
@pytest.mark.parametrize("contract", [SHAPES, COCO_R50, RGB], ids=lambda contract: contract.name)
def test_both_layouts_are_bit_identical_to_the_recipes_steps(size, contract):
    """Same bytes as resize, subtract and pad done one after the other, whatever the memory held before; one geometry."""
    floats, pixels = (
        np.full(contract.input_shape(1)[1:], np.nan, np.float32),
        noise((contract.width, contract.height), 1),
    )
    assert letterbox(noise(size), contract, floats) == letterbox_uint8(noise(size), contract, pixels)
    expected = recipe(noise(size), contract)
    assert np.array_equal(floats.view(np.uint32), np.ascontiguousarray(expected).view(np.uint32))
    np.testing.assert_array_equal(pixels, recipe_in_bytes(noise(size), contract))


def test_what_came_before_leaves_no_trace():
    """Pictures of all sizes, for one network and then the other, in one piece of memory each: as if each were the first."""
    tensors = {contract: np.empty(contract.input_shape(1)[1:], np.float32) for contract in (SHAPES, COCO_R50, RGB)}
    for seed, size in enumerate([(640, 480), (480, 640), (50, 700), (700, 50), (640, 480)]):
        for contract, out in tensors.items():
            letterbox(noise(size, seed), contract, out)
            np.testing.assert_array_equal(out, recipe(noise(size, seed), contract), f"{size} for {contract.name}")


@pytest.mark.parametrize(
    "first",
    [{"height": 128}, {"height": 512}, {"width": 200}, {"width": 800}, {"height": 427, "width": 256}],
    ids=["lower", "higher", "narrower", "wider", "turned"],
)
def test_another_network_gets_a_workspace_of_its_own(first):
    """Whatever it shares with the one before: the width, the height, or only their product."""
    contracts = [replace(SHAPES, **first), SHAPES]
    for contract in [*contracts, *contracts]:
        out = np.empty(contract.input_shape(1)[1:], np.float32)
        letterbox(noise((500, 480)), contract, out)
        np.testing.assert_array_equal(out, recipe(noise((500, 480)), contract))


def test_the_workspace_is_kept_from_picture_to_picture():
    """As large as one network needs it: asking the system for memory again costs more than the arithmetic."""
    wide, high = (_workspace(geometry(*size, SHAPES), SHAPES) for size in ((640, 200), (200, 640)))
    for room, strip in (wide, high):
        assert (room.dtype, strip.dtype, strip.shape) == (np.uint8, np.float32, (96, SHAPES.width))
        assert room.base.size == 3 * SHAPES.height * SHAPES.width, "no more is kept than the network can take"
    assert (wide[0].shape, high[0].shape) == ((133, 427, 3), (256, 80, 3))
    assert np.shares_memory(wide[0], high[0])
    assert np.shares_memory(wide[1], high[1])


def test_threads_do_not_write_into_each_others_pictures():
    """What is kept between pictures is kept per thread."""
    here = _workspace(geometry(640, 480, SHAPES), SHAPES)
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(_workspace, geometry(640, 480, SHAPES), SHAPES).result()
    assert not any(np.shares_memory(ours, theirs) for ours, theirs in zip(here, there, strict=True))
    pictures = [noise((640 - 40 * number, 300 + 60 * number), number) for number in range(4)]
    tensors = np.empty(SHAPES.input_shape(4), np.float32)
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            list(pool.map(letterbox, pictures, [SHAPES] * 4, tensors))
    for picture, tensor in zip(pictures, tensors, strict=True):
        np.testing.assert_array_equal(tensor, recipe(picture, SHAPES))


def test_a_portrait_is_centred_with_the_odd_pixel_on_the_right():
    """Floor on the left and top."""
    fit = geometry(320, 480, SHAPES)
    assert (fit.resized_width, fit.resized_height, fit.left, fit.top) == (170, 256, 128, 0)
    assert SHAPES.width - fit.left - fit.resized_width == 129


def test_boxes_are_clipped_to_the_picture():
    """In picture pixels, as float32."""
    clipped = to_picture(np.array([[-50, -50, 500, 500]], np.float32), geometry(640, 480, SHAPES))
    np.testing.assert_array_equal(clipped, [[0, 0, 640, 480]])
    assert clipped.dtype == np.float32


@pytest.mark.parametrize("size", SIZES, ids=lambda size: "x".join(map(str, size)))
def test_the_corners_of_the_picture_come_back(size):
    """What the picture takes up in the network input is the whole picture again, its middle the middle: each axis has its own scale."""
    fit = geometry(*size, SHAPES)
    (width, height), (left, top) = size, (fit.left, fit.top)
    right, bottom = left + fit.resized[0], top + fit.resized[1]
    network = np.array([[left, top, right, bottom], [left, top, (left + right) / 2, (top + bottom) / 2]], np.float32)
    np.testing.assert_allclose(
        to_picture(network, fit), [[0, 0, width, height], [0, 0, width / 2, height / 2]], rtol=1e-6
    )


def test_a_blank_batch_is_all_padding():
    """Zeros for floats, the mean for bytes: what a letterbox puts around a picture."""
    floats = blank(SHAPES, 2)
    assert (floats.shape, floats.dtype) == ((2, 3, 256, 427), np.float32)
    assert not floats.any()
    pixels = blank(SHAPES, 2, InputLayout.UINT8_NHWC)
    assert (pixels.shape, pixels.dtype) == ((2, 256, 427, 3), np.uint8)
    assert pixels.flags.c_contiguous
    assert (pixels == (103, 116, 123)).all()


@pytest.mark.parametrize("layout", list(InputLayout), ids=lambda layout: layout.name)
def test_cleared_slots_are_blank(layout):
    """One slot or several, whatever they held."""
    tensor = np.full(SHAPES.input_shape(3, layout), 77, layout.dtype)
    clear(SHAPES, tensor[0])
    clear(SHAPES, tensor[1:])
    np.testing.assert_array_equal(tensor, blank(SHAPES, 3, layout))
