"""AIPP is read, refused and computed as the ATC user guide says."""

import re
from dataclasses import replace

import numpy as np
import pytest

from fcos_lib.ascend.atc_command import aipp_config
from fcos_lib.contract import SHAPES
from fcos_lib.emulator import om
from fcos_lib.emulator.atc_errors import AtcError
from fcos_lib.emulator.kernels import read_aipp_config
from fcos_lib.stream.letterbox import letterbox, letterbox_uint8
from tests.unit.emulator.runtime import open_session, run

STATIC = "aipp_mode: static input_format: RGB888_U8 "
NORMAL = STATIC + "mean_chn_0: 102 mean_chn_1: 115 mean_chn_2: 122 min_chn_0: 0.5 min_chn_1: 0.25 min_chn_2: 0.75"


@pytest.fixture
def config(tmp_path):
    """Writes an aipp_op with these fields; the path of the file."""

    def write(fields):
        path = tmp_path / "aipp.cfg"
        path.write_text(f"# a comment\naipp_op {{ {fields} # another\n}}\n")
        return path

    return write


@pytest.fixture
def operator(config):
    """The operator of an aipp_op for an input of [1, 3, rows, columns]."""
    return lambda fields, rows=16, columns=16: read_aipp_config(config(fields), (1, 3, rows, columns))


