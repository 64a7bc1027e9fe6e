"""Contracts: what a deployed FCOS promises: tensors, preprocessing, decoding, NMS settings and classes, as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import Enum
from types import MappingProxyType
from typing import Any

from fcos_lib.errors import UsageError

COCO_CLASSES = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""The 80 classes of COCO 2017 in label order (mmdet 3.3, `CocoDataset.METAINFO`)."""

SHAPES_CLASSES = (
    "red square", "blue disc", "yellow triangle", "red disc", "cyan triangle", "blue square", "magenta star",
    "green ring",
)  # fmt: skip
"""The classes of the embedded default in label order. Three pairs differ in colour alone, so that a BGR/RGB swap shows."""


class InputLayout(str, Enum):
    """How the network input lies in memory, which says who subtracts the mean."""

    FLOAT_NCHW = "float32 NCHW"
    """float32[N, 3, H, W], channels as the contract has them, normalised on the host: the recipe's input."""
    UINT8_NHWC = "uint8 NHWC (AIPP)"
    """uint8[N, H, W, 3], BGR as decoded: AIPP normalises on the device. A quarter of the bytes."""

    @property
    def dtype(self) -> str:
        """numpy's name of the element type."""
        return self.value.split()[0]


IN_FILES = MappingProxyType({"proposal_names": "candidate_names", "proposals_per_level": "candidates_per_level"})
"""Fields that files and keys call by an older name: what is on disk stays valid."""
_IN_KEY = "in key"
_ALWAYS, _IF_SET, _NEVER = "always", "if it is not the default", "never"


def _added(default: Any) -> Any:
    """A field that a key holds only where it is not the default, so that it left the keys of older contracts as they were."""
    return field(default=default, metadata=MappingProxyType({_IN_KEY: _IF_SET}))


def _recorded(default: Any) -> Any:
    """A field that nothing computed depends on, so that no key holds it."""
    return field(default=default, metadata=MappingProxyType({_IN_KEY: _NEVER}))


@dataclass(frozen=True, slots=True)
class ModelContract:
    """Everything that the exporter, the device and the judge must agree on for one FCOS.

    Lengths are pixels of the network input unless said otherwise. The defaults are the recipe's: the ModelZoo FCOS
    README and its `fcos_pth_preprocess.py` for the input, mmdet's `fcos_r50_caffe_fpn_4x4_1x_coco` for the network,
    the recipe's `fcos.diff` for what happens after it.
    """

    name: str
    classes: tuple[str, ...]
    height: int
    """Rows of the network input."""
    width: int
    """Columns of the network input."""
    base_channels: int
    """Channels of the ResNet stem; 64 is the published R50."""
    feature_channels: int
    """Channels of the FPN and of the head."""

    input_name: str = "input"
    """float32[N, 3, height, width], NCHW (the recipe's README says RGB; its code and the caffe weights say BGR)."""
    mean_bgr: tuple[float, float, float] = (102.9801, 115.9465, 122.7717)
    """Subtracted from blue, green and red before the zero padding, whatever the order of the network's channels."""
    output_names: tuple[str, str] = ("labels", "dets")
    """`labels` int64[N, 100], `dets` float32[N, 100, 5] (x1, y1, x2, y2, score), in this order (`--out_nodes`)."""
    proposal_names: tuple[str, str] = ("boxes", "scores")
    """What reaches NMS: `boxes` float32[N, M, 4] (x1, y1, x2, y2) and `scores` float32[N, M, classes], level after level."""

    depth: int = 50
    stacked_convs: int = 4
    strides: tuple[int, ...] = (8, 16, 32, 64, 128)
    score_threshold: float = 0.05
    """Kept when sigmoid(class) x sigmoid(centerness) is above this, strictly."""
    iou_threshold: float = 0.5
    """Suppressed when IoU with a better box of the same class is above this, strictly."""
    proposals_per_level: int = 1000
    """Points of one level that go on to NMS, by their best class score; `candidates_per_level` in a file."""
    max_detections: int = 100
    """Rows of the outputs; unused rows have score 0 and a label that means nothing."""

    groups: int = _added(1)
    """Groups of the backbone's middle convolutions: 1 is a ResNet, more a ResNeXt."""
    group_width: int = _added(4)
    """Channels of a group in the first stage of a ResNeXt with 64 base channels (mmdet's `base_width`)."""
    style: str = _added("caffe")
    """Where a bottleneck has its stride: `caffe` in the first convolution, `pytorch` in the second."""
    std_bgr: tuple[float, float, float] = _added((1.0, 1.0, 1.0))
    """What blue, green and red are divided by after the mean; 1 for caffe's weights."""
    channel_order: str = _added("bgr")
    """Order of the network's input channels: `bgr` or `rgb`. Pictures are decoded as BGR in any case."""
    head_norm_groups: int = _added(0)
    """Groups of the GroupNorm behind each convolution of the head's two towers; 0: no norm."""
    head_conv_bias: bool = _added(True)
    """Whether the convolutions of the towers have a bias (mmdet's `conv_bias`; its `auto` means: without a norm)."""
    norm_on_bbox: bool = _added(False)
    """Distances are the convolution's positive part times the stride; otherwise they are its exponential."""
    centerness_on_reg: bool = _added(False)
    """Centerness comes from the tower of the distances; otherwise from the tower of the classes."""

    center_sampling: bool = _recorded(False)
    """How the training chose its points. This and the losses are recorded: nothing that is computed here depends on them."""
    loss_cls: str = _recorded("FocalLoss")
    loss_bbox: str = _recorded("IoULoss")
    loss_centerness: str = _recorded("CrossEntropyLoss")
    limits_of: str = _recorded("")
    """The contract whose limits judge what has no limit under this one's name; empty: none."""

    @property
    def backbone(self) -> str:
        """mmdet's name of the backbone's type."""
        return "ResNeXt" if self.groups > 1 else "ResNet"

    @property
    def planes_bgr(self) -> tuple[int, int, int]:
        """Which channel of the network's input is blue, green and red."""
        return (0, 1, 2) if self.channel_order == "bgr" else (2, 1, 0)

    @property
    def level_shapes(self) -> tuple[tuple[int, int], ...]:
        """(rows, columns) of each pyramid level: the input halved, rounding up, once per factor of two in its stride."""
        shapes = []
        for stride in self.strides:
            rows, columns = self.height, self.width
            for _ in range(stride.bit_length() - 1):
                rows, columns = (rows + 1) // 2, (columns + 1) // 2
            shapes.append((rows, columns))
        return tuple(shapes)

    @property
    def proposals_by_level(self) -> tuple[int, ...]:
        """Boxes that each level hands to NMS: all of its points, `proposals_per_level` at most."""
        return tuple(min(self.proposals_per_level, rows * columns) for rows, columns in self.level_shapes)

    @property
    def proposals(self) -> int:
        """Boxes per picture that reach NMS (3,350 for `COCO_R50`)."""
        return sum(self.proposals_by_level)

    @property
    def padding_bgr(self) -> tuple[int, int, int]:
        """What surrounds a uint8 picture: the nearest to the mean, so that next to nothing is left of it without the mean."""
        blue, green, red = (round(mean) for mean in self.mean_bgr)
        return blue, green, red

    def input_shape(self, batch: int, layout: InputLayout = InputLayout.FLOAT_NCHW) -> tuple[int, int, int, int]:
        """Shape of the network input for a batch size."""
        if layout is InputLayout.UINT8_NHWC:
            return (batch, self.height, self.width, 3)
        return (batch, 3, self.height, self.width)

    def as_dict(self) -> dict[str, Any]:
        """The contract as JSON-ready data: part of every artifact's key.

        Later fields are in it where they are not the default, and what only training used never is.
        """
        contents = asdict(self)
        for each in fields(self):
            in_key = each.metadata.get(_IN_KEY, _ALWAYS)
            if in_key == _NEVER or (in_key == _IF_SET and contents[each.name] == each.default):
                del contents[each.name]
        return {IN_FILES.get(name, name): value for name, value in contents.items()}

    def differences(self, other: ModelContract) -> Mapping[str, tuple[Any, Any]]:
        """What differs from another contract, by field as files call it: this one's value and the other's. Names are left out."""
        pairs = {each.name: (getattr(self, each.name), getattr(other, each.name)) for each in fields(self)}
        return {IN_FILES.get(name, name): pair for name, pair in pairs.items() if name != "name" and pair[0] != pair[1]}


