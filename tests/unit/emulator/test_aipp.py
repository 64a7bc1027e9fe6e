"""AIPP is read, refused and computed as the ATC user guide says."""

import re

import numpy as np
import pytest

from fcos_lib.ascend.atc_command import aipp_config
from fcos_lib.contract import SHAPES
from fcos_lib.emulator import aclruntime, om
from fcos_lib.emulator.aipp import parse, read_config, settle
from fcos_lib.emulator.atc_errors import AtcError
from fcos_lib.stream.letterbox import letterbox, letterbox_uint8

STATIC = "aipp_mode: static input_format: RGB888_U8 "
NORMAL = STATIC + "mean_chn_0: 102 mean_chn_1: 115 mean_chn_2: 122 min_chn_0: 0.5 min_chn_1: 0.25 min_chn_2: 0.75"


@pytest.fixture
def config(tmp_path):
    """Writes an aipp_op with these fields; the path of the file."""

    def write(fields):
        path = tmp_path / "aipp.cfg"
        path.write_text(f"aipp_op {{ {fields} }}\n")
        return path

    return write


@pytest.fixture
def operator(config):
    """The operator of an aipp_op for an input of [1, 3, rows, columns]."""

    def make(fields, rows=16, columns=16):
        (found,) = settle(read_config(config(fields)), [(1, 3, rows, columns)])
        return found

    return make


@pytest.fixture
def pixels():
    """Two pictures: uint8[2, 16, 16, 3]."""
    return np.random.default_rng(3).integers(0, 256, (2, 16, 16, 3), np.uint8)


def code_of(call, *arguments):
    """The error block of a refusal."""
    with pytest.raises(AtcError) as caught:
        call(*arguments)
    return str(caught.value)


def test_the_text_format_is_read():
    """Comments, blanks or none, separators, several blocks and lists."""
    first, second = parse(
        "# first\naipp_op{aipp_mode:static # why\n var_reci_chn_0 :0.5;var_reci_chn_0: 1e-3, crop: TRUE}\n"
        'aipp_op: { related_input_rank: 0x1 related_input_name: "data" }'
    )
    assert first.values == {"aipp_mode": ["static"], "var_reci_chn_0": [0.5, 0.001], "crop": [True]}
    assert list(first.repeated()) == ["var_reci_chn_0"]
    assert second.values == {"related_input_rank": [1], "related_input_name": ["data"]}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("aipp_op { crop: true", 'Expected "}"'),
        ("aipp_op crop", 'Expected "{"'),
        ("aipp { }", 'no field named "aipp"'),
        ("aipp_op { means: 1 }", 'no field named "means"'),
        ("aipp_op { crop true }", 'Expected ":"'),
        ("aipp_op { crop: maybe }", "boolean"),
        ("aipp_op { mean_chn_0: 102.9801 }", "Expected integer, got: 102.9801"),
        ("aipp_op { min_chn_0: abc }", "Expected double"),
        ("aipp_op { crop: true crop: true }", "specified multiple times"),
        ('aipp_op { input_format: "x }', "Invalid character"),
    ],
)
def test_what_cannot_be_parsed_says_why(text, words):
    """A fraction in mean_chn is the classic mistake: the field is an integer."""
    with pytest.raises(ValueError, match=re.escape(words)):
        parse(text)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("input_format: RGB888_U8", "aipp_mode must be configured as static or dynamic"),
        ("aipp_mode: sometimes input_format: RGB888_U8", "aipp_mode must be configured"),
        ("aipp_mode: static", "Input format of AIPP conf must be set in static aipp"),
        ("aipp_mode: static input_format: BGR888_U8", "Input format of AIPP conf"),
        ("aipp_mode: dynamic", "max_src_image_size must be set"),
        (STATIC + "mean_chn_1: 256", "mean_chn_1 is 256, the value range is [0, 255]"),
        (STATIC + "mean_chn_1: -1", "mean_chn_1 is -1"),
        (STATIC + "min_chn_0: 255.5", "min_chn_0 is 255.5"),
        (STATIC + "var_reci_chn_2: 70000", "var_reci_chn_2 is 70000"),
        (STATIC + "var_reci_chn_0: 1 var_reci_chn_0: 2", "var_reci_chn_0 can not be configured repeatedly"),
        (STATIC + "src_image_size_w: -5", "Src_image_size_w must not be configured smaller than 0"),
        (STATIC + "src_image_size_w: 4097", "src_image_size_w is 4097"),
        (STATIC + "mean_chn_0: 1.5", "Expected integer"),
    ],
)
def test_an_invalid_config_is_e10052(config, fields, words):
    """With the Graph Engine's reason where it has one."""
    found = code_of(read_config, config(fields))
    assert found.startswith("E10052: AIPP configuration is invalid. Reason: ")
    assert words in found


