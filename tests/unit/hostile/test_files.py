"""Files from strangers: each is one clear error or a plain value, in bounded time and memory; nothing runs, nothing else is touched."""

import base64
import io
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.journal_shards import Maker, pack_shard
from fcos_lib.stream.reference_record import Record, write_record
from fcos_lib.stream.sessions import Detections
from tests.unit.hostile import makers as make
from tests.unit.hostile.bundles import BUNDLES
from tests.unit.hostile.kept import CHAMPION, DEEP, STORE

ROOT = Path(__file__).parents[3]
WIDE = "[" + "[]," * 17_000_000 + "[]]"
SECONDS, MEGABYTES = 20, 3000
"""Of one file, on a machine with other work; the longest take a tenth of it."""

DATASET = {  # single entries and kinds of pictures: tests/unit/stream/test_annotations.py and test_picture_formats.py
    "valid": (lambda folder: None, None),
    "deep": (make.annotated(DEEP), "is not JSON"),
    "deep-inside": (make.annotated(f'{{"images": {DEEP}{"]" * len(DEEP)}}}'), "is not JSON"),
    # Python 3.14 counts the stack, not the levels, and reads these.
    "less-deep": (make.annotated('{"images": ' + "[" * 5000 + "]" * 5000 + "}"), r"is not JSON|images\[0\] is no object"),
    "wide": (make.annotated('{"images": ' + WIDE + "}"), "holds more than 32,000,000 values"),
    "huge": (lambda folder: os.truncate(folder / make.ANNOTATIONS, 300 << 20), "has more than 268,435,456 bytes"),
    "no-utf-8": (lambda folder: (folder / make.ANNOTATIONS).write_bytes(b'{"images": "\xff"}'), "is not JSON"),
    "long-number": (make.annotated('{"images": [{"id": ' + "9" * 200_000 + "}]}"), "a number of 200000 digits"),
    "list": (make.annotated("[]"), "holds a list"),
    "captions": (make.annotated(lambda document: document.pop("categories")), "no list 'categories'"),
    "huge-size": (make.image(width=10**9), "outside 1..65535"),
    "no-pictures": (make.annotated(lambda document: document.update(images=[], annotations=[])), "lists no images"),
    "absent": (make.image(file_name="b.jpg"), "are not in .*b.jpg"),
    "orphan": (make.box(image_id=6), "does not list"),
    "pipe": (make.replaced(make.ANNOTATIONS, os.mkfifo), "does not exist"),
    "picture-twice": (make.image(id=2), "duplicate image ids"),
    "name-twice": (make.image(file_name="2.jpg"), "duplicate file names"),
    "huge-id": (make.image(id=2**70), "has the id 1180591620717411303424"),
    "absolute": (make.image(file_name="/etc/passwd"), "which leaves the folder"),
    "up": (make.image(file_name="../../outside/secret"), "which leaves the folder"),
    "sub-folder-is-a-link-out": (make.in_folder("street", lambda path: path.symlink_to("../../outside")), "links that lead out of it: street/1.jpg"),
    "sub-folder-is-a-link-up": (make.in_folder("street", lambda path: path.symlink_to("..")), "links that lead out of it: street/1.jpg"),
    "sub-folder-is-a-loop": (make.in_folder("street", lambda path: path.symlink_to("street")), "links that lead out of it|are not in"),
    "sub-folder-is-a-device": (make.in_folder("street", make.device), "links that lead out of it: street/1.jpg"),
    "sub-folder-is-a-file": (make.in_folder("street", Path.touch), "are not in .*street/1.jpg"),
    "sub-folder-that-leaves": (make.image(file_name="street/../../outside/secret"), "which leaves the folder"),
    "sub-folder-of-dots": (make.image(file_name="./././1.jpg"), None),
    "deep-sub-folder": (make.image(file_name="a/" * 120 + "1.jpg"), "are not in"),
    "large-float-id": (make.image(id=1e300), "which is no whole number"),
    "text-id": (make.image(id="1\n::error::x"), "which is no whole number"),
    "largest-id": (make.image(id=2**63 - 1), "does not list"),
    "two-dots": (make.image(file_name=".."), "are not in"),
    "nothing": (make.image(file_name=""), "are not in"),
    "nul": (make.image(file_name="a\0b.jpg"), "cannot be printed in a line"),
    "newline": (make.image(file_name="x\n::error::owned.jpg"), "cannot be printed in a line"),
    "escape": (make.image(file_name="\x1b]0;owned\x07.jpg"), "cannot be printed in a line"),
    "half-surrogate": (make.image(file_name="\ud800.jpg"), "cannot be printed in a line"),
    "long-name": (make.image(file_name="x" * 5000), "cannot be printed in a line"),
    "category-with-escape": (make.annotated(lambda document: document["categories"][0].update(name="\x1b[31m")), "cannot be printed"),
    "chinese": (make.annotated(lambda document: document["categories"][0].update(name="红色方块")), None),
    "infinite-box": (make.box(bbox=[0, 0, float("inf"), 1]), "not four finite numbers"),
    "huge-box": (make.box(bbox=[0, 0, 1e300, 1]), "not four finite numbers"),
    "text-box": (make.box(bbox=["1", 0, 1, 1]), "not four finite numbers"),
    "true-box": (make.box(bbox=[True, 0, 1, 1]), "not four finite numbers"),
    "nan-area": (make.box(area=float("nan")), "has the area nan"),
    "link-out": (make.link("OUTSIDE/secret"), "links that lead out of it: 1.jpg"),
    "link-up": (make.link("../../outside/secret"), "links that lead out of it: 1.jpg"),
    "link-to-device": (make.link("/dev/zero"), "links that lead out of it: 1.jpg"),
    "link-to-nothing": (make.link("gone.jpg"), "cannot be read"),
    "link-inside": (make.link("2.jpg"), None),
    "picture-is-a-pipe": (make.replaced("val2017/1.jpg", os.mkfifo), "it is not a plain file"),
    "picture-is-a-folder": (make.replaced("val2017/1.jpg", Path.mkdir), "it is not a plain file"),
    "empty": (make.picture(b""), "is empty"),
    "bomb": (make.picture(make.declared(65535, 65535), 65535, 65535), "says that it has 65535 x 65535 pixels"),
    "bomb-below-opencvs-limit": (make.picture(make.declared(32000, 32000), 32000, 32000), "more than 134,217,728"),
    "bomb-annotated-small": (make.picture(make.declared(65535, 65535)), "more than 134,217,728"),
    "png-bomb": (make.picture(make.png(65535, 65535, data=b"x"), 65535, 65535), "more than 134,217,728"),
    "many-scans": (make.picture(make.many_scans), "has 4"),
    "truncated": (make.picture(make.JPEG[:-200]), "is truncated"),
    "no-end": (make.picture(make.JPEG[:-2]), "is truncated"),
    "only-a-header": (make.picture(make.JPEG[:20]), "is not a picture"),
    "endless-markers": (make.picture(b"\xff\xd8" + b"\xff" * 100_000), "is not a picture"),
    "markers-without-length": (make.picture(b"\xff\xd8" + b"\xff\xe0\0\0" * 100_000), "is not a picture"),
    "cut-png": (make.picture(make.png()[:40]), "is not a picture that OpenCV can decode"),
    "png-of-nothing": (make.picture(make.png(data=b"")), "is not a picture that OpenCV can decode"),
    "many-chunks": (make.picture(make.png(extra=(b"\0\0\0\0acTL" + bytes(4)) * 500_000)), "has more than 10,000 chunks"),
    "exif-of-many-fields": (make.picture(make.JPEG[:2] + b"\xff\xe1\xff\xffExif\0\0MM\0*\0\0\0\x08" + b"\xff" * 65519 + make.JPEG[2:]), None),
    "heic-bomb": (make.picture(b"\0\0\0\x18ftypheic" + bytes(1 << 20)), "in JPEG or PNG but in HEIC"),
}  # fmt: skip
CHECKPOINT = {
    "code": (make.evil_checkpoint, "it names posix.system"),
    "code-in-the-old-format": (make.evil_legacy_checkpoint, "it names posix.system"),
    "code-in-a-pickle": (make.evil_pickle, "cannot be read as plain weights"),
    "zip-bomb": (make.bomb_checkpoint, "is compressed, as torch never does"),
    "bytearray": (make.raw_pickle(b"}X\x01\0\0\0acbuiltins\nbytearray\n\x8a\x06\0\0\0\0\x00\x10\x85Rs"), "it names builtins.bytearray"),
    "huge-shape": (make.raw_pickle(make.tensor([1 << 30, 1 << 20], [0, 0])), "for which it has too few bytes"),
    "huge-shape-with-strides": (make.raw_pickle(make.tensor([1 << 40], [1])), "cannot be read as plain weights"),
    "negative-shape": (make.raw_pickle(make.tensor([-5], [1])), "cannot be read as plain weights"),
    "negative-stride": (make.raw_pickle(make.tensor([5], [-1])), "cannot be read as plain weights"),
    "number-as-a-name": (make.raw_pickle(b"}K\x01" + make.tensor([1], [1])[7:]), "not a tensor under a name"),
    "no-tensor": (make.raw_pickle(b"}X\x01\0\0\0aK\x01s"), "holds int under 'a', not a tensor under a name"),
    "nothing": (make.raw_pickle(b"}"), "holds no state dict"),
    "endless-pickle": (make.raw_pickle(b"N0" * 1_500_000), "operations to read"),
    "many-marks": (make.raw_pickle(b"(" * 1_000_000), "cannot be read as plain weights"),
    "garbage": (lambda path: path.write_bytes(os.urandom(1000)), "cannot be read as plain weights"),
    "empty": (lambda path: path.write_bytes(b""), "cannot be read as plain weights"),
    "head": (lambda path: path.write_bytes((ROOT / "fixtures/shapes/fcos_shapes.pth").read_bytes()[:10]), "cannot be read as plain weights"),
    "torn": (lambda path: path.write_bytes((ROOT / "fixtures/shapes/fcos_shapes.pth").read_bytes()[:-5000]), "cannot be read as plain weights"),
}  # fmt: skip
ONNX = {
    "external-absolute": (make.external("OUTSIDE/secret"), "keeps 1 of its weights in other files"),
    "external-up": (make.external("../outside/secret"), "keeps 1 of its weights in other files"),
    "external-link": (make.external("link"), "keeps 1 of its weights in other files"),
    "foreign-operator": (make.node("Run", ["x"], ["y"], domain="evil", command="touch pwned"), "no graph that leads to|exported trunk is not"),
    "loop": (make.ascend_onnx(make.looping), "has Loop, which an exported FCOS has not"),
    "nested": (make.ascend_onnx(make.nested), "not a readable ONNX|no graph that leads to|exported trunk is not"),
    "cyclic": (make.ascend_onnx(make.cyclic), "no graph that leads to|exported trunk is not"),
    "no-inputs": (make.ascend_onnx(make.no_inputs), "has no boxes and scores"),
    "huge-tensor": (make.node("ConstantOfShape", ["boxes_of"], ["y"]), "no graph that leads to|exported trunk is not"),
    "garbage": (lambda path: path.write_bytes(os.urandom(1000)), "not a readable ONNX|0 nodes BatchMultiClassNMS"),
    "empty": (lambda path: path.write_bytes(b""), "0 nodes BatchMultiClassNMS"),
}  # fmt: skip


