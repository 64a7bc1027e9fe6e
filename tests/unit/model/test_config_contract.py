"""A contract comes from a config field by field, and what no contract describes is refused by its line."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fcos_lib.cli.main import main
from fcos_lib.contract import COCO_CLASSES, COCO_R50, ModelContract
from fcos_lib.errors import UsageError
from fcos_lib.model.config_contract import as_toml, contract_fields, contract_from, name_of
from fcos_lib.model.config_files import read_config
from fcos_lib.model.contract_record import read_contract
from fcos_lib.model.detector import config_folder
from fcos_lib.model.zoo import zoo

OWN = Path(__file__).parent / "configs" / "fcos"
PUBLISHED = sorted(config_folder().glob("fcos/*.py"))
_MMENGINE = """
import json, sys
from mmengine.config import Config
print(json.dumps({path: Config.fromfile(path)._cfg_dict.to_dict() for path in sys.argv[1:]}))
"""
TEST = """
test_dataloader = dict(dataset=dict(type='CocoDataset', pipeline=[
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(1333, 800), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id',))]))
"""
MODEL = """
model = dict(
    type='FCOS',
    data_preprocessor=dict(
        type='DetDataPreprocessor', mean=[102.9801, 115.9465, 122.7717], std=[1.0, 1.0, 1.0], bgr_to_rgb=False),
    backbone=dict(type='ResNet', depth=50, style='caffe'),
    neck=dict(
        type='FPN', in_channels=[256, 512, 1024, 2048], out_channels=256, start_level=1,
        add_extra_convs='on_output', num_outs=5, relu_before_extra_convs=True),
    bbox_head=dict(
        type='FCOSHead', num_classes=80, in_channels=256, strides=[8, 16, 32, 64, 128], norm_cfg=None),
    test_cfg=dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type='nms', iou_threshold=0.5), max_per_img=100))
"""
PLAIN = TEST + MODEL


@pytest.fixture(scope="module")
def by_mmengine():
    """What mmengine makes of mmdet's twelve configs."""
    command = [sys.executable, "-c", _MMENGINE, *map(str, PUBLISHED)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def contract(path, name="x", **told):
    """The contract of a config."""
    return contract_from(contract_fields(read_config(path), name, **told), str(path))


def written(folder, text):
    """The text as a config."""
    path = folder / "mine.py"
    path.write_text(text, encoding="utf-8")
    return path


def expected(config):
    """The contract of a config as mmengine read it, by the constructors' own defaults."""
    model = config["model"]
    backbone, head, after = model["backbone"], model["bbox_head"], model["test_cfg"]
    norm = head.get("norm_cfg", {"type": "GN", "num_groups": 32})  # mmdet's default for FCOSHead
    bias = head.get("conv_bias", "auto")
    assert head["feat_channels"] == model["neck"]["out_channels"], "the head is as wide as the neck"
    pictures = model["data_preprocessor"]
    turned = -1 if pictures["bgr_to_rgb"] else 1
    (resize,) = [
        step for step in config["test_dataloader"]["dataset"]["pipeline"] if step["type"] == "Resize"
    ]  # fmt: skip
    return ModelContract(
        name="x", classes=COCO_CLASSES, height=resize["scale"][1], width=resize["scale"][0], base_channels=64,
        feature_channels=model["neck"]["out_channels"], depth=backbone["depth"], style=backbone["style"],
        groups=backbone.get("groups", 1), group_width=backbone.get("base_width", 4),
        mean_bgr=tuple(pictures["mean"][::turned]), std_bgr=tuple(pictures["std"][::turned]),
        channel_order="rgb" if pictures["bgr_to_rgb"] else "bgr", stacked_convs=head["stacked_convs"],
        strides=tuple(head["strides"]), head_norm_groups=norm["num_groups"] if norm else 0,
        head_conv_bias=not norm if bias == "auto" else bias,
        norm_on_bbox=head.get("norm_on_bbox", False), centerness_on_reg=head.get("centerness_on_reg", False),
        center_sampling=head.get("center_sampling", False), loss_bbox=head["loss_bbox"]["type"],
        loss_cls=head["loss_cls"]["type"], loss_centerness=head["loss_centerness"]["type"],
        score_threshold=after["score_thr"], iou_threshold=after["nms"]["iou_threshold"],
        proposals_per_level=after["nms_pre"], max_detections=after["max_per_img"],
    )  # fmt: skip


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_each_config_of_mmdet_gives_its_contract_or_is_refused_by_name(path, by_mmengine):
    """All twelve: one has deformable convolutions."""
    if "dcn" in path.stem:
        with pytest.raises(UsageError, match=r"line \d+: model\.bbox_head\.dcn_on_last_conv is True.*DCNv2"):
            contract(path)
        return
    read = contract(path)
    assert read.differences(expected(by_mmengine[str(path)])) == {}
    assert read.backbone == by_mmengine[str(path)]["model"]["backbone"]["type"]
    if path.stem in zoo():  # one is another with another batch size in training
        assert zoo()[path.stem].contract.differences(read) == {"limits_of": (COCO_R50.name, "")}


def test_configs_of_the_second_generation():
    """Means in the pipeline, thresholds beside the model, `iou_thr`, two keys for the extra levels, own classes."""
    first, tricks, mine = (contract(OWN / f"{name}_2x.py") for name in ("first", "tricks", "mine"))
    assert first.differences(COCO_R50) == {}
    changed = {"head_norm_groups": 32, "norm_on_bbox": True, "centerness_on_reg": True, "center_sampling": True,
               "loss_bbox": "GIoULoss", "iou_threshold": 0.6}  # fmt: skip
    assert {name: pair[0] for name, pair in tricks.differences(first).items()} == changed
    assert {name: pair[0] for name, pair in mine.differences(tricks).items()} == {
        "classes": ("bolt", "nut", "washer"), "height": 640, "width": 1024, "depth": 101, "groups": 64, "style": "pytorch",
        "mean_bgr": (103.53, 116.28, 123.675), "std_bgr": (57.375, 57.12, 58.395), "channel_order": "rgb",
    }  # fmt: skip


def test_a_plain_config_of_one_file_is_the_recipe(tmp_path):
    """What refusals are shown on, below."""
    assert contract(written(tmp_path, PLAIN)).differences(COCO_R50) == {}


REFUSED = {
    "detector": ("type='FCOS'", "type='RetinaNet'", "model.type is 'RetinaNet'; supported is 'FCOS'"),
    "no detector": ("    type='FCOS',\n", "", "model has no type"),
    "head": ("type='FCOSHead'", "type='GFLHead'", "model.bbox_head.type is 'GFLHead'"),
    "neck": ("type='FPN'", "type='PAFPN'", "model.neck.type is 'PAFPN'"),
    "backbone": ("type='ResNet'", "type='ResNetV1d'", "model.backbone.type is 'ResNetV1d'"),
    "roi": ("    type='FCOS',\n", "    type='FCOS', roi_head=dict(bbox_roi_extractor=dict()),\n", "model has 'roi_head'"),
    "dcn": ("depth=50", "depth=50, dcn=dict(type='DCNv2')", "model.backbone.dcn is .*DCNv2"),
    "stages with dcn": ("depth=50", "depth=50, stage_with_dcn=(False, True, True, True)", "stage_with_dcn"),
    "depth": ("depth=50", "depth=77", "line 12: .*depth: Invalid enum value 77"),
    "depth as text": ("depth=50", "depth='50'", "no number as depth"),
    "dilations": ("depth=50", "depth=50, dilations=(1, 1, 2, 2)", "model.backbone.dilations is"),
    "stem": ("depth=50", "depth=50, stem_channels=32", "stem_channels is 32; supported is 64"),
    "deep stem": ("depth=50", "depth=50, deep_stem=True", "deep_stem is True"),
    "plugins": ("depth=50", "depth=50, plugins=[dict(cfg=dict(type='ContextBlock'))]", "plugins is"),
    "groups of a ResNet": ("depth=50", "depth=50, groups=32", "a ResNet has none"),
    "grey pictures": ("depth=50", "depth=50, in_channels=1", "in_channels is 1"),
    "norm": ("depth=50", "depth=50, norm_cfg=dict(type='GN', num_groups=32)", "norm_cfg.type is 'GN'"),
    "eps": ("depth=50", "depth=50, norm_cfg=dict(type='BN', eps=1e-3)", "norm_cfg.eps is 0.001"),
    "unknown": ("depth=50", "depth=50, with_attention=True", "has 'with_attention', of which is not known"),
    "deleted": ("depth=50", "depth=50, _delete_=True", "has '_delete_'"),
    "start level": (" start_level=1,", "", "model.neck has no start_level, which means 0"),
    "extra levels": ("'on_output'", "'on_input'", "add_extra_convs is 'on_input'; supported is 'on_output'"),
    "extra levels of 2.x": ("'on_output'", "True", "add_extra_convs is True"),
    "relu": (", relu_before_extra_convs=True", "", "no relu_before_extra_convs, which means False"),
    "norm of the neck": ("num_outs=5", "num_outs=5, norm_cfg=dict(type='BN')", "model.neck.norm_cfg is"),
    "channels of the neck": ("[256, 512,", "[256, 511,", "in_channels is .*511.*; supported is \\(256, 512"),
    "channels of the head": ("num_classes=80, in_channels=256", "num_classes=80, in_channels=128", "in_channels is 128"),
    "levels": ("[8, 16, 32, 64, 128]", "[4, 8, 16, 32, 64]", "strides"),
    "no strides": (" strides=[8, 16, 32, 64, 128],", "", "model.bbox_head has no strides"),
    "strides by axis": ("[8, 16, 32, 64, 128]", "[(8, 8), (16, 16), (32, 32)]", "line 17: .*strides"),
    "norm of the head": ("norm_cfg=None", "norm_cfg=dict(type='BN')", "norm_cfg.type is 'BN'"),
    "no sigmoid": ("norm_cfg=None", "loss_cls=dict(type='FocalLoss')", "no use_sigmoid, which means False"),
    "coder": ("norm_cfg=None", "bbox_coder=dict(type='Other')", "bbox_coder is"),
    "dcn in the head": ("norm_cfg=None", "dcn_on_last_conv=True", "dcn_on_last_conv is True"),
    "soft nms": ("type='nms'", "type='soft_nms'", "nms.type is 'soft_nms'; supported is 'nms'"),
    "agnostic": ("type='nms'", "type='nms', class_agnostic=True", "class_agnostic is True"),
    "two thresholds": ("type='nms'", "type='nms', iou_thr=0.6", "has 2 of iou_threshold and iou_thr"),
    "threshold": ("iou_threshold=0.5", "iou_threshold=5", "line 18: .*iou_threshold"),
    "smallest box": ("min_bbox_size=0", "min_bbox_size=8", "min_bbox_size is 8"),
    "all proposals": ("nms_pre=1000", "nms_pre=-1", "candidates_per_level"),
    "another test setting": ("nms_pre=1000", "nms_pre=1000, multi_label=True", "has 'multi_label'"),
    "no thresholds": ("    test_cfg=", "    train_cfg=", "model has no test_cfg"),
    "mean of two": ("122.7717]", "122.7717, 1.0]", "line 11: mean is .* not three numbers"),
    "no mean": ("mean=[102.9801, 115.9465, 122.7717], ", "", "a mean without a std"),
    "padding": ("bgr_to_rgb=False", "pad_value=114", "pad_value is 114"),
    "other pictures": ("bgr_to_rgb=False", "gamma=2", "data_preprocessor has 'gamma'"),
    "turned": ("bgr_to_rgb=False", "bgr_to_rgb='yes'", "neither True nor False"),
    "empty mean": ("mean=[102.9801, 115.9465, 122.7717]", "mean=[]", r"mean is \(\) and not three numbers"),
    "mean of nothing": ("mean=[102.9801, 115.9465, 122.7717]", "mean=0", "mean is 0 and not three numbers"),
    "type of a dict": ("'CocoDataset'", "dict(a=1)", "names no classes, and {'a': 1} has them elsewhere"),
    "transform of a dict": ("type='LoadImageFromFile'", "type=dict(a=1)", "the test pipeline has {'a': 1}"),
    "detector of a list": ("type='FCOS'", "type=['FCOS']", "model.type is"),
    "head of text": ("bbox_head=dict(", "bbox_head='x', neck_of=dict(", "has 'neck_of'|is no dict"),
    "no threshold": ("nms=dict(type='nms', iou_threshold=0.5)", "nms=None", "nms is no dict"),
    "endless key": ("depth=50", "depth=50, **{'\\x1b[31m' * 2000: 1}", "of what are no numbers"),
    "long key": ("depth=50", "depth=50, **{'" + "\\x1b[31m" * 1000 + "': 1}", "of which is not known"),
    "no ratio": ("keep_ratio=True", "keep_ratio=False", "keep_ratio is False; supported is True: the letterbox"),
    "ratio left out": (", keep_ratio=True", "", "has no keep_ratio, which means False"),
    "scale": ("scale=(1333, 800)", "scale_factor=0.5", "scale_factor is 0.5"),
    "no scale": ("scale=(1333, 800), ", "", "Resize's scale is None"),
    "scales": ("scale=(1333, 800)", "scale=[(1333, 800), (1000, 600)]", "line 4: Resize's scale is"),
    "flip": ("dict(type='LoadAnnotations', with_bbox=True)", "dict(type='RandomFlip', prob=0.5)", "prob is 0.5"),
    "crop": ("dict(type='LoadAnnotations', with_bbox=True)", "dict(type='RandomCrop')", "pipeline has RandomCrop"),
    "pad before the mean": ("dict(type='LoadAnnotations', with_bbox=True)", "dict(type='Pad', size_divisor=32)", "pads before"),
    "two means": ("dict(type='LoadAnnotations', with_bbox=True)", "dict(type='Normalize', mean=[1, 2, 3], std=[1, 1, 1])",
                  "subtracts a mean in 2 places"),
    "order": ("dict(type='LoadImageFromFile')", "dict(type='LoadImageFromFile'), dict(type='Normalize')", "too early"),
    "decoder": ("type='LoadImageFromFile'", "type='LoadImageFromFile', imdecode_backend='pillow'", "imdecode_backend is"),
    "two sizes": ("dict(type='LoadAnnotations', with_bbox=True)", "dict(type='Resize', scale=(1, 2), keep_ratio=True)",
                  "has 2 Resize"),
    "classes": ("num_classes=80", "num_classes=3", "line 17: num_classes is 3, and 80 classes have names"),
    "true classes": ("num_classes=80", "num_classes=True", "num_classes is True"),
    "own dataset": ("'CocoDataset'", "'BoltDataset'", "line 17: the config names no classes, and BoltDataset has them elsewhere"),
    "text for classes": ("'CocoDataset',", "'CocoDataset', metainfo=dict(classes=('cat')),", r"\('cat',\) is a list"),
    "one class": ("'CocoDataset',", "'CocoDataset', metainfo=dict(classes=('cat',)),", "num_classes is 80, and 1 classes"),
    "code": ("\nmodel", "\ncustom_imports = dict(imports=['evil'])\nmodel", "custom_imports runs code"),
    "no model": ("\nmodel =", "\nmodels =", "the config has no model"),
    "model of text": ("\nmodel = dict(", "\nmodel = 'x'\nother = dict(", "model is no dict"),
    "dataset of text": ("dataset=dict(type='CocoDataset', pipeline=[", "dataset='x', x=dict(pipeline=[", "0 Resize|names no classes"),
    "pipeline of text": ("    dict(type='LoadImageFromFile'),", "    'x',", "a transform of the test pipeline is no dict"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_contract_describes_is_refused_by_its_line(kind, tmp_path):
    """File, line, what, why, and what to do."""
    before, after, reason = REFUSED[kind]
    assert PLAIN.count(before) == 1 or kind in ("pipeline of text",), f"{before} is {PLAIN.count(before)} times in it"
    path = written(tmp_path, PLAIN.replace(before, after, 1))
    with pytest.raises(UsageError, match=reason) as error:
        contract(path)
    if "has 2 Resize" not in reason and "2 places" not in reason and "0 Resize" not in reason:
        assert error.value.found.startswith(f"{path} line "), error.value.found
    assert len(error.value.found) < 1000, f"the message has {len(error.value.found)} letters"
    assert error.value.found.isprintable()
    assert error.value.advice


SAME = {
    "training": (
        "depth=50",
        "depth=50, frozen_stages=1, norm_eval=True, init_cfg=dict(type='Pretrained', checkpoint='x')",
    ),
    "scope": ("type='ResNet'", "type='mmdet.ResNet', _scope_='mmdet'"),
    "synchronised": ("depth=50", "depth=50, norm_cfg=dict(type='SyncBN', requires_grad=True)"),
    "losses": ("norm_cfg=None", "norm_cfg=None, loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=3.0)"),
    "batches": ("bgr_to_rgb=False", "pad_size_divisor=32, batch_augments=[dict(type='BatchFixedSizePad')]"),
    "split": ("type='nms'", "type='nms', split_thr=10000"),
    "turned round": ("scale=(1333, 800)", "scale=(800, 1333)"),
    "not flipped": ("dict(type='LoadAnnotations', with_bbox=True)", "dict(type='RandomFlip', prob=0.0)"),
    "runtime": ("\nmodel", "\ncustom_imports = None\nfp16 = dict(loss_scale=512.0)\nmodel"),
    "own variables": ("\nmodel", "\nimage_size = (1024, 1024)\nnum = 3\nmodel"),
}


@pytest.mark.parametrize("kind", SAME)
def test_what_a_trained_network_does_not_depend_on_changes_nothing(kind, tmp_path):
    """Training, loading, speed."""
    before, after = SAME[kind]
    assert PLAIN.count(before) == 1
    assert contract(written(tmp_path, PLAIN.replace(before, after))).differences(COCO_R50) == {}


def test_a_slim_network_of_three_levels(tmp_path):
    """Widths follow from one number; three levels have no extra one."""
    text = PLAIN.replace("depth=50", "depth=18, base_channels=16").replace(
        "[256, 512, 1024, 2048]", "[16, 32, 64, 128]"
    )
    text = (
        text.replace("out_channels=256", "out_channels=48")
        .replace("num_outs=5", "num_outs=3")
        .replace("'on_output'", "False")
    )
    text = text.replace(
        "in_channels=256, strides=[8, 16, 32, 64, 128]", "in_channels=48, feat_channels=48, strides=[8, 16, 32]"
    )
    slim = contract(written(tmp_path, text), size=(192, 320))
    assert {name: pair[0] for name, pair in slim.differences(COCO_R50).items()} == {
        "height": 192, "width": 320, "base_channels": 16, "feature_channels": 48, "depth": 18, "strides": (8, 16, 32)
    }  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("'CocoDataset',", "'CocoDataset', metainfo=dict(classes=('cat', 'dog')),"),
        PLAIN + "metainfo = dict(classes=['cat', 'dog'], palette=[(1, 2, 3), (4, 5, 6)])\n",
        PLAIN + "classes = ('cat', 'dog')\n",
        PLAIN + "train_dataloader = dict(dataset=dict(type='RepeatDataset', dataset=dict(metainfo=dict(classes=('cat', 'dog')))))\n",
        PLAIN + "train_dataloader = dict(dataset=dict(datasets=[dict(classes=('cat', 'dog')), dict(classes=['cat', 'dog'])]))\n",
    ],
    ids=["dataset", "metainfo", "classes", "in another", "several"],
)  # fmt: skip
def test_classes_come_from_wherever_a_config_has_them(text, tmp_path):
    """Of the datasets first."""
    path = written(tmp_path, text.replace("num_classes=80", "num_classes=2"))
    assert contract(path).classes == ("cat", "dog")
    assert contract(path, classes=("dog", "cat")).classes == ("dog", "cat"), "what the user says comes first"


def test_data_sets_that_disagree_about_classes_are_refused(tmp_path):
    """The order counts as well: it is the labels'."""
    text = PLAIN.replace("'CocoDataset',", "'CocoDataset', metainfo=dict(classes=('cat', 'dog')),")
    text += "train_dataloader = dict(dataset=dict(metainfo=dict(classes=('dog', 'cat'))))\n"
    with pytest.raises(UsageError, match="classes are others here than in"):
        contract(written(tmp_path, text.replace("num_classes=80", "num_classes=2")))


@pytest.mark.parametrize("name", ["\u00fc \u202ea", 'a"b', "a\\b", "tab\tx", "[x]", "#"])
def test_a_strange_class_name_is_written_so_that_it_is_read_back(name, tmp_path):
    """Or refused, where a line cannot hold it."""
    path = written(tmp_path, PLAIN.replace("num_classes=80", "num_classes=2"))
    fields = contract_fields(read_config(path), "x", classes=(name, "b"))
    if not name.isprintable():
        with pytest.raises(UsageError, match=r"--classes: .*classes"):
            as_toml(fields, "x.py")
        return
    text = as_toml(fields, "x.py")
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    assert read_contract(tmp_path / "x.toml").classes == (name, "b")


@pytest.mark.parametrize(
    ("file", "name"), [("a.b c.py", "a_b_c"), ("_x.py", "x"), ("\u00fc.py", "mine"), ("-.py", "mine")]
)
def test_a_name_is_made_of_the_files(file, name):
    """Letters and digits that a folder and a limit may have."""
    assert name_of(Path(file)) == name


def test_the_verb_writes_a_record_that_says_where_each_field_comes_from(tmp_path, capsys):
    """And never over another."""
    path, output = written(tmp_path, PLAIN), tmp_path / "mine.toml"
    assert main(["contract", str(path), "--output", str(output), "--name", "coco", "--input-size", "640", "640"]) == 0
    assert read_contract(output).differences(COCO_R50) == {"height": (640, 800), "width": (640, 1333)}
    text = output.read_text()
    assert "depth = 50  # mine.py line 12\n" in text
    assert "height = 640  # --input-size\n" in text
    assert str(tmp_path) not in text, "paths of this machine are nobody's business"
    out = capsys.readouterr().out
    assert "coco: 80 classes, input 640 x 640" in out
    assert main(["contract", str(path), "--output", str(output)]) == 3
    assert "is there already" in capsys.readouterr().err
    assert main(["contract", str(path), "--output", str(tmp_path / "x.json")]) == 3
    assert "no .toml file" in capsys.readouterr().err


def test_the_verb_prints_it_without_an_output(tmp_path, capsys):
    """So that a pipe can have it."""
    path = written(tmp_path, PLAIN)
    assert main(["contract", str(path)]) == 0
    assert 'name = "mine"' in capsys.readouterr().out
    assert main(["contract", str(path), "--name", "shapes"]) == 3
    assert "'shapes' is the name of a contract that is there already" in capsys.readouterr().err
    assert main(["contract", str(PUBLISHED[0])]) == 0
    assert f'name = "my_{PUBLISHED[0].stem}"' in capsys.readouterr().out
    assert main(["contract", str(tmp_path / "none.py")]) == 3
    assert "none.py cannot be read (No such file or directory)" in capsys.readouterr().err
