"""A graph that is not the checkpoint's network is refused where it is exported, before anything is compared with it."""

from functools import partial

import onnx
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.errors import ExportError
from fcos_lib.exported import check_export
from tests.gateproof.defects import network

pytest.importorskip("torch", reason="needs the extra 'export'")


@pytest.mark.parametrize(
    ("edit", "output"),
    [
        (network.half_stride, "boxes"),
        (network.centerness_lost, "boxes"),
        (network.head_untrained, "boxes"),
        (partial(network.level_scale, 1.01, 4), "boxes"),
        (partial(network.score_factor, 0.999), "scores"),
        (network.class_rolled, "scores"),
        (network.one_bit, "boxes"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "func", value).__name__,
)
def test_another_network_is_refused(detector, trunk, edit, output):
    """One sentence says which tensor of which level differs, and by how much."""
    model = onnx.ModelProto()
    model.CopyFrom(trunk)
    edit(model, SHAPES)
    with pytest.raises(ExportError, match=f"does not compute what the checkpoint does: {output} of P. differ by up to"):
        check_export(model, detector, SHAPES)


def test_the_network_itself_is_not(detector, trunk):
    """The same weights in torch and onnxruntime differ by rounding only."""
    check_export(trunk, detector, SHAPES)
