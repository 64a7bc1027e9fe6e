"""Defects between a JPEG and the network's input, and on the way back to the picture.

These functions are shared by reference and candidate, so both see the same wrong pictures and agree about them: nothing that
compares the two can notice. Such runs get no kept references, whose audit would, unless that is what is to be shown.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import Any

import numpy as np

from tests.gateproof.case import PART, REFUSED, Case, Injection

LETTERBOX, GEOMETRY = "fcos_lib.stream.letterbox:letterbox", "fcos_lib.stream.letterbox:geometry"
TO_PICTURE = "fcos_lib.stream.letterbox:to_picture"
INPUTS, PLACES = "contract: wrong network inputs", "contract: inverse letterbox error"
MAP = "accuracy: mAP"
BOTH_SIDES = ("references",)
ABSOLUTE = "contract or accuracy"
"""Gates that do not take the reference's word."""


def _bgr_rgb(original: Any, picture: Any, contract: Any, out: Any) -> Any:
    return original(np.ascontiguousarray(picture[:, :, ::-1]), contract, out)


def _with_mean(*mean: float) -> Any:
    def letterbox(original: Any, picture: Any, contract: Any, out: Any) -> Any:
        return original(picture, replace(contract, mean_bgr=mean), out)

    return letterbox


def _mean_order(original: Any, picture: Any, contract: Any, out: Any) -> Any:
    return original(picture, replace(contract, mean_bgr=contract.mean_bgr[::-1]), out)


def _padded_before_mean(original: Any, picture: Any, contract: Any, out: Any) -> Any:
    letterbox = original(picture, contract, out)
    inside = out[:, letterbox.rows, letterbox.columns].copy()
    out[...] = -np.array(contract.mean_bgr, np.float32)[:, None, None]
    out[:, letterbox.rows, letterbox.columns] = inside
    return letterbox


def _nearest(original: Any, picture: Any, contract: Any, out: Any) -> Any:
    import cv2

    letterbox = original(picture, contract, out)
    pixels = cv2.resize(picture, letterbox.resized, interpolation=cv2.INTER_NEAREST)
    out[:, letterbox.rows, letterbox.columns] = (pixels - np.array(contract.mean_bgr, np.float32)).transpose(2, 0, 1)
    return letterbox


def _in_the_corner(letterbox: Any, *_: Any) -> Any:
    return replace(letterbox, left=0, top=0)


def _rounded(letterbox: Any, width: int, height: int, contract: Any) -> Any:
    scale = min(contract.width / width, contract.height / height)
    wide, high = min(contract.width, round(width * scale)), min(contract.height, round(height * scale))
    left, top = (contract.width - wide) // 2, (contract.height - high) // 2
    return replace(letterbox, resized_width=wide, resized_height=high, left=left, top=top)


def _stretched(letterbox: Any, width: int, height: int, contract: Any) -> Any:
    return replace(letterbox, resized_width=contract.width, resized_height=contract.height, left=0, top=0)


def _offset_kept(original: Any, boxes: Any, letterbox: Any) -> Any:
    return original(boxes, replace(letterbox, left=0, top=0))


def _half_pixel(original: Any, boxes: Any, letterbox: Any) -> Any:
    return original(boxes + np.float32(0.5), letterbox)


def _ideal_scale(original: Any, boxes: Any, letterbox: Any) -> Any:
    scale = letterbox.resized_width / letterbox.picture_width
    other = letterbox.resized_height / letterbox.picture_height
    ideal = max(scale, other)  # flooring made one of them smaller than the ratio that was asked for
    offset = np.array([letterbox.left, letterbox.top] * 2, np.float32)
    limit = np.array([letterbox.picture_width, letterbox.picture_height] * 2, np.float32)
    return np.clip((boxes - offset) / np.float32(ideal), np.float32(0), limit)


def _orientation_ignored(original: Any, picture: Any) -> Any:
    import cv2

    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(picture.path.read_bytes(), np.uint8), flags)


