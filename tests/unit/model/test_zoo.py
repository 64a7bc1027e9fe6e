"""The zoo says what mmdetection's own configs and its metafile say, and a contract is found by name, by file or by checkpoint."""

import hashlib
import importlib.util
import re
from dataclasses import replace
from pathlib import Path

import pytest
from msgspec import structs

from fcos_lib.contract import COCO_R50, CONTRACTS, SHAPES, SHAPES_GN
from fcos_lib.errors import UsageError
from fcos_lib.judge.limits import all_limits
from fcos_lib.model import zoo as zoo_module
from fcos_lib.model.checkpoint_shapes import fits
from fcos_lib.model.zoo import chosen_contract, known_contracts, named_contract, zoo
from fcos_lib.stream.naming import naming
from fixtures.settings import EMBEDDED_CHECKPOINT

torch = pytest.importorskip("torch", reason="needs the extra 'export'")

CONFIGS = Path(importlib.util.find_spec("mmdet").origin).parent / ".mim" / "configs" / "fcos"
SUPPORTED = [name for name, entry in zoo().items() if entry.contract]
DCN = "fcos_r50-dcn-caffe_fpn_gn-head-center-normbbox-centeronreg-giou_1x_coco"
ONE_X, TWO_X, CENTER = (
    "fcos_r50-caffe_fpn_gn-head_1x_coco", "fcos_r50-caffe_fpn_gn-head_ms-640-800-2x_coco",
    "fcos_r50-caffe_fpn_gn-head-center_1x_coco",
)  # fmt: skip
CLASSES = COCO_R50.classes


def test_every_config_of_mmdetection_is_an_entry():
    """But one that differs from another in its training batch alone."""
    configs = {path.stem for path in CONFIGS.glob("fcos_*.py")}
    assert configs - zoo().keys() == {"fcos_r50-caffe_fpn_gn-head_4xb4-1x_coco"}
    assert not zoo().keys() - configs


def test_every_published_model_has_the_metafiles_figures():
    """AP, line and checkpoint, from the file that is installed with mmdetection."""
    lines = (CONFIGS / "metafile.yml").read_text(encoding="utf-8").splitlines()
    found = {}
    for number, line in enumerate(lines, start=1):
        key, _, value = line.strip(" -").partition(": ")
        if key == "Name":
            name = value
        elif key == "box AP":
            found[name] = {"box_ap": float(value), "line": number}
        elif key == "Weights":
            found[name]["checkpoint"] = value.rpartition("/")[2]
    assert {name: structs.asdict(entry.published) for name, entry in zoo().items() if entry.published} == found


def test_the_entry_with_deformable_convolutions_is_refused_by_name():
    """With its published AP beside it, and the reason. What the others are is what their configs say: test_config_contract.py."""
    assert zoo()[DCN].contract is None
    with pytest.raises(UsageError, match=rf"'{DCN}' with dcn: CANN's list of ONNX operators has no deformable"):
        named_contract(DCN)


@pytest.mark.parametrize("name", SUPPORTED)
def test_the_limit_of_mAP_follows_from_the_published_figure(name):
    """1 % less, and 2 % with AIPP, for the pictures of val2017; nothing was published for a config alone."""
    published, limits = zoo()[name].published, all_limits()
    for family, share in (("accuracy", 0.99), ("accuracy_aipp", 0.98)):
        limit = limits.get(f"{family}.{name}.mAP")
        if published is None:
            assert limit is None
            continue
        assert limit.bound == pytest.approx(share * published.box_ap / 100, abs=5.1e-4), (
            f"{limit.name} is {limit.bound}"
        )
        assert limit.published == pytest.approx(published.box_ap / 100), f"{limit.name} has {limit.published}"
        assert limit.pictures == limits["accuracy.coco_r50.mAP_as_published"].pictures
    if published:
        assert (
            f"configs/fcos/metafile.yml, line {published.line}: box AP {published.box_ap}"
            in limits[f"accuracy.{name}.mAP"].source
        )


def test_names_files_and_what_is_neither(tmp_path):
    """The suite's own, the zoo's, a user's file; a file may not take the name of another contract."""
    assert named_contract("shapes") is SHAPES
    assert named_contract(ONE_X).head_norm_groups == 32
    mine = tmp_path / "mine.toml"
    mine.write_text('name = "mine"\nclasses = ["cat"]\n')
    assert named_contract(str(mine)).classes == ("cat",)
    for text, reason in (
        ("coco_r51", "there is no contract 'coco_r51'"),
        ("", "there is no contract ''"),
        ("no.toml", "cannot be read"),
    ):
        with pytest.raises(UsageError, match=reason):
            named_contract(text)
    mine.write_text('name = "mine"\nclasses = ["cat"]\nlimits_of = "coco"\n')
    with pytest.raises(UsageError, match="takes its limits from the contract 'coco', which is not there"):
        named_contract(str(mine))
    for taken in ("shapes", ONE_X, DCN):
        mine.write_text(f'name = "{taken}"\nclasses = ["cat"]\n')
        with pytest.raises(UsageError, match="which is another"):
            named_contract(str(mine))


