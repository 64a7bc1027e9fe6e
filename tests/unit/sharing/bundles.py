"""A small bundle for tests: one picture with invented results of both sides, and ways to change what is in one."""

import hashlib
import io
import json
import zipfile

import numpy as np

from fcos_lib.contract import SHAPES
from fcos_lib.sharing.bundle import KEPT_VALUES, Tensors
from fcos_lib.sharing.digests import detection_digests
from fcos_lib.sharing.pack import Computed, pack_picture, write_bundle
from fcos_lib.stream.array_file import pack_arrays
from fcos_lib.stream.dataset import open_dataset
from fcos_lib.stream.feed import load_batch
from fixtures.settings import EMBEDDED

LAYERS = ("/conv1", "/conv2", "/conv3")


def tensors(shift=0.0, count=3):
    """One side: a few clear proposals far from each other, each of which is a detection."""
    boxes = np.zeros((SHAPES.proposals, 4), np.float32)
    scores = np.zeros((SHAPES.proposals, len(SHAPES.classes)), np.float32)
    for row in range(count):
        boxes[row] = np.array([60 * row, 10, 60 * row + 40, 60], np.float32) + np.float32(shift)
        scores[row, row] = 0.9 - 0.1 * row
    labels, dets = np.zeros(SHAPES.max_detections, np.int64), np.zeros((SHAPES.max_detections, 5), np.float32)
    labels[:count] = range(count)
    dets[:count, :4], dets[:count, 4] = boxes[:count], scores[range(count), range(count)]
    return Tensors(labels, dets, boxes, scores)


def write(path, shown="whole", candidate=None, pictures=1, **changes):
    """A bundle of the first embedded pictures; `changes` go into its manifest."""
    entries, members = [], {}
    candidate = candidate or tensors(0.01)
    for picture in open_dataset(EMBEDDED).pictures[:pictures]:
        files = {str(picture.id): hashlib.sha256(picture.path.read_bytes()).hexdigest()}
        kept = detection_digests("batch4", {picture.id: candidate.detections}, files)
        run = {"detections": [kept], "pictures": files}
        layers = np.full((len(LAYERS), KEPT_VALUES), 0.5, np.float32)
        computed = Computed(picture, load_batch([picture], SHAPES, 1).tensor, tensors(), candidate, layers)
        entry, files = pack_picture(computed, SHAPES, shown, run, "batch4")
        entries.append(entry)
        members |= files
    manifest = {
        "format": 1, "subject": "batch4", "batch": 4, "layout": "float32 NCHW", "contract": SHAPES.as_dict(),
        "stand_in": True, "device": None, "cpu": "a CPU", "sources": None, "started_at": "2026-11-01T10:00:00Z",
        "onnx": "1" * 64, "om": "2" * 64, "layers": list(LAYERS),
        "precision_mode": "force_fp16", "explanation": ["of -0.0420: -0.0390 network"], "pictures": entries,
    }  # fmt: skip
    write_bundle(path, manifest | changes, members)
    return path


def changed(path, change, *, rehash=True, arrays=None):
    """The bundle after `change` was done to its manifest, and to the first picture's arrays by `arrays`; beside it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members.pop("manifest.json"))
    if arrays:
        name = next(name for name in members if name.endswith(".npz"))
        with np.load(io.BytesIO(members[name])) as loaded:
            content = dict(loaded)
        arrays(content)
        members[name] = pack_arrays(content)
    if rehash:
        manifest["members"] = {
            name: {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)} for name, data in members.items()
        }
    change(manifest)
    tampered = path.with_name("tampered.zip")
    with zipfile.ZipFile(tampered, "w") as archive:
        for name, data in {"manifest.json": json.dumps(manifest).encode(), **members}.items():
            archive.writestr(name, data)
    return tampered
