"""Contract records: a model contract as a TOML or JSON file, the suite's own zoo and a user's alike.

A record has the fields of `ModelContract` by their names, or what `IN_FILES` calls them; those that it leaves out are the recipe's. Nothing in a file is
run, and nothing is converted: an unknown field, another type or a value out of its range is an error that names it.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from fcos_lib.contract import COCO_CLASSES, COCO_R50, IN_FILES, ModelContract
from fcos_lib.errors import UsageError
from fcos_lib.files import read_plain
from fcos_lib.records import Form, Line, says

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_ADVICE = "ModelContract in fcos_lib/contract.py has the fields; python -m fcos_lib contracts lists the contracts that are there"
_MOST_BYTES = 1 << 18
_MOST_VALUES = 100_000
_MOST_DOTS = 1000
"""Python's TOML reader takes memory that grows with the square of the parts of a dotted key."""
_PUBLISHED_SIZES = {
    "height": COCO_R50.height,
    "width": COCO_R50.width,
    "base_channels": COCO_R50.base_channels,
    "feature_channels": COCO_R50.feature_channels,
}
_NO_DCN = (
    "CANN's list of ONNX operators has no deformable convolution (DCNv2), so no OM can be made of it",
    "use a model without DCN: python -m fcos_lib contracts lists them",
)

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}\Z")]
"""Part of the names of folders and, between dots, of limits."""
_Tensor = Annotated[str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,63}\Z")]
_Class = Annotated[Line, Meta(min_length=1)]
_Size = Annotated[int, Meta(ge=32, le=4096)]
_Channels = Annotated[int, Meta(ge=1, le=4096)]
_Mean = Annotated[float, Meta(ge=0, le=255)]
_Deviation = Annotated[float, Meta(ge=0.001, le=255)]
_Share = Annotated[float, Meta(ge=0, le=1)]
_Count = Annotated[int, Meta(ge=1, le=100_000)]
_Stride = Annotated[int, Meta(ge=8, le=1024)]


class ContractRecord(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename=IN_FILES):
    """A contract as a file has it; a field that is unset is the recipe's."""

    name: Annotated[Name, says("What limits, champions and results are kept under.")]
    classes: Annotated[
        tuple[_Class, ...] | Literal["coco"], says("In label order, or coco for the 80 of COCO 2017.")
    ]  # fmt: skip
    height: _Size | UnsetType = UNSET
    width: _Size | UnsetType = UNSET
    base_channels: _Channels | UnsetType = UNSET
    feature_channels: _Channels | UnsetType = UNSET
    input_name: _Tensor | UnsetType = UNSET
    output_names: tuple[_Tensor, _Tensor] | UnsetType = UNSET
    mean_bgr: tuple[_Mean, _Mean, _Mean] | UnsetType = UNSET
    std_bgr: tuple[_Deviation, _Deviation, _Deviation] | UnsetType = UNSET
    channel_order: Literal["bgr", "rgb"] | UnsetType = UNSET
    depth: Literal[18, 34, 50, 101, 152] | UnsetType = UNSET
    groups: Annotated[int, Meta(ge=1, le=1024)] | UnsetType = UNSET
    group_width: _Channels | UnsetType = UNSET
    style: Literal["caffe", "pytorch"] | UnsetType = UNSET
    stacked_convs: Annotated[int, Meta(ge=1, le=16)] | UnsetType = UNSET
    head_norm_groups: Annotated[int, Meta(ge=0, le=4096)] | UnsetType = UNSET
    head_conv_bias: bool | UnsetType = UNSET
    norm_on_bbox: bool | UnsetType = UNSET
    centerness_on_reg: bool | UnsetType = UNSET
    dcn: Annotated[bool, says("Deformable convolutions: refused.")] = False
    strides: tuple[_Stride, ...] | UnsetType = UNSET
    score_threshold: _Share | UnsetType = UNSET
    iou_threshold: _Share | UnsetType = UNSET
    proposals_per_level: _Count | UnsetType = UNSET
    max_detections: _Count | UnsetType = UNSET
    center_sampling: bool | UnsetType = UNSET
    loss_cls: Line | UnsetType = UNSET
    loss_bbox: Line | UnsetType = UNSET
    loss_centerness: Line | UnsetType = UNSET
    limits_of: Annotated[Name, says("The contract whose limits judge what has none under this name.")] | UnsetType = (
        UNSET
    )


_FORM = Form(ContractRecord, "a model contract", _ADVICE, _MOST_BYTES, _MOST_VALUES)


def read_contract(path: Path) -> ModelContract:
    """The contract of a `.toml` or `.json` file; `UsageError` names the file, and the field that is wrong in it."""
    return contract_of(plain_document(path), str(path))


def plain_document(path: Path) -> Any:
    """A `.toml` or `.json` file as dicts, lists and values, not held to a type yet; `UsageError` if it is none."""
    if path.suffix == ".json":
        return _FORM.plain(path)
    if path.suffix != ".toml":
        raise UsageError(f"{path} is neither a .toml nor a .json file", _ADVICE)
    try:
        data = read_plain(path, _MOST_BYTES)
        if data.count(b".") > _MOST_DOTS:
            raise ValueError(f"it has more than {_MOST_DOTS:,} dots")
        return tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error})", _ADVICE) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not TOML ({str(error)[:120]})", _ADVICE) from error


def contract_of(document: object, where: str) -> ModelContract:
    """The contract that a parsed record describes; `UsageError` begins with `where` and says what is wrong or not supported."""
    record = _FORM.of(document, where)
    if record.dcn:
        raise UsageError(f"{where} asks for the contract '{record.name}' with dcn: {_NO_DCN[0]}", _NO_DCN[1])
    given = {each.name: getattr(record, each.name, UNSET) for each in fields(ModelContract)}
    values: dict[str, Any] = _PUBLISHED_SIZES | {name: value for name, value in given.items() if value is not UNSET}
    contract = ModelContract(**values | {"classes": COCO_CLASSES if record.classes == "coco" else record.classes})
    if contradiction := _contradiction(contract):
        raise UsageError(f"{where} is not a model contract ({contradiction})", _ADVICE)
    return contract


def _contradiction(contract: ModelContract) -> str:
    """What no network can be, in words; empty for a contract of which one can be built."""
    if not contract.classes or len(set(contract.classes)) != len(contract.classes):
        return "classes: there are none, or two have the same name"
    if contract.strides != tuple(8 << level for level in range(len(contract.strides))) or len(contract.strides) < 3:
        return f"strides: {contract.strides} are not 8, 16, 32, each twice the one before and three at least"
    if contract.head_norm_groups and contract.feature_channels % contract.head_norm_groups:
        return (
            f"head_norm_groups: {contract.head_norm_groups} do not divide {contract.feature_channels} feature_channels"
        )
    if contract.groups > 1 and contract.depth < 50:
        return f"groups: mmdet has no ResNeXt of depth {contract.depth}"
    if len({contract.input_name, *contract.output_names, *contract.proposal_names}) < 5:
        taken = " or ".join(contract.proposal_names)
        return f"input_name and output_names: two are the same, or one is {taken}, as what reaches NMS is called"
    points = min(rows * columns for rows, columns in contract.level_shapes)
    if contract.proposals_per_level < points:
        return (
            f"candidates_per_level: {contract.proposals_per_level} are fewer than the {points} points of the last level"
        )
    if contract.max_detections > contract.proposals * len(contract.classes):
        return (
            f"max_detections: {contract.max_detections} are more than the {contract.proposals * len(contract.classes)} "
            "scores of a picture"
        )
    return ""
