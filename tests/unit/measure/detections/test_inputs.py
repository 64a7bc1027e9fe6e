"""The recipe's input is made by plain arithmetic, and what the stream gives the network is held to it value by value."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from fcos_lib.contract import SHAPES, InputLayout
from fcos_lib.measure import Measurement
from fcos_lib.measure.detections.inputs import network_inputs, recipe_input
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.feed import batches

TINY = replace(
    SHAPES, height=5, width=8, mean_bgr=(10.0, 20.0, 30.0), std_bgr=(2.0, 5.0, 3.0), channel_order="rgb"
)  # fmt: skip
LAYOUTS = tuple(InputLayout)
VALUES = 3 * SHAPES.height * SHAPES.width


def drawn(folder, pixels):
    """A picture of these BGR pixels, kept without loss."""
    pixels = np.array(pixels, np.uint8)
    path = folder / "drawn.png"
    assert cv2.imwrite(str(path), pixels), f"{path} was not written"
    return Picture(1, path, pixels.shape[1], pixels.shape[0])


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize(
    ("size", "place"),
    [
        ((2, 2), (1, 0, 5, 5)),
        ((3, 1), (0, 1, 8, 2)),
        ((20, 1), (0, 2, 8, 1)),
        ((1, 20), (3, 0, 1, 5)),
        ((80, 20), (0, 1, 8, 2)),
    ],
    ids=["odd_pixel_to_the_right", "floored_and_odd_pixel_below", "one_row_at_least", "one_column_at_least", "smaller"],
)
def test_a_picture_of_one_colour_lies_where_it_should(tmp_path, size, place, order):
    """40, 50 and 60 less 10, 20 and 30, by 2, 5 and 3; zeros around it, or the mean around the colour itself."""
    picture, contract = drawn(tmp_path, np.full((*size[::-1], 3), (40, 50, 60))), replace(TINY, channel_order=order)
    left, top, width, height = place
    floats, pixels = np.zeros((3, 5, 8)), np.full((5, 8, 3), (10, 20, 30))
    values = (10, 6, 15) if order == "rgb" else (15, 6, 10)
    floats[:, top : top + height, left : left + width] = np.array(values)[:, None, None]
    pixels[top : top + height, left : left + width] = (40, 50, 60)
    for layout, expected in ((InputLayout.FLOAT_NCHW, floats), (InputLayout.UINT8_NHWC, pixels)):
        whole, *where = recipe_input(picture, contract, layout)
        assert tuple(where) == place, f"the picture lies at {where} of {layout.value}"
        assert whole.dtype == layout.dtype, f"{layout.value} came as {whole.dtype}"
        np.testing.assert_array_equal(whole, expected, f"{size[0]} x {size[1]} pixels as {layout.value}, {order}")


def test_a_picture_is_made_larger_by_straight_lines(tmp_path):
    """Two columns become five, whose centres lie 0, 0.1, 0.5, 0.9 and 1 of the way from the one to the other."""
    picture = drawn(tmp_path, [[(10, 20, 60), (110, 60, 70)]] * 2)
    whole, left, _, width, _ = recipe_input(picture, TINY, InputLayout.UINT8_NHWC)
    expected = [(10, 20, 60), (20, 24, 61), (60, 40, 65), (100, 56, 69), (110, 60, 70)]
    assert whole[:, left : left + width].tolist() == [[list(pixel) for pixel in expected]] * 5


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_stream_gives_the_network_what_the_recipe_does(dataset, layout):
    """Five pictures in two batches: no value differs, and boxes come back to a thousandth of a pixel."""
    pictures = dataset.pictures[:5]
    wrong, way_back = network_inputs(batches(pictures, SHAPES, 3, layout), SHAPES, layout)
    assert wrong == Measurement("wrong network inputs", 0.0, "pictures", 5, "", gate="inputs.wrong")
    name, where = "inverse letterbox error", way_back.where
    assert way_back == Measurement(name, pytest.approx(0, abs=1e-3), "px", 5, where, gate="inputs.way_back")
    assert where in {picture.name for picture in pictures}


@pytest.mark.parametrize(("count", "end"), [(3, ""), (4, "; ...")])
def test_wrong_inputs_are_counted_and_three_are_named(dataset, count, end):
    """The first of them in two values, the others in one; a wrong value in the padding of a last batch is nobody's."""
    pictures = dataset.pictures[:5]
    (batch,) = batches(pictures, SHAPES, 6)
    batch.tensor[:count, 1, 100, 200] += 1
    batch.tensor[[0, 5], 2, 7, 7] += 1
    wrong, _ = network_inputs([batch], SHAPES, InputLayout.FLOAT_NCHW)
    named = [
        f"{picture.name} in {values} of {VALUES:,} values"
        for picture, values in zip(pictures[:3], (2, 1, 1), strict=True)
    ]
    assert (wrong.value, wrong.n, wrong.where) == (count, 5, "; ".join(named) + end)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda fit: {"left": fit.left + 3}, lambda fit: 3 * fit.picture_width / fit.resized_width),
        (lambda fit: {"top": fit.top - 5}, lambda fit: 5 * fit.picture_height / fit.resized_height),
        (lambda fit: {"resized_width": 2 * fit.resized_width}, lambda fit: 3 / 8 * fit.picture_width),
        (lambda fit: {"resized_height": 2 * fit.resized_height}, lambda fit: 3 / 8 * fit.picture_height),
        (
            lambda fit: {"resized_width": 2 * fit.resized_width, "left": fit.left - fit.resized_width},
            lambda fit: 3 / 8 * fit.picture_width,
        ),
        (
            lambda fit: {"resized_height": 2 * fit.resized_height, "top": fit.top - fit.resized_height},
            lambda fit: 3 / 8 * fit.picture_height,
        ),
    ],
    ids=["left", "top", "width", "height", "width_from_the_right", "height_from_below"],
)
def test_the_largest_error_of_the_way_back_is_told_with_its_picture(dataset, change, error):
    """A box around the middle half: at twice the scale its end at 3/4 comes back at 3/8, or its start at 1/4 at 5/8."""
    pictures = dataset.pictures[:3]
    (batch,) = batches(pictures, SHAPES, 3)
    fit = batch.places[1]
    batch = replace(batch, places=(batch.places[0], replace(fit, **change(fit)), batch.places[2]))
    _, way_back = network_inputs([batch], SHAPES, InputLayout.FLOAT_NCHW)
    assert (way_back.value, way_back.where) == (pytest.approx(error(fit), rel=1e-4), pictures[1].name)


def test_no_batch_is_no_measurement():
    """n is 0, which no verdict can rest on."""
    for measurement in network_inputs([], SHAPES, InputLayout.FLOAT_NCHW):
        assert (measurement.value, measurement.n, measurement.where) == (0, 0, ""), measurement
