"""A record on disk is whole, is believed only after checks, and goes when it is the longest unused."""

import hashlib
import io
import os
import pickle
import signal
import zipfile

import cv2
import numpy as np
import pytest

from tests.unit.stream.references_worker import HEIGHT, WIDTH, assert_equal, child, draw, opened, records


@pytest.fixture
def pictures(tmp_path):
    """Five pictures."""
    return draw(tmp_path / "pictures", 5)


@pytest.fixture
def root(tmp_path):
    """The folder of the references."""
    return tmp_path / "references"


FIRST = hashlib.sha256(
    cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), (0, 90, 200), np.uint8))[1].tobytes()
).hexdigest()
"""Of the first picture's file."""


class Bomb:
    """Unpickled, it leaves a trace."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def packed(compress=False, **changed):
    """A record with some members replaced; bytes are taken for the member as they are."""
    arrays = {
        "size": np.array([WIDTH, HEIGHT]),
        "boxes": np.ones((2, 4), np.float32),
        "scores": np.array([0.9, 0.8], np.float32),
        "labels": np.array([1, 2]),
        "cpu": np.frombuffer(b"here", np.uint8),
        "picture": np.frombuffer(FIRST.encode(), np.uint8),
    } | changed
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            if array is None:
                continue
            if not isinstance(array, bytes):
                member = io.BytesIO()
                np.lib.format.write_array(member, array, allow_pickle=True)
                array = member.getvalue()
            archive.writestr(f"{name}.npy", array)
    return data.getvalue()


def header(text):
    """A `.npy` member that claims more than it holds."""
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + bytes(64)


HOSTILE = {
    "empty": b"",
    "no zip": b"PK\x03\x04 and then nothing",
    "pickle alone": pickle.dumps([1, 2]),
    "missing member": packed(labels=None),
    "another picture's": packed(picture=np.frombuffer(b"0" * 64, np.uint8)),
    "of no picture": packed(picture=None),
    "wrong dtype": packed(scores=np.array([0.9, 0.8])),
    "wrong shape": packed(boxes=np.ones((2, 5), np.float32)),
    "more boxes than scores": packed(boxes=np.ones((3, 4), np.float32)),
    "more rows than the model has": packed(
        boxes=np.ones((101, 4), np.float32), scores=np.ones(101, np.float32), labels=np.ones(101, np.int64)
    ),
    "NaN": packed(boxes=np.full((2, 4), np.nan, np.float32)),
    "infinite score": packed(scores=np.array([np.inf, 0.8], np.float32)),
    "unknown label": packed(labels=np.array([1, 8])),
    "negative label": packed(labels=np.array([1, -1])),
    "Fortran order": packed(boxes=np.asfortranarray(np.ones((2, 4), np.float32))),
    "a terabyte claimed": packed(boxes=header("{'descr': '<f4', 'fortran_order': False, 'shape': (68719476736, 4), }")),
    "negative rows": packed(scores=header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }")),
    "code for a header": packed(scores=header("__import__('os').abort()")),
    "nested header": packed(scores=header("(" * 5000)),
    "compressed": packed(compress=True),
    "zip bomb": packed(compress=True, boxes=bytes(10_000_000)),
    "far too large": packed(cpu=np.zeros(3_000_000, np.uint8)),
    "wrong proposals": packed(proposal_boxes=np.ones((5, 4), np.float32), proposal_scores=np.ones((5, 8), np.float32)),
}


def test_a_sound_record_is_believed(root, pictures):
    """Without any of the faults below, so that each of them is why its record is not."""
    opened(root).detections(pictures[:1])
    (path,) = records(root)
    assert path.stem == FIRST
    path.write_bytes(packed())
    references = opened(root, audit_share=0)
    assert references.detections(pictures[:1])[0].labels.tolist() == [1, 2]
    assert references.facts.damaged == 0


def test_records_that_were_exchanged_are_computed_again(root, pictures):
    """By a copy of the folder that went wrong: the model would be blamed for finding what is in its own pictures."""
    expected = opened(root).detections(pictures)
    first, second = records(root)[:2]
    first.rename(root / "kept")
    second.rename(first)
    (root / "kept").rename(second)
    references = opened(root, audit_share=0)
    assert_equal(references.detections(pictures), expected)
    assert (references.facts.damaged, references.facts.hits) == (2, 3)


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_damaged_record_is_computed_again(root, pictures, data):
    """Whatever is in the file: it is counted, replaced, and nothing of it is believed."""
    expected = opened(root).detections(pictures[:1])
    records(root)[0].write_bytes(data)
    references = opened(root)
    assert_equal(references.detections(pictures[:1]), expected)
    assert (references.facts.damaged, references.facts.hits, references.facts.computed) == (1, 0, 1)
    again = opened(root)
    again.detections(pictures[:1])
    assert again.facts.hits == 1, "the damaged record is still there"


def test_a_pickle_inside_a_record_is_not_run(root, pictures, tmp_path):
    """An object array is refused by its type before it is loaded."""
    opened(root).detections(pictures[:1])
    records(root)[0].write_bytes(packed(boxes=np.array([Bomb(tmp_path / "ran")], object)))
    references = opened(root)
    references.detections(pictures[:1])
    assert references.facts.damaged == 1
    assert not (tmp_path / "ran").exists()


def test_flipped_bytes_never_pass_for_a_result(root, pictures):
    """Wherever a byte is flipped, the record is found damaged or still says the same."""
    expected = opened(root).detections(pictures[:1])
    path = records(root)[0]
    sound = path.read_bytes()
    damaged = 0
    for place in range(0, len(sound), 23):
        path.write_bytes(sound[:place] + bytes([sound[place] ^ 0x10]) + sound[place + 1 :])
        references = opened(root, audit_share=0)
        assert_equal(references.detections(pictures[:1]), expected)
        damaged += references.facts.damaged
    assert damaged > 20, f"{damaged} damaged records were told, more than 20 expected"


def test_a_symbolic_link_is_no_record(root, pictures, tmp_path):
    """What it points to may be anything, and stays as it is."""
    expected = opened(root).detections(pictures[:1])
    path = records(root)[0]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    references = opened(root)
    assert_equal(references.detections(pictures[:1]), expected)
    assert references.facts.damaged == 1
    assert not path.is_symlink()


def test_the_longest_unused_go_first_and_what_is_in_use_stays(root, pictures):
    """Three unused records of another model; the limit has room for one of them."""
    opened(root, onnx="b" * 64).detections(pictures[:3])
    for age, path in enumerate(old := records(root)):
        os.utime(path, (1e9 - age, 1e9 - age))
    opened(root).detections(pictures)
    size = old[0].stat().st_size
    references = opened(root)
    references.detections(pictures)
    notes = old[0].parent / "notes.npz"
    notes.write_bytes(bytes(100))
    os.utime(notes, (0, 0))
    assert references.prune(6 * size) == 2 * size
    assert [path.exists() for path in old] == [True, False, False]
    assert notes.exists(), "a file that is no record was removed"
    assert opened(root, onnx="c" * 64).prune(0) == 6 * size
    small = opened(root)
    small.detections(pictures)
    assert small.prune(0) == 0, "records of this very run were removed"


def test_a_hit_makes_a_record_young(root, pictures):
    """The least recently used goes, not the least recently written."""
    opened(root).detections(pictures[:2])
    for age, path in enumerate(records(root)):
        os.utime(path, (1e9 - age, 1e9 - age))
    older = records(root)[1]
    for picture in pictures[:2]:
        if hashlib.sha256(picture.path.read_bytes()).hexdigest() == older.stem:
            opened(root).detections([picture])
    opened(root).prune(older.stat().st_size)
    assert records(root) == [older]


def test_a_killed_run_leaves_whole_records_only(root, tmp_path):
    """kill -9 while the third record is written: two remain, the third is computed again, its rest is swept up a day later."""
    pictures = draw(tmp_path / "pictures", 5)
    with child(root, tmp_path / "pictures", "stop") as process:
        assert process.stdout.readline() == "writing\n"
        process.send_signal(signal.SIGKILL)
    (left,) = root.rglob("*.tmp")
    assert len(records(root)) == 2
    references = opened(root)
    assert len(references.detections(pictures)) == 5
    assert (references.facts.hits, references.facts.computed, references.facts.damaged) == (2, 3, 0)
    references.prune()
    assert left.exists(), "it could be another process at work"
    os.utime(left, (1e9, 1e9))
    references.prune()
    assert not left.exists()
