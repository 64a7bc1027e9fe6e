"""What a config does with a picture before the network sees it, and what its classes are called."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fcos_lib.contract import COCO_CLASSES
from fcos_lib.errors import UsageError
from fcos_lib.model.config_parts import PREPROCESSOR, SCALES, TRANSFORMS, UNSUPPORTED, entries_of, held_to, plain
from fcos_lib.model.config_syntax import Node, refuse

_DATASETS = ("test_dataloader", "val_dataloader", "train_dataloader")
_OLD_DATASETS = ("test", "val", "train")
_MOST_DATASETS = 100
_Step = tuple[str, Node, Mapping[str, Node]]
"""A transform: its type, where it is, and its other entries."""
_CLASSES = "write metainfo=dict(classes=(...)) into the dataset as mmdetection reads it, or pass --classes NAME,NAME"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a contract and where it comes from."""

    value: Any
    source: str


def input_fields(variables: Mapping[str, Node], model: Mapping[str, Node], size: tuple[int, int] | None) -> dict[str, Field]:  # fmt: skip
    """height, width, mean_bgr, std_bgr and channel_order, by the test pipeline and the preprocessor; `size`: rows and columns as told."""
    steps = _test_pipeline(variables)
    return {**_size(steps, size), **_normalisation(steps, model.get("data_preprocessor"))}


def _test_pipeline(variables: Mapping[str, Node]) -> list[_Step]:
    """The transforms of a picture at test time: type, node and entries, each held to what is supported, in a supported order."""
    pipeline = next((each.get("pipeline") for each in _datasets(variables, first=True)), None)
    pipeline = pipeline or variables.get("test_pipeline")
    if pipeline is None:
        return []
    steps = _steps(pipeline)
    order = [list(TRANSFORMS).index(kind) for kind, _, _ in steps]
    for (kind, node, _), here, next_one in zip(steps, order, order[1:], strict=False):
        if kind in ("Resize", "RandomFlip", "Normalize", "Pad") and next_one < here and next_one > 1:
            refuse(node.place, f"the test pipeline has {kind} too early", f"the order is {', '.join(TRANSFORMS)}")
    return steps


def _steps(pipeline: Node, scale: Node | None = None) -> list[_Step]:
    """The transforms of a list; `scale` is what mmdet 2.x's `MultiScaleFlipAug` around it says."""
    if not isinstance(pipeline.value, list | tuple):
        refuse(pipeline.place, "the test pipeline is no list", "pass a config of mmdetection")
    steps: list[_Step] = []
    for node in pipeline.value:
        entries = dict(entries_of(node, "a transform of the test pipeline"))
        kind = str(plain(entries.pop("type", Node(None, node.place)), "type"))
        if kind == "MultiScaleFlipAug" and scale is None:
            outer = held_to(Node(entries, node.place), SCALES, kind)
            if "transforms" not in outer or "img_scale" not in outer:
                refuse(node.place, f"{kind} has no img_scale or no transforms", UNSUPPORTED)
            steps += _steps(outer["transforms"], outer["img_scale"])
            continue
        if kind not in TRANSFORMS:
            refuse(node.place, f"the test pipeline has {kind[:60]}; supported is {', '.join(TRANSFORMS)}", UNSUPPORTED)
        if kind == "Resize":
            entries |= {"img_scale": scale} if scale else {}
            if "img_scale" in entries:
                entries.setdefault("keep_ratio", Node(True, node.place))  # mmdet 2.x's default
        steps.append((kind, node, held_to(Node(entries, node.place), TRANSFORMS[kind], kind)))
    return steps


def _size(steps: list[_Step], told: tuple[int, int] | None) -> dict[str, Field]:
    if told:
        return {"height": Field(told[0], "--input-size"), "width": Field(told[1], "--input-size")}
    resizes = [(node, entries) for kind, node, entries in steps if kind == "Resize"]
    if len(resizes) != 1:
        raise UsageError(
            f"the config's test pipeline has {len(resizes)} Resize, so it does not say the size of the network's input",
            "pass the rows and columns of the network's input: --input-size 800 1333",
        )
    node, entries = resizes[0]
    scale = entries.get("scale", entries.get("img_scale"))
    edges = plain(scale) if scale else None
    if isinstance(edges, tuple) and len(edges) == 1:
        (edges,) = edges
    if not isinstance(edges, tuple) or len(edges) != 2 or not all(type(edge) is int for edge in edges):
        refuse((scale or node).place, f"Resize's scale is {edges!r}, and not two lengths", "pass --input-size ROWS COLUMNS")  # fmt: skip
    assert scale is not None
    source = f"{scale.place}: the {{}} edge of the test pipeline's Resize"
    return {
        "height": Field(min(edges), source.format("shorter")),
        "width": Field(max(edges), source.format("longer")),
    }