def turned_dataset(child: Any) -> tuple[str, ...]:
    """A copy of the embedded dataset in which every tenth picture is stored upside down and says so (EXIF orientation 3)."""
    import cv2

    options = copied_dataset(child)
    names = sorted((child.folder / "dataset" / "val2017").iterdir())[::10]
    for path in names:
        picture = cv2.imread(str(path))
        data = cv2.imencode(".jpg", np.ascontiguousarray(picture[::-1, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 98])[
            1
        ].tobytes()
        tag = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0"
        path.unlink()
        path.write_bytes(data[:2] + b"\xff\xe1" + (len(tag) + 2).to_bytes(2, "big") + tag + data[2:])
        assert np.abs(cv2.imread(str(path)).astype(int) - picture).mean() < 8, "the picture is not stored upside down"
    return options


def copied_dataset(child: Any) -> tuple[str, ...]:
    """The embedded dataset in a folder of its own."""
    from fixtures.settings import EMBEDDED, EMBEDDED_CHECKPOINT

    target = child.folder / "dataset"
    for part in ("annotations", "val2017"):
        shutil.copytree(EMBEDDED / part, target / part)
    return "--dataset", str(target), "--checkpoint", str(EMBEDDED_CHECKPOINT)


def twins(child: Any) -> tuple[str, ...]:
    """A copy of the embedded dataset with each picture twice, every other time with other metadata; 30 pairs are under test.

    Of a part, since no absolute limit was measured on this dataset.
    """
    options = copied_dataset(child)
    folder = child.folder / "dataset"
    path = folder / "annotations" / "instances_val2017.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    comment = b"\xff\xfe" + (2 + 5).to_bytes(2, "big") + b"other"
    for place, image in enumerate(sorted(document["images"], key=lambda one: one["id"])):
        data = (folder / "val2017" / image["file_name"]).read_bytes()
        twin = image | {"id": 10_000_000 + image["id"], "file_name": f"twin-{image['file_name']}"}
        added = comment if place % 16 else b""
        (folder / "val2017" / twin["file_name"]).write_bytes(data[:2] + added + data[2:])
        document["images"].append(twin)
    document["annotations"] += [
        one | {"id": 10_000_000 + one["id"], "image_id": 10_000_000 + one["image_id"]}
        for one in document["annotations"]
    ]
    path.unlink()
    path.write_text(json.dumps(document), encoding="utf-8")
    return *options, "--pictures", "60"


def shuffled_annotations(child: Any) -> tuple[str, ...]:
    """The embedded dataset with annotations that belong to the picture of the same size before it."""
    options = copied_dataset(child)
    path = child.folder / "dataset" / "annotations" / "instances_val2017.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    by_size: dict[tuple[int, int], list[int]] = {}
    for image in document["images"]:
        by_size.setdefault((image["width"], image["height"]), []).append(image["id"])
    other = {one: ids[place - 1] for ids in by_size.values() for place, one in enumerate(ids)}
    for annotation in document["annotations"]:
        annotation["image_id"] = other[annotation["image_id"]]
    path.unlink()
    path.write_text(json.dumps(document), encoding="utf-8")
    return options


def _no_mean(text: str, *_: Any) -> str:
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.strip().startswith(("mean_chn", "min_chn")))


def _padded_with_black(original: Any, picture: Any, contract: Any, out: Any) -> Any:
    letterbox = original(picture, contract, out)
    inside = out[letterbox.rows, letterbox.columns].copy()
    out[...] = 0
    out[letterbox.rows, letterbox.columns] = inside
    return letterbox


def _shared(name: str, what: str, target: str, kind: str, change: Any, *gates: str, words: str = "") -> Case:
    options = () if MAP in gates else PART  # mAP itself is judged on all pictures only
    return Case(name, what, gates, words, (Injection(target, kind, change),), BOTH_SIDES, ABSOLUTE, options)


CASES = (
    _shared("bgr_rgb", "channels in the order red, green, blue", LETTERBOX, "function", _bgr_rgb, INPUTS, MAP),
    _shared("mean_dropped", "no mean is subtracted", LETTERBOX, "function", _with_mean(0, 0, 0), INPUTS),
    _shared("mean_order", "the mean in the order of RGB", LETTERBOX, "function", _mean_order, INPUTS),
    _shared("mean_of_torchvision", "the mean of torchvision's models", LETTERBOX, "function",
            _with_mean(103.53, 116.28, 123.675), INPUTS),
    _shared("padding_before_mean", "padded with black before the mean is subtracted", LETTERBOX, "function",
            _padded_before_mean, INPUTS),
    _shared("interpolation_nearest", "resized without interpolation", LETTERBOX, "function", _nearest, INPUTS),
    _shared("padding_in_the_corner", "the picture in the upper left corner", GEOMETRY, "result", _in_the_corner, INPUTS),
    _shared("size_rounded", "the resized picture's size _rounded, not floored", GEOMETRY, "result", _rounded, INPUTS),
    _shared("aspect_ratio_ignored", "the picture stretched to the network's input", GEOMETRY, "result", _stretched, INPUTS),
    _shared("offset_kept", "the letterbox's offset is not subtracted from boxes", TO_PICTURE, "function", _offset_kept,
            PLACES, MAP),
    _shared("half_pixel", "half a pixel is added on the way back", TO_PICTURE, "function", _half_pixel, PLACES),
    _shared("ideal_scale", "boxes come back by the ideal ratio instead of the real one", TO_PICTURE, "function",
            _ideal_scale, PLACES),
    Case("exif_ignored", "the orientation in EXIF is not applied to one picture in ten", (INPUTS,), "",
         (Injection("fcos_lib.stream.dataset:read_picture", "function", _orientation_ignored),),
         BOTH_SIDES, ABSOLUTE, PART, arrange=turned_dataset),
    Case("bgr_rgb_with_kept_references", "channels swapped by something that the references' key does not know",
         (REFUSED,), "is not what onnxruntime computes now", (Injection(LETTERBOX, "function", _bgr_rgb),), marks="contract or consistency"),
    Case("aipp_mean_dropped", "AIPP does not subtract the mean", ("consistency: unexplained differences",), "",
         (Injection("fcos_lib.ascend.atc_command:aipp_config", "result", _no_mean),),
         marks="contract or consistency", options=("--aipp", *PART)),
    Case("aipp_padding_black", "pictures for AIPP are padded with black", (INPUTS, "consistency: unexplained differences"), "",
         (Injection("fcos_lib.stream.letterbox:letterbox_uint8", "function", _padded_with_black),),
         marks="contract or consistency", options=("--aipp", *PART)),
    Case("annotations_of_others", "annotations that belong to other pictures of the same size", (MAP,), "", marks="accuracy",
         arrange=shuffled_annotations),
)  # fmt: skip