def result_files(names, content=None):
    """A result folder with these names, each with labels or dets."""

    def spoil(folder):
        folder.mkdir()
        for number, name in enumerate(names):
            data = content if content is not None else bytes(SHAPES.max_detections * (20 if number % 2 else 8))
            with open(os.path.join(os.fsencode(folder), os.fsencode(name)), "wb") as file:
                file.write(data)

    return spoil


def in_their_place(put):
    """A result folder with something else under every name."""

    def spoil(folder):
        folder.mkdir()
        for name in WHOLE:
            put(folder / name)

    return spoil


def linked_result(folder):
    """Results that are links to something else."""
    result_files(["1_0.bin", "1_1.bin"])(folder)
    (folder / "2_0.bin").symlink_to(folder.parents[1] / "outside" / "secret")


WHOLE = [f"{picture}_{number}.bin" for picture in (1, 2, 3) for number in (0, 1)]
RESULTS = {
    "valid": (result_files(WHOLE), None),
    "newline-in-a-name": (result_files([*WHOLE, "\n::error::owned_0.bin", "\n::error::owned_1.bin"]), None),
    "escape-in-a-name": (result_files([*WHOLE, "\x1b[2J_0.bin", "\x1b[2J_1.bin"]), "belong to no picture"),
    "command-in-a-name": (result_files([*WHOLE, "##[error]owned_0.bin", "##[error]owned_1.bin"]), "belong to no picture"),
    "no-utf-8": (result_files([*WHOLE, b"\xff\xfe_0.bin", b"\xff\xfe_1.bin"]), "belong to no picture"),
    "long-number": (result_files([*WHOLE, "1_" + "9" * 200 + ".bin"]), None),
    "shell": (result_files([*WHOLE, "$(touch pwned);`id`_0.bin", "$(touch pwned);`id`_1.bin"]), "belong to no picture"),
    "link": (linked_result, "is a link"),
    "folder": (in_their_place(Path.mkdir), "has no result files"),
    "pipe": (in_their_place(os.mkfifo), "has no result files"),
    "huge": (in_their_place(make.huge), "214,748,364,800 bytes"),
    "nan": (result_files(WHOLE, np.full(500, np.nan, np.float32).tobytes()), "both have the size of dets"),
    "object-array": (result_files([name.replace(".bin", ".npy") for name in WHOLE], b"\x93NUMPY\x01\0v\0" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1, 100)}".ljust(118) + bytes(800)), "nor dets"),
    "open-header": (result_files([name.replace(".bin", ".npy") for name in WHOLE], b"\x93NUMPY\x01\0v\0" + b"{'descr': (".ljust(118)), "is no .npy file"),
    "huge-shape": (result_files([name.replace(".bin", ".npy") for name in WHOLE], b"\x93NUMPY\x01\0v\0" + b"{'descr': '<i8', 'fortran_order': False, 'shape': (9999999999999,)}".ljust(118)), "nor dets"),
}  # fmt: skip
BINS = {
    "huge": (make.replaced("1.bin", make.huge), "has 214,748,364,800 bytes"),
    "link": (make.replaced("1.bin", make.device), "is no regular file"),
    "pipe": (make.replaced("1.bin", os.mkfifo), "is no regular file"),
    "escape": (make.replaced("\x1b[2J\n::error::x.bin", Path.touch), "has 0 bytes"),
    "long-digits": (make.replaced("9" * 250 + ".bin", Path.touch), "has 0 bytes"),
}  # fmt: skip