@pytest.fixture
def pixels():
    """Two pictures: uint8[2, 16, 16, 3]."""
    return np.random.default_rng(3).integers(0, 256, (2, 16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    ("fields", "code", "words"),
    [
        ("input_format: RGB888_U8", "E10055", "aipp_mode: static for this input, it is not set"),
        ("aipp_mode: static", "E10055", "input_format: RGB888_U8 for this input, it is not set"),
        ("aipp_mode: dynamic input_format: RGB888_U8", "E10055", "it is dynamic"),
        (STATIC + "mean_chn_1: 256", "E10052", "mean_chn_1 is 256, the value range is [0, 255]"),
        (STATIC + "mean_chn_0: 102.9801", "E10052", "Expected integer, got: 102.9801"),
        (STATIC + "min_chn_0: 255.5", "E10052", "min_chn_0 is 255.5"),
        (STATIC + "min_chn_0: abc", "E10052", "Expected double"),
        (STATIC + "var_reci_chn_2: 70000", "E10052", "var_reci_chn_2 is 70000"),
        (STATIC + "rbuv_swap_switch: maybe", "E10052", "boolean"),
        (STATIC + "src_image_size_w: 20", "E10055", "src_image_size_w: 16 for this input, it is 20"),
        (STATIC + "related_input_rank: 1", "E10055", "related_input_rank: 0 for this input, it is 1"),
        (STATIC + "crop true", "E10052", "near 'crop true'"),
        (STATIC + "mean_chn_0: 1 mean_chn_0: 2", "E10052", "a field twice"),
        (STATIC + "} aipp_op {" + STATIC, "E10052", "is not one 'aipp_op"),
        (STATIC + "csc_switch: true", "E10055", "csc_switch: false for this input, it is true"),
        ("aipp_mode: static input_format: YUV420SP_U8", "E10055", "it is YUV420SP_U8"),
        (STATIC + "padding: true", "E10055", "AIPP's padding"),
    ],
)
def test_a_wrong_config_is_refused(operator, fields, code, words):
    """With the Graph Engine's reason where it has one; what is not imitated is never ignored, the numbers would be wrong."""
    with pytest.raises(AtcError, match=re.escape(words)) as caught:
        operator(fields)
    assert caught.value.code == code


def test_a_missing_file_is_refused(tmp_path):
    """E10001 with the system's reason."""
    with pytest.raises(AtcError, match=r"E10001.*No such file or directory"):
        read_aipp_config(tmp_path / "none.cfg", (1, 3, 16, 16))


def test_the_formula_is_the_guides(operator, pixels):
    """(pixel - mean - min) x factor, channel by channel, planes out, in fp16 values."""
    network_input = operator(NORMAL + " var_reci_chn_0: 0.5").apply(pixels)
    expected = pixels.transpose(0, 3, 1, 2).astype(np.float64) - np.array([102.5, 115.25, 122.75])[:, None, None]
    expected[:, 0] *= 0.5
    assert network_input.dtype == np.float32
    np.testing.assert_array_equal(network_input, expected)
    np.testing.assert_array_equal(network_input, network_input.astype(np.float16))


def test_channels_are_swapped_before_the_mean_is_subtracted(operator, pixels):
    """mean_chn_0 belongs to what comes first after the swap."""
    swapped = operator(NORMAL + " rbuv_swap_switch: true").apply(pixels)
    np.testing.assert_array_equal(swapped, operator(NORMAL).apply(np.ascontiguousarray(pixels[..., ::-1])))


def test_the_whole_mean_in_min_chn_loses_its_fraction(operator):
    """fp16 makes 103, 115.9375 and 122.75 of it; split into integer and fraction, 0.0003 is lost at most."""
    mean = SHAPES.mean_bgr
    grey = np.repeat(np.arange(100, 126, dtype=np.uint8), 30).reshape(1, 26, 10, 3)
    exact = grey.transpose(0, 3, 1, 2) - np.array(mean)[:, None, None]
    whole = " ".join(f"min_chn_{channel}: {value}" for channel, value in enumerate(mean))
    parts = " ".join(
        f"mean_chn_{channel}: {int(value)} min_chn_{channel}: {value % 1:.4f}" for channel, value in enumerate(mean)
    )
    lost = np.abs(operator(STATIC + whole, 26, 10).apply(grey) - exact)[0].max((1, 2))
    np.testing.assert_allclose(lost, [0.0199, 0.009, 0.0217], atol=0.001)
    near = np.abs(exact) < 2  # beyond, the result's own fp16 step is coarser than the constants'
    worst = np.abs(operator(STATIC + parts, 26, 10).apply(grey) - exact)[near].max()
    assert worst < 0.0011, f"integer and fraction apart lose {worst:.5f}, allowed are 0.0011"


def both_inputs(contract, folder):
    """A portrait for a contract: the network input from floats, and what AIPP makes of the bytes."""
    path = folder / "aipp.cfg"
    path.write_text(aipp_config(contract))
    device = read_aipp_config(path, contract.input_shape(1))
    picture = np.random.default_rng(5).integers(0, 256, (480, 320, 3), np.uint8)
    floats = np.empty(contract.input_shape(1)[1:], np.float32)
    pixels = np.empty((contract.height, contract.width, 3), np.uint8)
    inside_letterbox = letterbox(picture, contract, floats)
    letterbox_uint8(picture, contract, pixels)
    return floats, pixels, inside_letterbox, lambda image: device.apply(image[None])[0]


@pytest.fixture
def letterboxed(tmp_path):
    """The same for the embedded contract."""
    return both_inputs(SHAPES, tmp_path)


RGB = replace(SHAPES, mean_bgr=(103.53, 116.28, 123.675), std_bgr=(57.375, 57.12, 58.395), channel_order="rgb")


def test_swap_and_deviation_come_to_the_same_on_the_device(tmp_path):
    """RGB planes over their deviation: within what fp16 makes of a factor and of values up to 2.7."""
    floats, pixels, inside_letterbox, device = both_inputs(RGB, tmp_path)
    difference = np.abs(device(pixels) - floats)
    inside = difference[:, inside_letterbox.rows, inside_letterbox.columns].max()
    assert inside <= 0.005, f"the picture differs by {inside:.5f}, two fp16 steps at 2.7 and a factor's are 0.005"
    assert difference.max() <= 0.01, f"the border differs by {difference.max():.5f}, half a grey level is 0.009"


@pytest.mark.parametrize(
    "wrong",
    [{"channel_order": "bgr"}, {"std_bgr": (1.0, 1.0, 1.0)}, {"std_bgr": RGB.std_bgr[::-1]}, {"mean_bgr": RGB.mean_bgr[::-1]}],
    ids=["channels not swapped", "not divided", "deviations turned", "means turned"],
)  # fmt: skip
def test_a_config_of_another_contract_shows(tmp_path, wrong):
    """Each switch that a config can have wrong moves the input by more than rounding does."""
    floats, *_ = both_inputs(RGB, tmp_path)
    _, pixels, inside_letterbox, device = both_inputs(replace(RGB, **wrong), tmp_path)
    difference = np.abs(device(pixels) - floats)[:, inside_letterbox.rows, inside_letterbox.columns].max()
    assert difference > 0.03, f"the picture differs by {difference:.5f} only, rounding has 0.005"


def test_the_network_sees_what_it_sees_from_floats(letterboxed):
    """Config, letterbox and arithmetic together: inside to fp16's rounding, around it a quarter of a grey level."""
    floats, pixels, inside_letterbox, device = letterboxed
    difference = np.abs(device(pixels) - floats.astype(np.float16).astype(np.float32))
    inside = difference[:, inside_letterbox.rows, inside_letterbox.columns].max()
    assert inside <= 0.125, f"the picture differs by {inside}, one fp16 step above 128 is 0.125"
    assert difference.max() < 0.23, f"the border differs by {difference.max()}, allowed are 0.23"


def test_padding_with_zeros_is_visible(letterboxed):
    """Black bars instead of the mean: -103, -116 and -123 where the network expects zeros."""
    floats, pixels, inside_letterbox, device = letterboxed
    pixels[:, : inside_letterbox.left] = 0
    edge = np.abs(device(pixels) - floats)[:, :, : inside_letterbox.left]
    np.testing.assert_allclose(edge.min((1, 2)), [102.98, 115.95, 122.77], atol=0.07)


@pytest.fixture
def om_with_aipp(compile_om, config):
    """The tiny detector compiled with AIPP."""
    return compile_om(output="aipp", insert_op_conf=str(config(NORMAL)))


def test_the_input_of_the_om_is_bytes_in_nhwc(om_with_aipp, play):
    """Whatever `--input_format` and `--input_shape` say: type, format, shape and a quarter of the bytes."""
    play("")
    (given,) = open_session(om_with_aipp).get_inputs()
    assert (given.name, given.datatype, int(given.format)) == ("input", 4, 1)  # ACL's uint8 and NHWC
    assert (given.shape, given.size, given.realsize) == ([2, 16, 16, 3], 1536, 1536)


def test_an_om_with_aipp_survives_its_file(om_with_aipp, tmp_path):
    """The operator is part of the header."""
    loaded = om.read(om_with_aipp)
    assert loaded.header.aipp.mean == [102, 115, 122]
    om.write(tmp_path / "copy.om", loaded)
    assert om.read(tmp_path / "copy.om") == loaded


def test_bytes_give_what_their_floats_give(compile_om, om_with_aipp, pixels):
    """The graph behind AIPP is the graph: equal results for inputs that fp16 holds exactly."""
    floats = pixels.transpose(0, 3, 1, 2) - np.array([102.5, 115.25, 122.75], np.float32)[:, None, None]
    from_floats = run(open_session(compile_om()), np.ascontiguousarray(floats))
    for output, expected in zip(run(open_session(om_with_aipp), pixels), from_floats, strict=True):
        np.testing.assert_array_equal(output, expected)


def test_the_runtime_counts_bytes_and_nothing_else(om_with_aipp, pixels, capfd):
    """The float batch of old fails by its size; planes of the right size run, and nobody says a word."""
    session = open_session(om_with_aipp)
    with pytest.raises(RuntimeError, match="general failure"):
        run(session, np.zeros((2, 3, 16, 16), np.float32))
    assert "in size:6144 needsize:1536 not match" in capfd.readouterr().out
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    assert not np.array_equal(run(session, planes)[1], run(session, pixels)[1])


def test_an_invalid_config_fails_the_compilation(run_atc, command, config, tmp_path):
    """Exit 255, the block with its code, no OM."""
    options = command | {"--insert_op_conf": str(config(STATIC + "mean_chn_0: 300"))}
    status, out, _ = run_atc(*(f"{name}={value}" for name, value in options.items()))
    assert status == 255
    assert re.search(r"^E10052: \[PID: \d+\] \S+ AIPP configuration is invalid\. Reason: mean_chn_0 is 300", out, re.M)
    assert not (tmp_path / "out.om").exists()