COCO_R50 = ModelContract(
    name="coco_r50", classes=COCO_CLASSES, height=800, width=1333, base_channels=64, feature_channels=256
)
"""The recipe's model: FCOS R50-caffe 1x on COCO, mAP 0.359 on val2017."""

SHAPES = ModelContract(
    name="shapes", classes=SHAPES_CLASSES, height=256, width=427, base_channels=16, feature_channels=48,
    center_sampling=True,
)  # fmt: skip
"""The embedded default: the same architecture, slim, trained on drawings (`fixtures/shapes/README.md`)."""

SHAPES_GN = ModelContract(
    name="shapes_gn", classes=SHAPES_CLASSES, height=256, width=427, base_channels=8, feature_channels=48,
    style="pytorch", mean_bgr=(103.53, 116.28, 123.675), std_bgr=(57.375, 57.12, 58.395), channel_order="rgb",
    head_norm_groups=12, norm_on_bbox=True, centerness_on_reg=True, iou_threshold=0.6,
    center_sampling=True, loss_bbox="GIoULoss", limits_of=SHAPES.name,
)  # fmt: skip
"""The second embedded model: every switch that the zoo's best FCOS sets, trained on the same drawings."""

EMBEDDED = {contract.name: contract for contract in (SHAPES, SHAPES_GN)}
"""Contracts whose trained checkpoint and dataset come with the suite."""

CONTRACTS = {COCO_R50.name: COCO_R50, **EMBEDDED}


def contract_for(classes: tuple[str, ...]) -> ModelContract:
    """The contract whose class names are exactly these, in any order; `UsageError` if there is none."""
    for contract in CONTRACTS.values():
        if set(contract.classes) == set(classes):
            return contract
    known = ", ".join(f"{contract.name} ({len(contract.classes)} classes)" for contract in CONTRACTS.values())
    raise UsageError(
        f"no model contract fits the dataset's {len(classes)} categories ({', '.join(sorted(classes)[:5])}, ...)",
        f"known contracts: {known}; describe yours in a FILE.toml (docs/adding_a_contract.md) or pass the dataset that the checkpoint was trained for",
    )