@pytest.mark.parametrize(
    "fields",
    [
        STATIC + "csc_switch: true",
        STATIC + "resize: true",
        STATIC + "crop: true",
        STATIC + "padding: true",
        "aipp_mode: static input_format: YUV420SP_U8",
        "aipp_mode: dynamic max_src_image_size: 752640",
        STATIC + "input_edge_idx: 0",
    ],
)
def test_what_is_not_imitated_is_refused(config, fields):
    """Never ignored: the numbers would be wrong."""
    assert code_of(read_config, config(fields)).startswith("E10055: ")


def test_a_file_that_is_missing_or_huge_is_refused(config, tmp_path):
    """E10001 with the system's reason; E10052 beyond 64 KiB."""
    assert "E10001" in code_of(read_config, tmp_path / "none.cfg")
    path = config(STATIC)
    path.write_text(path.read_text() + "#" * 65536)
    assert "more than 65536" in code_of(read_config, path)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (STATIC + "src_image_size_w: 20", "aipp output_width:20"),
        (STATIC + "related_input_rank: 1", "Can not find the data node by index 1"),
    ],
)
def test_sizes_have_to_fit_the_model(operator, fields, words):
    """What comes out of AIPP is what the graph takes."""
    found = code_of(operator, fields)
    assert found.startswith("E10052: ")
    assert words in found


def test_two_operators_for_one_input_are_refused(tmp_path):
    """Each input has one."""
    path = tmp_path / "two.cfg"
    path.write_text(f"aipp_op {{ {STATIC} }} aipp_op {{ {STATIC} }}")
    assert "same postion" in code_of(settle, read_config(path), [(1, 3, 16, 16)])


def test_the_formula_is_the_guides(operator, pixels):
    """(pixel - mean - min) x factor, channel by channel, planes out, in fp16 values."""
    step = operator(NORMAL + " var_reci_chn_0: 0.5")
    found = step.apply(pixels)
    planes = pixels.transpose(0, 3, 1, 2).astype(np.float64)
    expected = planes - np.array([102.5, 115.25, 122.75])[:, None, None]
    expected[:, 0] *= 0.5
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(found, found.astype(np.float16))


def test_channels_are_swapped_before_the_mean_is_subtracted(operator, pixels):
    """mean_chn_0 belongs to what comes first after the swap."""
    swapped = operator(NORMAL + " rbuv_swap_switch: true").apply(pixels)
    np.testing.assert_array_equal(swapped, operator(NORMAL).apply(np.ascontiguousarray(pixels[..., ::-1])))


def test_the_whole_mean_in_min_chn_loses_its_fraction(operator, pixels):
    """fp16 makes 103, 115.9375 and 122.75 of it; split into integer and fraction, 0.0003 is lost at most."""
    mean = SHAPES.mean_bgr
    grey = np.repeat(np.arange(100, 126, dtype=np.uint8), 30).reshape(1, 26, 10, 3)
    exact = grey.transpose(0, 3, 1, 2) - np.array(mean)[:, None, None]
    whole = operator(STATIC + " ".join(f"min_chn_{c}: {value}" for c, value in enumerate(mean)), 26, 10)
    split = operator(
        STATIC + " ".join(f"mean_chn_{c}: {int(value)} min_chn_{c}: {value % 1:.4f}" for c, value in enumerate(mean)),
        26,
        10,
    )
    lost = np.abs(whole.apply(grey) - exact)[0].max((1, 2))
    np.testing.assert_allclose(lost, [0.0199, 0.009, 0.0217], atol=0.001)
    near = np.abs(exact) < 2  # beyond, the result's own fp16 step is coarser than the constants'
    assert np.abs(split.apply(grey) - exact)[near].max() < 0.0011