def _normalisation(steps: list[_Step], preprocessor: Node | None) -> dict[str, Field]:
    """mean_bgr, std_bgr and channel_order: mmdet 3.x has them in the preprocessor, 2.x in the pipeline."""
    normalise = [(node, entries) for kind, node, entries in steps if kind == "Normalize"]
    for kind, node, entries in steps:
        if kind == "Pad" and not normalise:
            refuse(node.place, "the test pipeline pads before the mean is subtracted, and the letterbox pads with the mean", "take Pad out: DetDataPreprocessor pads")  # fmt: skip
        if kind == "Pad" and "pad_val" in entries and plain(entries["pad_val"]) not in (0, {"img": 0}):
            refuse(entries["pad_val"].place, "Pad's pad_val is not 0", UNSUPPORTED)
    nodes = [(node, entries, "to_rgb", True) for node, entries in normalise]
    if preprocessor is not None and preprocessor.value is not None:
        entries = held_to(preprocessor, PREPROCESSOR, "model.data_preprocessor")
        flips = "rgb_to_bgr" if plain(entries.get("rgb_to_bgr", Node(False, preprocessor.place))) else "bgr_to_rgb"
        if not nodes or entries.get("mean", Node(None, preprocessor.place)).value is not None:
            nodes.append((preprocessor, entries, flips, False))
    if len(nodes) != 1:
        raise UsageError(
            f"the config subtracts a mean in {len(nodes)} places, and a contract has one",
            "give it either model.data_preprocessor (mmdetection 3.x) or one Normalize in the test pipeline (2.x)",
        )
    node, entries, flips, default = nodes[0]
    flipped = entries[flips].value if flips in entries else default
    if not isinstance(flipped, bool):
        refuse(entries[flips].place, f"{flips} is neither True nor False", "write one of them")
    source = f"{node.place}, channels of the network turned round" if flipped else str(node.place)
    given = {key: plain(entries[key]) if key in entries else None for key in ("mean", "std")}
    if (given["mean"] is None) != (given["std"] is None):
        refuse(node.place, "there is a mean without a std, or the other way round", "give both")
    mean = (0.0,) * 3 if given["mean"] is None else given["mean"]
    std = (1.0,) * 3 if given["std"] is None else given["std"]
    for key, value in (("mean", mean), ("std", std)):
        if not isinstance(value, tuple) or len(value) != 3:
            refuse(entries[key].place, f"{key} is {value!r:.80} and not three numbers", UNSUPPORTED)
    return {
        "mean_bgr": Field(list(mean[::-1] if flipped else mean), source),
        "std_bgr": Field(list(std[::-1] if flipped else std), source),
        "channel_order": Field("rgb" if flipped else "bgr", str(entries[flips].place if flips in entries else node.place)),
    }  # fmt: skip


def class_field(variables: Mapping[str, Node], count: Node, told: tuple[str, ...]) -> Field:
    """The names of the classes in label order; `UsageError` with the line of `num_classes` if there are not as many."""
    field = Field(list(told), "--classes") if told else _named_classes(variables)
    if field is None:
        kinds = {str(plain(each["type"], "type")) for each in _datasets(variables) if "type" in each}
        kinds = kinds or {str(plain(variables[name], "type")) for name in ("dataset_type",) if name in variables}
        if kinds != {"CocoDataset"}:
            what = ", ".join(sorted(kinds)) or "no dataset"
            refuse(count.place, f"the config names no classes, and {what} has them elsewhere", _CLASSES)
        field = Field("coco", "CocoDataset's own")
    names = len(COCO_CLASSES) if field.value == "coco" else len(field.value)
    if plain(count) != names or isinstance(count.value, bool):
        refuse(
            count.place,
            f"num_classes is {plain(count)!r:.40}, and {names} classes have names ({field.source})",
            _CLASSES,
        )
    return Field("coco", field.source) if tuple(field.value) == COCO_CLASSES else field


def _named_classes(variables: Mapping[str, Node]) -> Field | None:
    """The classes that the datasets name, all the same; else those of the variables `metainfo` and `classes`."""
    nodes = [node for each in _datasets(variables) for node in _class_nodes(each)] or list(_class_nodes(variables))
    for node in nodes:
        names = plain(node)
        if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
            refuse(node.place, "classes is no list of texts: ('cat') is a text, ('cat',) is a list", _CLASSES)
        if plain(nodes[0]) != names:
            refuse(node.place, f"classes are others here than in {nodes[0].place}", "name the same everywhere")
    return Field(list(plain(nodes[0])), str(nodes[0].place)) if nodes else None


def _class_nodes(entries: Mapping[str, Node]) -> Iterator[Node]:
    info = entries.get("metainfo")
    if info is not None and isinstance(info.value, dict):
        yield from (info.value[key] for key in ("classes", "CLASSES") if key in info.value)
    if "classes" in entries and entries["classes"].value is not None:
        yield entries["classes"]


def _datasets(variables: Mapping[str, Node], *, first: bool = False) -> Iterator[Mapping[str, Node]]:
    """The datasets of a config, those inside of others too; with `first` only the one that is tested on, if it is one."""
    old = variables.get("data")
    tested = 2 if first else None
    outer = [(variables, name) for name in _DATASETS[:tested]]
    if old is not None and isinstance(old.value, dict):
        outer += [(old.value, name) for name in _OLD_DATASETS[:tested]]
    waiting = [entries[name] for entries, name in outer if name in entries]
    for _ in range(_MOST_DATASETS):
        if not waiting:
            return
        node = waiting.pop(0)
        if isinstance(node.value, list | tuple):
            waiting = [*node.value, *waiting]
        if not isinstance(node.value, dict):
            continue
        inner = [node.value[key] for key in ("dataset", "datasets") if key in node.value]
        if not inner:
            yield node.value
            if first:
                return
        waiting = inner + waiting