def packed(change):
    """A record of the reference with other members, as a zip."""

    def spoil(path):
        detections = Detections(np.zeros((1, 4), np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
        write_record(path, Record((8, 8), detections, None, "cpu"))
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        change(members)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if "bomb" in members else zipfile.ZIP_STORED) as archive:
            for name, data in members.items():
                archive.writestr(name, data)

    return spoil


RECORD = {
    "valid": (packed(lambda members: None), None),
    "bomb": (packed(lambda members: members.update(bomb=b"", **{"boxes.npy": bytes(64 << 20)})), "not a record"),
    "object": (packed(lambda members: members.update({"cpu.npy": members["cpu.npy"].replace(b"'|u1'", b"'|O' ")})), "not a record"),
    "link": (make.device, "not a record"),
    "huge": (make.huge, "not a record"),
    "garbage": (lambda path: path.write_bytes(b"PK\3\4" + os.urandom(500)), "not a record"),
}  # fmt: skip


def started_journal(spoil):
    """A journal, and something wrong in it."""

    def change(folder):

        with Journal(folder, [Picture(1, Path("1.jpg"), 8, 8)], 1, {"a": 1}):
            pass
        spoil(folder)

    return change


def shard(content):
    """The file of a shard."""
    return started_journal(lambda folder: (folder / "shard-00000.npz").write_bytes(content()))


def foreign_shard():
    """Whole, of another journal."""
    nothing = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))
    return pack_shard("x", {1: nothing}, Maker("host", 0, "0/0"))


