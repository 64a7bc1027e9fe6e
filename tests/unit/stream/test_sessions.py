"""Sessions refuse wrong tensors before and after the run."""

import numpy as np
import pytest

from fcos_lib.contract import SHAPES, InputLayout
from fcos_lib.errors import SessionError
from fcos_lib.stream.sessions import OnnxSession, Outputs, check_input, check_outputs


def outputs(size=2):
    """Empty, valid outputs."""
    return np.zeros((size, 100), np.int64), np.zeros((size, 100, 5), np.float32)


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (np.zeros((2, 3, 256, 426), np.float32), "shape"),
        (np.zeros((1, 3, 256, 427), np.float32), "shape"),
        (np.zeros((2, 3, 256, 427), np.float64), "dtype float64, expected float32"),
        (np.zeros((2, 256, 427, 3), np.float32).transpose(0, 3, 1, 2), "not contiguous"),
        (np.zeros((), np.float32), "shape"),
    ],
    ids=["width", "batch", "dtype", "layout", "scalar"],
)
def test_a_wrong_input_is_refused(batch, words):
    """aclruntime would only count bytes, so shape, type and layout are ours to check."""
    with pytest.raises(SessionError, match=words):
        check_input(batch, SHAPES, 2)


def test_a_right_input_is_accepted():
    """No false alarm."""
    check_input(np.zeros((2, 3, 256, 427), np.float32), SHAPES, 2)


def test_a_float_batch_for_an_aipp_model_is_one_clear_error():
    """Both layouts are named, not a list of differences; and the other way round."""
    floats, pixels = np.zeros((2, 3, 256, 427), np.float32), np.zeros((2, 256, 427, 3), np.uint8)
    for batch, layout, found in (
        (floats, InputLayout.UINT8_NHWC, "is float32 NCHW, and this model takes uint8 NHWC (AIPP)"),
        (pixels, InputLayout.FLOAT_NCHW, "is uint8 NHWC (AIPP), and this model takes float32 NCHW"),
    ):
        with pytest.raises(SessionError) as caught:
            check_input(batch, SHAPES, 2, layout)
        assert caught.value.found == f"input 'input' {found}"
        assert "layout" in caught.value.advice


def test_bytes_for_an_aipp_model_are_checked_like_floats():
    """A right batch passes; planes of the same byte count do not."""
    check_input(np.zeros((2, 256, 427, 3), np.uint8), SHAPES, 2, InputLayout.UINT8_NHWC)
    with pytest.raises(SessionError, match=r"shape \(2, 3, 256, 427\), expected \(2, 256, 427, 3\)"):
        check_input(np.zeros((2, 3, 256, 427), np.uint8), SHAPES, 2, InputLayout.UINT8_NHWC)


def test_nan_from_the_device_is_named_with_its_place():
    """NaN never becomes a detection."""
    labels, dets = outputs()
    dets[1, 7, 2] = np.nan
    with pytest.raises(SessionError, match=r"first at \[1, 7, 2\]: nan"):
        check_outputs(labels, dets, SHAPES, 2)


def test_swapped_outputs_are_refused():
    """`dets` where `labels` should be is told by shape and type."""
    labels, dets = outputs()
    with pytest.raises(SessionError, match="order of the outputs"):
        check_outputs(dets, labels, SHAPES, 2)


def test_int32_labels_are_refused():
    """The contract promises int64."""
    labels, dets = outputs()
    with pytest.raises(SessionError, match="int32"):
        check_outputs(labels.astype(np.int32), dets, SHAPES, 2)


def test_padding_is_told_by_score_and_never_by_label():
    """Unused rows may carry any class id."""
    labels, dets = outputs(1)
    labels[:] = 5
    dets[0, 0] = (1, 2, 3, 4, 0.9)
    assert len(Outputs(labels, dets).detections(0)) == 1


def test_a_file_that_is_no_onnx_is_one_clear_error(tmp_path):
    """onnxruntime's own exception types stay inside."""
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(SessionError, match="cannot load"):
        OnnxSession(path, SHAPES)
