"""Only plain weights of the right architecture get in; files that are none have their cases in tests/unit/hostile/test_files.py."""

import hashlib

import pytest

from fcos_lib.contract import COCO_R50, SHAPES
from fcos_lib.errors import CheckpointError
from fcos_lib.model.checkpoint import RENAMED, read_checkpoint, verify_name
from fcos_lib.model.detector import load_detector
from fixtures.settings import EMBEDDED_CHECKPOINT, EMBEDDED_CHECKPOINTS

torch = pytest.importorskip("torch", reason="needs the extra 'export'")


def save(path, weights, **more):
    """A checkpoint as mmengine lays it out."""
    torch.save({"state_dict": weights, "meta": {}, **more}, path)
    return path


@pytest.fixture(scope="module")
def weights():
    """The embedded weights."""
    return read_checkpoint(EMBEDDED_CHECKPOINT)


def test_key_names_of_2019_are_understood(tmp_path, weights):
    """mmdet 1.x called the three last convolutions fcos_*."""
    old = dict(weights)
    for before, after in RENAMED.items():
        for key in [key for key in old if key.startswith(after)]:
            old[before + key.removeprefix(after)] = old.pop(key)
    assert any("fcos_cls" in key for key in old)
    assert read_checkpoint(save(tmp_path / "old.pth", old)).keys() == weights.keys()


def test_other_layouts_of_the_file_are_understood(tmp_path, weights):
    """Files of 2019, which are no zip archives, and weights without the dict around them."""
    torch.save({"state_dict": weights}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    torch.save(weights, tmp_path / "bare.pth")
    for name in ("old.pth", "bare.pth"):
        assert read_checkpoint(tmp_path / name).keys() == weights.keys(), name


def test_a_missing_checkpoint_names_the_option(tmp_path):
    """--checkpoint."""
    with pytest.raises(CheckpointError, match="--checkpoint"):
        read_checkpoint(tmp_path / "none.pth")


def test_a_name_with_a_hash_is_checked_against_it(tmp_path):
    """OpenMMLab names end in the first eight digits of the sha256."""
    data = b"some weights"
    digest = hashlib.sha256(data).hexdigest()
    good, bad = tmp_path / f"model-{digest[:8]}.pth", tmp_path / "model-00000000.pth"
    good.write_bytes(data)
    bad.write_bytes(data)
    assert verify_name(good) == digest
    with pytest.raises(CheckpointError, match="should have a sha256 that begins with 00000000"):
        verify_name(bad)


def test_another_architecture_lists_its_keys(tmp_path, weights):
    """Missing, unexpected and mis-shaped keys in one error."""
    wrong = dict(weights)
    del wrong["bbox_head.conv_reg.bias"]
    wrong["bbox_head.gn.weight"] = torch.zeros(3)
    wrong["bbox_head.conv_cls.bias"] = torch.zeros(80)
    with pytest.raises(CheckpointError) as failure:
        load_detector(SHAPES, save(tmp_path / "wrong.pth", wrong))
    for words in ("1 missing (bbox_head.conv_reg.bias)", "1 unexpected (bbox_head.gn.weight)", "(80,), expected (8,)"):
        assert words in str(failure.value)


@pytest.mark.parametrize(
    ("contract", "file", "reason"),
    [(COCO_R50, "shapes", "of another shape"), (SHAPES, "shapes_gn", "is not a checkpoint of contract 'shapes'")],
    ids=["same keys", "other keys"],
)
def test_an_embedded_checkpoint_is_of_its_own_contract_alone(contract, file, reason):
    """Neither the COCO model's nor that of the other embedded model."""
    with pytest.raises(CheckpointError, match=reason):
        load_detector(contract, EMBEDDED_CHECKPOINTS[file])


def test_nan_weights_are_refused(tmp_path, weights):
    """A diverged training run never reaches the device."""
    bad = {key: value.clone() for key, value in weights.items()}
    bad["backbone.conv1.weight"][0, 0, 0, 0] = float("nan")
    with pytest.raises(CheckpointError, match=r"NaN or infinite weights in backbone.conv1.weight"):
        load_detector(SHAPES, save(tmp_path / "nan.pth", bad))


def test_quantized_weights_are_refused(tmp_path, weights):
    """Their scales are missing: both sides would agree on a network that nobody trained."""
    name = "backbone.conv1.weight"
    bad = weights | {name: (weights[name] * 20).round().to(torch.int8)}
    with pytest.raises(CheckpointError, match=r"no real numbers: torch.int8 in backbone.conv1.weight"):
        load_detector(SHAPES, save(tmp_path / "int8.pth", bad))