def bomb():
    """Little that becomes much."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("journal.npy", bytes(64 << 20))
    return packed.getvalue()


JOURNAL = {
    "valid": (started_journal(lambda folder: None), None),
    "shard-is-a-pipe": (started_journal(lambda folder: os.mkfifo(folder / "shard-00000.npz")), "not a plain file"),
    "shard-is-a-device": (started_journal(lambda folder: (folder / "shard-00000.npz").symlink_to("/dev/zero")), "not a plain file"),
    "shard-is-a-link": (started_journal(lambda folder: (folder / "shard-00000.npz").symlink_to(folder.parent / "outside" / "secret")), None),
    "huge-shard": (started_journal(make.replaced("shard-00000.npz", make.huge)), "has more than"),
    "deep-shard": (shard(lambda: b"[" * 50_000), None),
    "bomb": (shard(bomb), None),
    "foreign-shard": (shard(foreign_shard), "results of another journal"),
    "lock-is-a-link": (started_journal(make.replaced("journal.lock", lambda path: path.symlink_to(path.parents[1] / "outside" / "secret"))), "failed"),
}  # fmt: skip


def text(content):
    """A file with this text, or these bytes."""
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content.encode())


WHOLE_RUN = (Path(__file__).parent / "corpus" / "results" / "whole.json").read_text()
DOCUMENTS = {
    "deep": (text(DEEP), "JSON"),
    "wide": (text('{"a": ' + WIDE[: 60 << 20].rstrip(",[]") + "]]}"), "JSON|holds more than|no list|schema|format|expected"),
    "huge": (make.huge, "is not a file of at most"),
    "long-number": (text('{"schema_version": ' + "9" * 100_000 + "}"), "digits"),
    "nan": (text('{"schema_version": NaN}'), "JSON|benchmarks|format|version"),
    "no-utf-8": (text(b'{"\xff": 1}'), "JSON"),
    "pipe": (os.mkfifo, "is not a file"),
    "device": (make.device, "is not a file"),
    "null": (text("null"), "version|benchmark|format"),
}  # fmt: skip
STATEMENT = (Path(__file__).parent / "corpus" / "statement" / "whole.json").read_text()


def enveloped(payload):
    """A DSSE envelope around these bytes."""
    envelope = {
        "payload": base64.b64encode(payload).decode(), "payloadType": "application/vnd.in-toto+json",
        "signatures": [{"sig": "AA==", "keyid": "x"}],
    }  # fmt: skip
    return json.dumps(envelope)


STATEMENTS = {name: (spoil, f"{words}|statement|expected") for name, (spoil, words) in DOCUMENTS.items()} | {
    "whole": (text(STATEMENT), None),
    "signed": (text(enveloped(STATEMENT.encode())), None),
    "signed-nothing": (text(enveloped(b"")), "is not JSON"),
    "signed-deep": (text(enveloped(DEEP.encode())), "is not JSON"),
    "signed-huge": (text(enveloped(b"[" + b" " * (17 << 20) + b"]")), "more than 16 MiB"),
    "signed-no-base64": (text(enveloped(b"").replace('"payload": ""', '"payload": "\u20ac"')), "not base64"),
    "command": (text(STATEMENT.replace("310P3", "\\n::error::owned")), "is not a statement"),
    "escape": (text(STATEMENT.replace("310P3", "\\u001b[31m")), "is not a statement"),
}  # fmt: skip
LIMITS = {
    "deep": (text("a = " + "[" * 50_000), "is not a limits file"),
    "binary": (text(bytes(1000)), "is not a limits file"),
    "device": (make.device, "no limits file"),
}


def sized(number):
    """A picture of an annotation file."""
    return {"id": number, "file_name": f"{number}.jpg", "width": 9, "height": 9}


def listing(pictures, categories):
    """An annotation file of so many, made when it is needed: every run that collects this module would make it."""

    def change(path):
        images = [sized(number) for number in range(pictures)]
        names = [{"id": number, "name": f"{number}"} for number in range(1, 1 + categories)]
        path.write_text(json.dumps({"images": images, "annotations": [], "categories": names}))

    return change


ROW = '{"image_id":7,"category_id":1,"bbox":[1,2,3,4],"score":0.5}'
"""What is wrong with single entries is in tests/unit/measure/coco/test_result_file.py: here is what exhausts or hides."""


def rows(content):
    """A result file of this text, beside annotations of a picture 7 with a category 1."""

    def change(path):
        beside = {"images": [sized(7)], "annotations": [], "categories": [{"id": 1, "name": "cat"}]}
        path.with_name("instances.json").write_text(json.dumps(beside))
        content(path) if callable(content) else path.write_text(content)

    return change


ROWS = {
    "valid": (rows(f"[{ROW}]"), None),
    "deep": (rows(DEEP), "the list does not end|nested too deeply"),
    "deep-inside": (rows(f'[{ROW[:-1]},"x":{DEEP}}}]'), "nested too deeply"),
    "many": (rows("[" + ",".join([ROW] * 300_000) + "]"), None),
    "many-empty": (rows("[" + "{}," * 6_000_000 + "{}]"), r"detections\[0\] is no detection"),
    "one-long": (rows(f'[{ROW[:-1]},"x":"{"x" * 60_000_000}"}}]'), "is longer than 8 MiB"),
    "one-wide": (rows(f'[{ROW[:-1]},"x":[{"1," * 30_000_000}1]}}]'), "is longer than 8 MiB"),
    "many-keys": (rows(lambda path: path.write_text(f'[{ROW[:-1]},{",".join(f"""{chr(34)}{n}{chr(34)}:0""" for n in range(400_000))},"score":1}}]')), "the key 'score' 2 times"),
    "blanks": (rows("[" + " " * 50_000_000 + "]"), None),
    "no-end": (rows(f"[{','.join([ROW] * 1000)}"), "the list does not end"),
    "false-ends": (rows(f'[{ROW[:-1]},"x":"{"}},{{" * 400_000}"}}]'), None),
    "long-number": (rows(ROW.join("[]").replace("0.5", "9" * 3_000_000)), "a number of 3000000 digits|score: "),
    "escaped-key": (rows(f'[{ROW[:-1]},"sc\\u006fre":1}}]'), "the key 'score' 2 times"),
    "escape": (rows(f'[{ROW[:-1]},"\x1b[31m::error::":1,"\x1b[31m::error::":1}}]'), "is no JSON object"),
    "huge": (rows(lambda path: path.write_text("[") and os.truncate(path, 5 << 30)), "has more than 4 GiB"),
    "zeros": (rows(lambda path: path.write_text("[") and os.truncate(path, 1 << 30)), r"detections\[0\] is no JSON object"),
    "pipe": (rows(os.mkfifo), "it is not a plain file"),
    "device": (rows(lambda path: path.symlink_to("/dev/zero")), "it is not a plain file"),
    "folder": (rows(Path.mkdir), "it is not a plain file"),
}  # fmt: skip
ANNOTATIONS_ALONE = {
    "deep": (text(DEEP), "is not JSON"),
    "wide": (text('{"images": ' + WIDE + "}"), "holds more than 32,000,000 values"),
    "huge": (lambda path: path.write_text("{") and os.truncate(path, 300 << 20), "has more than 268,435,456 bytes"),
    "cells": (listing(40_000, 1000), "lists 40,000 images and 1,000 categories"),
    "many-images": (listing(300_000, 1), None),
    "pipe": (os.mkfifo, "it is not a plain file"),
}  # fmt: skip
KINDS = {
    "result_rows": ("rows/results.json", ROWS),
    "annotation_file": ("instances/instances.json", ANNOTATIONS_ALONE),
    "dataset": ("coco", DATASET),
    "checkpoint": ("x.pth", CHECKPOINT),
    "foreign_onnx": ("x.onnx", ONNX),
    "result_folder": ("coco/results", RESULTS),
    "bins": ("bins", BINS),
    "record": ("x.npz", RECORD),
    "journal": ("journal", JOURNAL),
    "store": ("store", STORE),
    "champion": ("root", CHAMPION),
    "results": ("results.json", DOCUMENTS | {"whole": (text(WHOLE_RUN), None)}),
    "statement": ("statement.json", STATEMENTS),
    "bundle": ("bundle.zip", BUNDLES),
    "accepted": ("accepted.json", {name: case for name, case in DOCUMENTS.items() if name not in ("pipe", "device")}),
    "runs": ("runs/0001.json", {name: case for name, case in DOCUMENTS.items() if name not in ("pipe", "device")}),
    "limits": ("limits.toml", LIMITS),
}
CASES = [(kind, name) for kind, (_, cases) in KINDS.items() for name in cases]


def prepared(folder, kind, name):
    """Make the file of one case; its path, and what it must come to."""
    below, cases = KINDS[kind]
    spoil, expected = cases[name]
    (folder / "outside").mkdir(parents=True)
    (folder / "outside" / "secret").write_text("secret")
    path = folder / below
    if below.startswith("coco"):
        make.coco(folder / "coco")
    path.parent.mkdir(exist_ok=True)
    spoil(path)
    return path, expected


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What came of every file, all read by one child process; and the folder of each."""
    root = tmp_path_factory.mktemp("hostile")
    folders = {case: root / "-".join(case) for case in CASES}
    jobs = [(case[0], str(prepared(folder, *case)[0])) for case, folder in folders.items()]
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.hostile.child"], cwd=ROOT, input=json.dumps(jobs), capture_output=True,
        text=True, timeout=900, check=False, env={**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return {case: (answer, folders[case]) for case, answer in zip(CASES, json.loads(done.stdout), strict=True)}


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_hostile_file_is_refused_or_harmless(answers, case):
    """One error of ours that says what was found, or a value; soon, within memory, and nothing else was touched."""
    answer, folder = answers[case]
    expected = KINDS[case[0]][1][case[1]][1]
    assert "died" not in answer, f"the process that read it ended with {answer['died']}"
    assert "unexpected" not in answer, answer["unexpected"]
    if isinstance(expected, bool):
        assert answer.get("value") is expected, answer
    elif expected is None:
        assert not answer["error"], answer
    else:
        assert answer["error"], f"it was taken: {answer}"
        assert re.search(expected, answer["found"]), answer["found"]
        assert "\x1b" not in answer["found"]
        assert not re.search(r"^\s*::|##\[", answer["found"] + answer["advice"], re.M), (
            "a command for a CI system's log"
        )
    seconds, megabytes = answer["seconds"], answer["megabytes"]
    assert seconds < SECONDS, f"reading it took {seconds:.1f} s, at most {SECONDS} s are allowed"
    assert megabytes < MEGABYTES, f"reading it took {megabytes} MB of memory, at most {MEGABYTES} MB are allowed"
    left = [path.name for path in (folder / "outside").iterdir()]
    assert left == ["secret"], f"something was run, or written elsewhere: {left}"
    assert (folder / "outside" / "secret").read_text() == "secret"
