"""A graph that is not the checkpoint's network is refused where it is exported, before anything is compared with it."""

from functools import partial

import onnx
import pytest

from fcos_lib.contract import COCO_R50, SHAPES
from fcos_lib.errors import ExportError
from fcos_lib.exported import check_export
from fcos_lib.stream.dataset import open_dataset
from fcos_lib.stream.feed import load_batch
from fixtures.settings import EMBEDDED
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


def test_the_network_itself_is_not(detector, trunk, record_property):
    """The same weights in torch and onnxruntime differ by rounding only."""
    shown(check_export(trunk, detector, SHAPES), record_property)


@pytest.mark.slow
def test_nor_is_one_at_full_size(record_property):
    """Seeded weights of the published architecture, whose sums are longer and whose levels are cut by a TopK."""
    import torch

    from fcos_lib.model.export import export_trunk
    from tests.unit.seeded import seeded_detector

    batch = load_batch(open_dataset(EMBEDDED).pictures[:2], COCO_R50, 2)
    network = seeded_detector(COCO_R50, torch.from_numpy(batch.tensor))
    shown(check_export(export_trunk(network, COCO_R50), network, COCO_R50), record_property)


def shown(largest, record_property):
    """On the terminal with -s, and in JUnit."""
    for output, value in largest.items():
        record_property(f"largest difference of {output}", value)
        print(f"\nlargest difference of {output}: {value:.2g}")
