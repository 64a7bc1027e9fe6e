"""Hostile files, as small as they can be."""

import copy
import json
import os
import pickle
import struct
import zipfile
import zlib
from pathlib import Path

import cv2
import numpy as np
from onnx import TensorProto, helper

from fcos_lib.contract import SHAPES

JPEG = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8))[1].tobytes()
ANNOTATIONS = Path("annotations") / "instances_val2017.json"
DOCUMENT = {
    "images": [{"id": n, "file_name": f"{n}.jpg", "width": 40, "height": 30} for n in (1, 2, 3)],
    "categories": [{"id": 3, "name": "red square"}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}],
}


def coco(folder):
    """A valid COCO folder with three pictures."""
    for below in ("annotations", "val2017"):
        (folder / below).mkdir(parents=True)
    for record in DOCUMENT["images"]:
        (folder / "val2017" / record["file_name"]).write_bytes(JPEG)
    (folder / ANNOTATIONS).write_text(json.dumps(DOCUMENT))
    return folder


def replaced(name, put):
    """A file below the path, or the path itself for an empty name, replaced by what `put` makes."""

    def spoil(path):
        file = path / name if name else path
        file.parent.mkdir(exist_ok=True)
        file.unlink(missing_ok=True)
        put(file)

    return spoil


def device(path):
    """A link to a file without an end."""
    path.symlink_to("/dev/zero")


def huge(path):
    """More bytes than any disk has, none of them written."""
    path.touch()
    os.truncate(path, 200 << 30)


def annotated(change):
    """The folder with a changed annotation file: a function changes the document, or text replaces it."""

    def spoil(folder):
        if callable(change):
            document = copy.deepcopy(DOCUMENT)
            change(document)
            text = json.dumps(document)
        else:
            text = change
        (folder / ANNOTATIONS).write_text(text)

    return spoil


def image(**fields):
    """The first picture's record with other fields."""
    return annotated(lambda document: document["images"][0].update(fields))


def box(**fields):
    """The only object with other fields."""
    return annotated(lambda document: document["annotations"][0].update(fields))


def picture(content, width=40, height=30):
    """The folder with another first picture, annotated with this size."""

    def spoil(folder):
        image(width=width, height=height)(folder)
        (folder / "val2017" / "1.jpg").write_bytes(content() if callable(content) else content)

    return spoil


def link(target):
    """The folder with a link instead of the first picture."""

    def spoil(folder):
        path = folder / "val2017" / "1.jpg"
        path.unlink()
        path.symlink_to(os.path.expandvars(str(target)).replace("OUTSIDE", str(folder.parent / "outside")))

    return spoil


def in_folder(below, put):
    """The folder whose first picture is annotated in a sub-folder, which `put` makes; the picture lies there if it is a folder."""

    def spoil(folder):
        image(file_name=f"{below}/1.jpg")(folder)
        put(folder / "val2017" / below)
        if (folder / "val2017" / below).is_dir() and not (folder / "val2017" / below).is_symlink():
            (folder / "val2017" / "1.jpg").rename(folder / "val2017" / below / "1.jpg")

    return spoil


def declared(width, height):
    """A JPEG whose header says another size."""
    frame = JPEG.index(b"\xff\xc0")
    return JPEG[: frame + 5] + struct.pack(">HH", height, width) + JPEG[frame + 9 :]