@pytest.fixture
def letterboxed(tmp_path):
    """A portrait for the embedded contract: the network input from floats, and what AIPP makes of the bytes."""
    path = tmp_path / "aipp.cfg"
    path.write_text(aipp_config(SHAPES))
    (step,) = settle(read_config(path), [SHAPES.input_shape(1)])
    picture = np.random.default_rng(5).integers(0, 256, (480, 320, 3), np.uint8)
    floats = np.empty(SHAPES.input_shape(1)[1:], np.float32)
    pixels = np.empty((SHAPES.height, SHAPES.width, 3), np.uint8)
    place = letterbox(picture, SHAPES, floats)
    letterbox_uint8(picture, SHAPES, pixels)
    return floats, pixels, place, lambda image: step.apply(image[None])[0]


def test_the_network_sees_what_it_sees_from_floats(letterboxed):
    """Config, letterbox and arithmetic together: inside to fp16's rounding, around it a quarter of a grey level."""
    floats, pixels, place, device = letterboxed
    difference = np.abs(device(pixels) - floats.astype(np.float16).astype(np.float32))
    assert difference[:, place.rows, place.columns].max() <= 0.125  # one fp16 step above 128
    assert difference.max() < 0.23


def test_padding_with_zeros_is_visible(letterboxed):
    """Black bars instead of the mean: -103, -116 and -123 where the network expects zeros."""
    floats, pixels, place, device = letterboxed
    pixels[:, : place.left] = 0
    edge = np.abs(device(pixels) - floats)[:, :, : place.left]
    np.testing.assert_allclose(edge.min((1, 2)), [102.98, 115.95, 122.77], atol=0.07)


@pytest.fixture
def om_with_aipp(compile_om, config):
    """The tiny detector compiled with AIPP."""
    return compile_om(output="aipp", insert_op_conf=str(config(NORMAL)))


@pytest.mark.parametrize("generation", ["new", "old"])
def test_the_input_of_the_om_is_bytes_in_nhwc(om_with_aipp, play, generation):
    """Whatever `--input_format` and `--input_shape` say: type, format, shape and a quarter of the bytes."""
    play(f"generation={generation}")
    session = aclruntime.InferenceSession(str(om_with_aipp), 0, aclruntime.session_options())
    (given,) = session.get_inputs()
    assert (given.name, given.datatype, int(given.format)) == ("input", aclruntime.dtype.uint8, 1)
    assert (given.shape, given.size, given.realsize) == ([2, 16, 16, 3], 1536, 1536)


def test_an_om_with_aipp_survives_its_file(om_with_aipp, tmp_path):
    """The operators are part of the header."""
    found = om.read(om_with_aipp)
    assert found.header.aipp[0].mean == (102, 115, 122)
    om.write(tmp_path / "copy.om", found)
    assert om.read(tmp_path / "copy.om") == found


def run(path, array):
    """Run an OM of the emulator on one array; every output as an array."""
    session = aclruntime.InferenceSession(str(path), 0, aclruntime.session_options())
    tensors = session.run([], [aclruntime.BaseTensor(array.ctypes.data, array.nbytes)])
    for tensor in tensors:
        tensor.to_host()
    return [np.array(tensor) for tensor in tensors]


def test_bytes_give_what_their_floats_give(compile_om, om_with_aipp, pixels):
    """The graph behind AIPP is the graph: equal results for inputs that fp16 holds exactly."""
    floats = pixels.transpose(0, 3, 1, 2) - np.array([102.5, 115.25, 122.75], np.float32)[:, None, None]
    for found, expected in zip(run(om_with_aipp, pixels), run(compile_om(), np.ascontiguousarray(floats)), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_runtime_counts_bytes_and_nothing_else(om_with_aipp, pixels, capfd):
    """The float batch of old fails by its size; planes of the right size run, and nobody says a word."""
    with pytest.raises(RuntimeError, match="general failure"):
        run(om_with_aipp, np.zeros((2, 3, 16, 16), np.float32))
    assert "in size:6144 needsize:1536 not match" in capfd.readouterr().out
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    assert not np.array_equal(run(om_with_aipp, planes)[1], run(om_with_aipp, pixels)[1])


def test_an_invalid_config_fails_the_compilation(run_atc, command, config, tmp_path):
    """Exit 255, the block with its code, no OM."""
    options = command | {"--insert_op_conf": str(config(STATIC + "mean_chn_0: 300"))}
    status, out, _ = run_atc(*(f"{name}={value}" for name, value in options.items()))
    assert status == 255
    assert re.search(r"^E10052: \[PID: \d+\] \S+ AIPP configuration is invalid\. Reason: mean_chn_0 is 300", out, re.M)
    assert not (tmp_path / "out.om").exists()
