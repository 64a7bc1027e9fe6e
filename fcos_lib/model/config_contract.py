"""A contract from a config of mmdetection 2.x or 3.x: each field with the line that it comes from, all else refused by its line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcos_lib.contract import IN_FILES, ModelContract
from fcos_lib.errors import UsageError
from fcos_lib.files import one_line
from fcos_lib.model.config_parts import (
    BACKBONE,
    BATCH_NORM,
    GROUP_NORM,
    HEAD,
    LOSS_CLS,
    MODEL,
    NECK,
    NMS,
    TEST,
    UNSUPPORTED,
    entries_of,
    held_to,
    plain,
    unsupported,
)
from fcos_lib.model.config_pictures import Field, class_field, input_fields
from fcos_lib.model.config_syntax import Node, refuse
from fcos_lib.model.contract_record import contract_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_DEFAULT = "mmdetection's default"
_LOSSES = {"loss_cls": "FocalLoss", "loss_bbox": "IoULoss", "loss_centerness": "CrossEntropyLoss"}
_NOTE = """# The contract of {config}, read from it by `python -m fcos_lib contract`.
# Each field is followed by where it comes from; one that is left out is the recipe's (docs/adding_a_contract.md).
# height and width: the letterbox scales a picture to fit into them and pads around it. mmdetection pads at the right and at
# the bottom, to a multiple of 32, and turns the two round for a picture that is higher than wide, which is smaller here.
"""


def contract_fields(
    variables: Node, name: str, *, size: tuple[int, int] | None = None, classes: tuple[str, ...] = ()
) -> dict[str, Field]:
    """The fields of a contract record by name, from all variables of a config.

    `size`: rows and columns of the network's input, if the config is not to say it; `classes`: their names, likewise.
    `UsageError` names the line of whatever a contract cannot describe.
    """
    top = entries_of(variables, "the config")
    if "model" not in top:
        refuse(variables.place, "the config has no model", "pass the config that the checkpoint was trained with")
    imports = top.get("custom_imports")
    if imports is not None and imports.value:
        refuse(
            imports.place, "custom_imports runs code of another file, which may change the network",
            "take it out of a copy of the config if only training needs it",
        )  # fmt: skip
    model = held_to(top["model"], MODEL, "model")
    for part in ("backbone", "neck", "bbox_head"):
        if part not in model:
            refuse(top["model"].place, f"model has no {part}", UNSUPPORTED)
    head = held_to(model["bbox_head"], HEAD, "model.bbox_head")
    for key in ("num_classes", "strides"):
        if key not in head:
            refuse(model["bbox_head"].place, f"model.bbox_head has no {key}", UNSUPPORTED)
    fields = {
        "name": Field(name, "--name or the file's name"),
        "classes": class_field(top, head["num_classes"], classes),
    }
    fields |= input_fields(top, model, size)
    fields |= _backbone(model["backbone"])
    fields |= _neck(model["neck"], model["backbone"].place, fields)
    fields |= _head(model["bbox_head"], head, fields)
    return fields | _after(top, model)


def _of(entries: Mapping[str, Node], key: str, default: Any) -> Field:
    return Field(plain(entries[key], key), str(entries[key].place)) if key in entries else Field(default, _DEFAULT)


def _backbone(node: Node) -> dict[str, Field]:
    entries = held_to(node, BACKBONE, "model.backbone")
    if "norm_cfg" in entries:
        held_to(entries["norm_cfg"], BATCH_NORM, "model.backbone.norm_cfg")
    grown = plain(entries["type"], "type") == "ResNeXt"
    if not grown and (strange := entries.keys() & {"groups", "base_width"}):
        refuse(entries[min(strange)].place, f"model.backbone has {min(strange)}, and a ResNet has none", UNSUPPORTED)
    fields = {
        "depth": _of(entries, "depth", None),
        "base_channels": _of(entries, "base_channels", 64),
        "style": _of(entries, "style", "pytorch"),
        "groups": _of(entries, "groups", 1),
        "group_width": _of(entries, "base_width", 4),
    }
    stem, base = _of(entries, "stem_channels", None), fields["base_channels"].value
    if stem.value not in (None, base):
        unsupported(entries["stem_channels"], "model.backbone.stem_channels", (base,))
    return fields


def _neck(node: Node, backbone: Any, fields: Mapping[str, Field]) -> dict[str, Field]:
    entries = held_to(node, NECK, "model.neck")
    base, depth = fields["base_channels"].value, fields["depth"].value
    if not isinstance(base, int) or not isinstance(depth, int):
        refuse(backbone, "model.backbone has no depth, or no number as depth and base_channels", UNSUPPORTED)
    stages = tuple(base * (4 if depth >= 50 else 1) << stage for stage in range(4))
    for key in ("in_channels", "out_channels", "num_outs"):
        if key not in entries:
            refuse(node.place, f"model.neck has no {key}", UNSUPPORTED)
    if plain(entries["in_channels"]) != stages:
        unsupported(entries["in_channels"], "model.neck.in_channels", (stages,))
    extra = entries.get("add_extra_convs", Node(False, node.place))
    on_inputs = plain(entries.get("extra_convs_on_inputs", Node(True, node.place)))
    on_output = extra.value == "on_output" or (extra.value is True and on_inputs is False)
    if not on_output and plain(entries["num_outs"]) != 3:
        unsupported(extra, "model.neck.add_extra_convs", ("on_output",))
    return {"feature_channels": _of(entries, "out_channels", None)}


def _head(node: Node, entries: Mapping[str, Node], fields: Mapping[str, Field]) -> dict[str, Field]:
    channels = fields["feature_channels"].value
    for key, default in (("in_channels", None), ("feat_channels", 256)):
        if plain(entries[key] if key in entries else Node(default, node.place)) != channels:
            unsupported(entries.get(key, Node(default, node.place)), f"model.bbox_head.{key}", (channels,))
    if "loss_cls" in entries:
        held_to(entries["loss_cls"], LOSS_CLS, "model.bbox_head.loss_cls")
    groups = Field(32, _DEFAULT)
    if "norm_cfg" in entries and entries["norm_cfg"].value is None:
        groups = Field(0, str(entries["norm_cfg"].place))
    elif "norm_cfg" in entries:
        norm = held_to(entries["norm_cfg"], GROUP_NORM, "model.bbox_head.norm_cfg")
        groups = _of(norm, "num_groups", None)
    bias = _of(entries, "conv_bias", "auto")
    if bias.value == "auto":
        bias = Field(groups.value == 0, f"{bias.source}: auto, without a norm" if groups.value == 0 else bias.source)
    found = {
        "stacked_convs": _of(entries, "stacked_convs", 4),
        "strides": _of(entries, "strides", None),
        "head_norm_groups": groups,
        "head_conv_bias": bias,
        "norm_on_bbox": _of(entries, "norm_on_bbox", False),
        "centerness_on_reg": _of(entries, "centerness_on_reg", False),
        "center_sampling": _of(entries, "center_sampling", False),
    }
    for loss, usual in _LOSSES.items():
        kind = entries_of(entries[loss], f"model.bbox_head.{loss}") if loss in entries else {}
        found[loss] = _of(kind, "type", usual)
    return found


def _after(top: Mapping[str, Node], model: Mapping[str, Node]) -> dict[str, Field]:
    """What happens behind the network: thresholds and NMS; mmdet 2.x may have them beside the model."""
    name, node = "model.test_cfg", model.get("test_cfg")
    if (node is None or node.value is None) and "test_cfg" in top and "nms" in entries_of(top["test_cfg"], "test_cfg"):
        name, node = "test_cfg", top["test_cfg"]
    if node is None or node.value is None:
        refuse(top["model"].place, "model has no test_cfg", UNSUPPORTED)
    entries = held_to(node, TEST, name)
    for key in ("score_thr", "nms", "max_per_img"):
        if key not in entries:
            refuse(node.place, f"{name} has no {key}", UNSUPPORTED)
    nms = held_to(entries["nms"], NMS, f"{name}.nms")
    thresholds = [key for key in ("iou_threshold", "iou_thr") if key in nms]
    if len(thresholds) != 1:
        refuse(
            entries["nms"].place, f"{name}.nms has {len(thresholds)} of iou_threshold and iou_thr", "keep one of them"
        )
    return {
        "score_threshold": _of(entries, "score_thr", None),
        "iou_threshold": _of(nms, thresholds[0], None),
        IN_FILES["proposals_per_level"]: _of(entries, "nms_pre", -1),
        "max_detections": _of(entries, "max_per_img", None),
    }


def contract_from(fields: Mapping[str, Field], config: str) -> ModelContract:
    """The contract with these fields; `UsageError` names the line of the one that is out of its range."""
    try:
        return contract_of({name: field.value for name, field in fields.items()}, f"the contract of {config}")
    except UsageError as error:
        for name, field in fields.items():
            if re.search(rf"\({name}\b", error.found):
                raise UsageError(f"{field.source}: {error.found}", error.advice) from error
        raise


def as_toml(fields: Mapping[str, Field], config: str) -> str:
    """The fields as a contract record in TOML, each with its source as a comment. What is written is read back and compared."""
    folder = f"{Path(config).parent}/"
    lines = [_NOTE.format(config=one_line(Path(config).name, 200))]
    for key, field in fields.items():
        value = json.dumps(field.value, ensure_ascii=False)
        lines.append(f"{key} = {value}  # {one_line(field.source.removeprefix(folder), 300)}\n")
    text, contract = "".join(lines), contract_from(fields, config)
    if contract_of(tomllib.loads(text), config) != contract:
        raise UsageError(
            f"the contract of {config} is not the same when it is read back", "report this with the config"
        )
    return text


def name_of(config: Path) -> str:
    """A contract's name from a config's: letters, digits, `-` and `_`."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", config.stem)[:100].lstrip("_-") or "mine"