def many_scans(count=4000):
    """A progressive JPEG that goes over the picture again and again."""
    data = cv2.imencode(".jpg", np.zeros((30, 40, 3), np.uint8), [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * count + b"\xff\xd9"


def png(width=40, height=30, data=None, extra=b""):
    """A PNG with any header."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = data if data is not None else zlib.compress((b"\0" + bytes(width * 3)) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


class Evil:
    """Would leave a file behind, wherever it is unpickled."""

    def __init__(self, canary):
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def raw_pickle(body):
    """A `.pth` of today's format with any operations in it."""

    def spoil(path):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x/data.pkl", b"\x80\x02" + body + b".")
            archive.writestr("x/byteorder", "little")
            archive.writestr("x/data/0", b"\0" * 4)
            archive.writestr("x/version", "3\n")

    return spoil


def tensor(shape, stride):
    """The operations that make `{'a': tensor}` of a storage with one float."""

    def whole(numbers):
        return b"(" + b"".join(b"\x8a\x08" + struct.pack("<q", number) for number in numbers) + b"t"

    storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x01tQ"
    rebuilt = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\0" + whole(shape) + whole(stride)
    return b"}X\x01\0\0\0a" + rebuilt + b"\x89ccollections\nOrderedDict\n)RtRs"


def evil_checkpoint(path):
    """As mmengine lays it out, with an object in it that runs a command."""
    import torch

    torch.save({"state_dict": {"a": torch.zeros(1), "b": Evil(path.parent / "outside" / "pwned")}}, path)


def evil_legacy_checkpoint(path):
    """The same in the format of 2019."""
    import torch

    content = {"state_dict": {"b": Evil(path.parent / "outside" / "pwned")}}
    torch.save(content, path, _use_new_zipfile_serialization=False)


def evil_pickle(path):
    """No checkpoint at all."""
    path.write_bytes(pickle.dumps(Evil(path.parent / "outside" / "pwned")))


def bomb_checkpoint(path):
    """An archive that unpacks to a thousand times its size."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("x/data/0", "w", force_zip64=True) as member:
            for _ in range(512):
                member.write(bytes(1 << 20))
        archive.writestr("x/data.pkl", b"\x80\x02}.")
        archive.writestr("x/version", "3\n")


def ascend_onnx(change):
    """A small graph that ends in the NMS of Ascend, changed."""

    def spoil(path):
        rows, classes = SHAPES.proposals, len(SHAPES.classes)
        boxes = helper.make_tensor("boxes_of", TensorProto.FLOAT, [1, rows, 4], np.zeros(rows * 4, np.float32))
        zeros = np.zeros(rows * classes, np.float32)
        scores = helper.make_tensor("scores_of", TensorProto.FLOAT, [1, rows, classes], zeros)
        nodes = [
            helper.make_node("Cast", ["boxes_of"], ["boxes_half"], name="cast", to=TensorProto.FLOAT16),
            helper.make_node("BatchMultiClassNMS", ["boxes_half", "scores_of"], ["b", "s", "c", "n"], name="nms"),
        ]
        shape = ["batch", *SHAPES.input_shape(1)[1:]]
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info(SHAPES.input_name, TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)], [boxes, scores],
        )  # fmt: skip
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)])
        change(model, path)
        path.write_bytes(model.SerializeToString())

    return spoil


def external(location):
    """Weights that are said to be in another file."""

    def change(model, path):
        first = model.graph.initializer[0]
        first.ClearField("float_data")
        first.data_location = 1
        for key, value in (("location", location.replace("OUTSIDE", str(path.parent / "outside"))), ("length", "16")):
            entry = first.external_data.add()
            entry.key, entry.value = key, value
        if location == "link":
            (path.parent / "link").symlink_to(path.parent / "outside" / "secret")

    return ascend_onnx(change)


def node(operator, inputs, outputs, domain="", **attributes):
    """The graph with one more node in front."""

    def change(model, path):
        more = helper.make_node(operator, inputs, outputs, name="more", domain=domain, **attributes)
        model.graph.node.insert(0, more)

    return ascend_onnx(change)


def looping(model, path):
    """A loop that never ends, inside of a branch."""
    body = helper.make_graph([helper.make_node("Loop", ["", "yes"], ["x"], name="loop")], "body", [], [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, None)])  # fmt: skip
    model.graph.node.insert(0, helper.make_node("If", ["yes"], ["y"], name="if", then_branch=body, else_branch=body))


def nested(model, path):
    """Branches in branches, deeper than any parser goes."""
    graph = helper.make_graph([], "g", [], [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)])
    while graph.ByteSize() <= 1 << 20:
        branch = helper.make_node("If", ["c"], ["x"], then_branch=graph, else_branch=graph)
        graph = helper.make_graph([branch], "g", [], [])
    model.graph.node.insert(0, helper.make_node("If", ["c"], ["x"], then_branch=graph, else_branch=graph))


def cyclic(model, path):
    """A cast that feeds itself."""
    model.graph.node[0].input[0] = "boxes_half"


def no_inputs(model, path):
    """An NMS of nothing."""
    del model.graph.node[1].input[:]