def test_known_contracts_are_the_suites_own_first():
    """And no entry of the zoo takes a name of theirs."""
    assert list(known_contracts()) == [*CONTRACTS, *SUPPORTED]


def weights_of(contract, **more):
    """A state dict of the contract's network in mmdet, of which only one number of each weight is kept."""
    from fcos_lib.model.detector import build_detector

    with torch.device("meta"):
        state = build_detector(contract).state_dict()
    return {key: torch.zeros(()).expand(value.shape) for key, value in state.items()} | more


def saved(folder, weights):
    """The weights as mmdet saves them, with the beginning of the SHA-256 in the file's name."""
    path = folder / "model.pth"
    torch.save({"meta": {"epoch": 12}, "state_dict": weights}, path)
    return path.rename(folder / f"model-{hashlib.sha256(path.read_bytes()).hexdigest()[:8]}.pth")


def test_an_entrys_checkpoint_fits_it_and_those_that_differ_in_what_no_weight_shows():
    """Each supported entry, and the recipe's; the rest is told apart."""
    seen = ("depth", "groups", "head_conv_bias", "head_norm_groups")
    one_of_each = {
        tuple(getattr(known_contracts()[name], field) for field in seen): name for name in ("coco_r50", *SUPPORTED)
    }
    for name in one_of_each.values():
        contract = known_contracts()[name]
        shapes = {key: tuple(value.shape) for key, value in weights_of(contract).items()}
        fitting = {other for other, rival in known_contracts().items() if fits(rival, shapes)}
        alike = {
            other for other, rival in known_contracts().items()
            if rival.classes == CLASSES and all(getattr(rival, field) == getattr(contract, field) for field in seen)
        }  # fmt: skip
        assert fitting == alike, f"weights of {name} fit {fitting}"


def test_the_recipes_checkpoint_is_the_recipes(tmp_path):
    """The default stays: no GroupNorm in the head is no entry of the zoo's."""
    assert chosen_contract(CLASSES, saved(tmp_path, weights_of(COCO_R50))) is COCO_R50
    assert chosen_contract(CLASSES, None) is COCO_R50
    assert chosen_contract(CLASSES, EMBEDDED_CHECKPOINT) is COCO_R50, "loading says what does not fit"


def test_the_embedded_checkpoints_are_told_apart(tmp_path):
    """Both have the same classes; what fits neither is left to the loading of the default, which says what does not fit."""
    assert chosen_contract(SHAPES.classes, None) is SHAPES
    assert chosen_contract(SHAPES.classes, EMBEDDED_CHECKPOINT) is SHAPES
    assert chosen_contract(SHAPES.classes, saved(tmp_path, weights_of(SHAPES_GN))) is SHAPES_GN
    assert chosen_contract(SHAPES.classes, saved(tmp_path, weights_of(COCO_R50))) is SHAPES


def test_a_checkpoint_is_recognised_by_keys_and_shapes(tmp_path):
    """ResNeXt-101 and ResNet-18 have one entry each."""
    for name in ("fcos_x101-64x4d_fpn_gn-head_ms-640-800-2x_coco", *[name for name in SUPPORTED if "r18" in name]):
        path = saved(tmp_path, weights_of(known_contracts()[name]))
        assert chosen_contract(CLASSES, path).name == name


def test_a_checkpoint_that_fits_several_asks(tmp_path, monkeypatch):
    """Both names and the option; the hash of a published checkpoint, or the option, decides."""
    path = saved(tmp_path, weights_of(known_contracts()[ONE_X]))
    with pytest.raises(UsageError, match=rf"fits 3 contracts: {ONE_X}, {TWO_X}, {CENTER}") as error:
        chosen_contract(CLASSES, path)
    assert "--contract NAME" in error.value.advice
    assert naming(CENTER, (), path).contract_of(CLASSES, path).name == CENTER
    digits = re.search(r"-[0-9a-f]{8}\.pth$", path.name)[0]
    published = structs.replace(zoo()[TWO_X].published, checkpoint=f"as_published{digits}")
    entries = {**zoo(), TWO_X: replace(zoo()[TWO_X], published=published)}
    monkeypatch.setattr(zoo_module, "zoo", lambda: entries)
    assert chosen_contract(CLASSES, path).name == TWO_X


def test_a_checkpoint_with_deformable_convolutions_is_refused(tmp_path):
    """Whatever it is called: its offsets show."""
    offset = {"backbone.layer2.0.conv2.conv_offset.weight": torch.zeros(27, 128, 3, 3)}
    path = saved(tmp_path, weights_of(known_contracts()[ONE_X], **offset))
    with pytest.raises(UsageError, match="has deformable convolutions: CANN's list"):
        chosen_contract(CLASSES, path)


def test_a_named_contract_needs_its_classes():
    """80 of COCO are not in eight drawings."""
    with pytest.raises(UsageError, match=r"contract 'coco_r50' has 80 classes that instances\.json lacks"):
        naming("coco_r50").contract_of(SHAPES.classes, Path("instances.json"))
