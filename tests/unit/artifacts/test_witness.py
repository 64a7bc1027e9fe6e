"""mmdet's own detections come from the store when they are there, and nothing else is taken for them."""

import importlib.abc
import sys

import numpy as np
import pytest

from fcos_lib.artifacts import witness
from fcos_lib.artifacts.witness import FILE, NMS, read_witness, witness_artifact, write_witness
from fcos_lib.contract import SHAPES
from fcos_lib.errors import NotInstalledError, StoreError
from fcos_lib.model import detector
from fcos_lib.store.artifacts import Store
from fcos_lib.stream.dataset import open_dataset
from fixtures.settings import EMBEDDED, EMBEDDED_CHECKPOINT


@pytest.fixture(scope="module")
def pictures():
    """Two pictures with objects."""
    return open_dataset(EMBEDDED).pictures[1:3]


@pytest.fixture
def counted(monkeypatch):
    """The times that mmdet would have been asked; it answers with nothing."""
    asked = []

    def write(folder, contract, checkpoint, chosen):
        asked.append([picture.id for picture in chosen])
        (folder / FILE).write_bytes(b"")

    monkeypatch.setattr(witness, "write_witness", write)
    return asked


def test_it_is_asked_once_for_the_same_things(tmp_path, pictures, counted):
    """The same checkpoint, contract and pictures by content."""
    store = Store(tmp_path)
    for _ in range(2):
        witness_artifact(store, SHAPES, EMBEDDED_CHECKPOINT, pictures)
    assert len(counted) == 1
    witness_artifact(store, SHAPES, EMBEDDED_CHECKPOINT, pictures[:1])
    assert counted[1:] == [[pictures[0].id]]


@pytest.mark.parametrize("what", ["checkpoint", "picture"])
def test_it_is_asked_again_when_something_changes(tmp_path, pictures, counted, what):
    """Nothing stale is compared with. Sources and libraries are in every key of the store."""
    store, checkpoint = Store(tmp_path / "store"), tmp_path / "a.pth"
    checkpoint.write_bytes(EMBEDDED_CHECKPOINT.read_bytes())
    copies = []
    for picture in pictures:
        path = tmp_path / picture.path.name
        path.write_bytes(picture.path.read_bytes())
        copies.append(type(picture)(picture.id, path, picture.width, picture.height))
    witness_artifact(store, SHAPES, checkpoint, copies)
    changed = checkpoint if what == "checkpoint" else copies[0].path
    changed.write_bytes(changed.read_bytes() + b"\0")
    witness_artifact(store, SHAPES, checkpoint, copies)
    assert len(counted) == 2, f"another {what}, and the store's detections were taken"


def test_a_file_without_a_picture_is_refused(tmp_path, pictures):
    """Or one that is none."""
    np.savez(tmp_path / FILE, boxes_1=np.zeros((0, 4), np.float32))
    with pytest.raises(StoreError, match="does not hold mmdet's detections"):
        read_witness(tmp_path, pictures)
    (tmp_path / FILE).write_bytes(b"x")
    with pytest.raises(StoreError, match="does not hold mmdet's detections"):
        read_witness(tmp_path, pictures)


class _NoMmdet(importlib.abc.MetaPathFinder):
    """An installation without mmdet."""

    def find_spec(self, name, path=None, target=None):
        """It is not there."""
        if name.partition(".")[0] == "mmdet":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_without_mmdet_it_says_what_to_install(tmp_path, pictures, monkeypatch):
    """The gate is blocked by that, and says so."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "mmdet"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_NoMmdet(), *sys.meta_path])
    with pytest.raises(NotInstalledError, match="needs mmdet, and it does not import"):
        write_witness(tmp_path, SHAPES, EMBEDDED_CHECKPOINT, pictures)


def test_mmdet_finds_something_and_says_whose_nms_it_used(tmp_path, pictures):
    """Once for real: float32 boxes in network pixels, best first, and no level cut."""
    pytest.importorskip("torch", reason="needs the extra 'export'")
    write_witness(tmp_path, SHAPES, EMBEDDED_CHECKPOINT, pictures)
    detections = read_witness(tmp_path, pictures)
    assert list(detections) == [picture.id for picture in pictures]
    for seen in detections.values():
        assert (seen.boxes.dtype, seen.scores.dtype, seen.labels.dtype) == (np.float32, np.float32, np.int64)
        assert seen.scores.tolist() == sorted(seen.scores.tolist(), reverse=True)
        lowest, rightmost = seen.boxes.min(), seen.boxes[:, 2].max()
        assert 0 <= lowest <= rightmost <= SHAPES.width, f"boxes reach from {lowest} to {rightmost} px"
    count = sum(len(seen) for seen in detections.values())
    assert count > 3, f"mmdet found {count} objects in two pictures, too few to say anything"
    assert (tmp_path / NMS).read_text() == f"{detector.nms_of()}\n"
