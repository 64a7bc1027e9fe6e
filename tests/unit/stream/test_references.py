"""A reference is computed once, kept whole, believed only after checks, and computed again now and then."""

import io
import os
import pickle
import signal
import subprocess
import sys
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcos_lib.contract import SHAPES
from fcos_lib.errors import AuditError, DatasetError, StoreError
from fcos_lib.judge.status import outcome_of
from fcos_lib.judge.verdict import Outcome
from fcos_lib.sessions import Outputs
from fcos_lib.stream import references as module
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.letterbox import geometry, to_picture
from fcos_lib.stream.references import References

TINY = replace(SHAPES, name="tiny", height=64, width=96)
WIDTH, HEIGHT = 40, 30


class Fake:
    """A session whose detections depend on the picture alone."""

    def __init__(self, shift=0.0):
        self.numerics, self.runs, self.shift = {"runtime": "fake 1"}, 0, shift

    def run_and_candidates(self, batch):
        """Random numbers, seeded by the input."""
        self.runs += 1
        random = np.random.default_rng(zlib.crc32(batch.tobytes()))
        dets, labels = np.zeros((1, 100, 5), np.float32), np.full((1, 100), 3, np.int64)
        dets[0, :7, :4] = random.uniform(0, 60, (7, 4)) + self.shift
        dets[0, :7, 4] = np.sort(random.uniform(0.06, 1, 7))[::-1]
        boxes = random.uniform(0, 60, (1, TINY.candidates, 4)).astype(np.float32)
        return Outputs(labels, dets), boxes, random.random((1, TINY.candidates, 8), np.float32)

    def run(self, batch):
        """Only the detections."""
        return self.run_and_candidates(batch)[0]


def draw(folder, count):
    """Small pictures that differ."""
    folder.mkdir(exist_ok=True)
    pictures = []
    for number in range(count):
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), np.full((HEIGHT, WIDTH, 3), (7 * number, 90, 200 - number), np.uint8))
        pictures.append(Picture(number, path, WIDTH, HEIGHT))
    return pictures


@pytest.fixture
def pictures(tmp_path):
    """Five pictures."""
    return draw(tmp_path / "pictures", 5)


@pytest.fixture
def root(tmp_path):
    """The folder of the references."""
    return tmp_path / "references"


def opened(root, session=None, contract=TINY, onnx="a" * 64, **options):
    """References of a new run."""
    return References(root, session or Fake(), contract, onnx, **options)


def records(root):
    """Every record there is."""
    return sorted(root.rglob("*.npz"))


def assert_equal(left, right):
    """The same bits for the same pictures."""
    assert list(left) == list(right)
    for number in left:
        for one, other in zip(flat(left[number]), flat(right[number]), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)


def flat(result):
    """The arrays of a result with or without candidates."""
    detections, *arrays = result if isinstance(result, tuple) else (result,)
    return [detections.boxes, detections.scores, detections.labels, *arrays]


@pytest.mark.parametrize("verb", ["detections", "with_candidates"])
def test_what_was_stored_is_what_was_computed(root, pictures, verb):
    """The second run gets the same bits without a session, in the order of the pictures."""
    first, second = opened(root), opened(root, Fake(), audit_share=0)
    computed = getattr(first, verb)(pictures)
    assert_equal(getattr(second, verb)(pictures), computed)
    assert (first.facts.hits, first.facts.computed, first.facts.hit_rate) == (0, 5, 0)
    assert (second.facts.hits, second.facts.computed, second.facts.hit_rate) == (5, 0, 1)
    assert second._session.runs == 0, "a hit was computed"


def test_detections_are_in_picture_pixels(root, pictures):
    """Boxes come back through the letterbox as `feed.detect` brings them back; candidates stay network pixels."""
    references = opened(root)
    network, _, _ = references.with_candidates(pictures[:1])[0]
    expected = to_picture(network.boxes, geometry(WIDTH, HEIGHT, TINY))
    np.testing.assert_array_equal(references.detections(pictures[:1])[0].boxes, expected)


def test_candidates_are_added_to_a_record_without_them(root, pictures):
    """Asking for more computes once more; afterwards both questions are answered from disk."""
    references = opened(root, audit_share=0)
    references.detections(pictures[:2])
    references.with_candidates(pictures[:2])
    references.with_candidates(pictures[:2])
    references.detections(pictures[:2])
    assert references._session.runs == 4
    assert len(records(root)) == 2


def test_progress_counts_what_is_computed(root, pictures):
    """Hits are no work."""
    seen = []
    opened(root).detections(pictures[:2])
    opened(root).detections(pictures, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_the_key_covers_model_contract_runtime_and_opencv(root, monkeypatch):
    """What a result depends on decides where it is kept."""
    other_runtime = Fake()
    other_runtime.numerics = {"runtime": "fake 2"}
    folders = [
        opened(root).folder,
        opened(root, onnx="b" * 64).folder,
        opened(root, contract=replace(TINY, score_threshold=0.06)).folder,
        opened(root, other_runtime).folder,
    ]
    monkeypatch.setattr(cv2, "__version__", "0")
    folders.append(opened(root).folder)
    assert len(set(folders)) == 5
    assert opened(root).folder == folders[-1], "nothing changed, and the key did"


def test_the_key_covers_the_preprocessing(root, monkeypatch):
    """Decoding and letterbox are part of it as source code."""
    sources = []
    before = opened(root).folder
    monkeypatch.setattr(module, "sources_key", lambda *paths: sources.extend(path.name for path in paths) or "other")
    assert opened(root).folder != before
    assert sorted(sources) == ["dataset.py", "letterbox.py"]


def test_another_picture_under_the_same_name_is_another_record(root, pictures):
    """The key is the content of the file, not its name."""
    references = opened(root, audit_share=0)
    before = references.detections(pictures[:1])
    cv2.imwrite(str(pictures[0].path), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    after = references.detections(pictures[:1])
    assert references.facts.hits == 0
    assert not np.array_equal(before[0].boxes, after[0].boxes)


def test_a_wrong_annotated_size_is_no_hit(root, pictures):
    """A stored result does not hide that annotation and picture do not belong together."""
    opened(root).detections(pictures[:1])
    with pytest.raises(DatasetError, match="annotated as 30 x 40"):
        opened(root).detections([replace(pictures[0], width=HEIGHT, height=WIDTH)])


def test_a_picture_that_changes_while_it_is_read_is_not_stored(root, pictures, monkeypatch):
    """Or its result would be kept under the name of another picture."""
    read = module.read_picture

    def read_and_change(picture):
        data = read(picture)
        cv2.imwrite(str(picture.path), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        return data

    monkeypatch.setattr(module, "read_picture", read_and_change)
    with pytest.raises(DatasetError, match="changed while it was read"):
        opened(root).detections(pictures[:1])
    assert records(root) == []


def test_a_missing_picture_is_one_clear_error(root, pictures):
    """As when it is decoded."""
    pictures[0].path.unlink()
    with pytest.raises(DatasetError, match="cannot be read"):
        opened(root).detections(pictures)


@pytest.mark.parametrize(("audit_share", "audited"), [(0.01, 1), (0.5, 3), (1, 5), (0, 0)])
def test_a_share_of_the_hits_is_computed_again(root, pictures, audit_share, audited):
    """At least one, rounded up; none only if that is asked for."""
    opened(root).detections(pictures)
    references = opened(root, audit_share=audit_share)
    references.detections(pictures)
    assert references.facts.audited == references._session.runs == audited


def test_what_this_run_computed_is_not_audited(root, pictures):
    """It would only prove that a file can be read."""
    references = opened(root)
    references.detections(pictures)
    references.detections(pictures)
    assert references._session.runs == 5


def test_the_audit_is_chosen_anew_each_run(root, pictures):
    """Over many runs every picture has its turn."""
    opened(root).detections(pictures)
    audited = set()
    for _ in range(60):  # all five but with a chance of 8e-6
        references = opened(root)
        references._audit = lambda picture, *_: audited.add(picture.id)
        references.detections(pictures)
    assert audited == set(range(5))


def test_a_stale_record_fails_the_audit(root, pictures):
    """The error counts as INFRA, names picture, record and machine, and says what to do."""
    opened(root).detections(pictures[:1])
    with pytest.raises(AuditError) as caught:
        opened(root, Fake(shift=0.5)).detections(pictures[:1])
    assert isinstance(caught.value, StoreError)
    assert outcome_of(caught.value) is Outcome.INFRA
    for part in (str(pictures[0].path), str(records(root)[0]), "7 of 7 stored detections", "computed on "):
        assert part in caught.value.found
    assert caught.value.advice.startswith(f"delete {opened(root).folder}")


def test_stale_candidates_fail_the_audit(root, pictures):
    """They are compared as well, where they were asked for."""
    session = Fake()
    opened(root).with_candidates(pictures[:1])
    honest = session.run_and_candidates
    session.run_and_candidates = lambda batch: (*honest(batch)[:2], honest(batch)[2] / 2)
    with pytest.raises(AuditError, match="stored candidates"):
        opened(root, session).with_candidates(pictures[:1])


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
    "wrong candidates": packed(
        candidate_boxes=np.ones((5, 4), np.float32), candidate_scores=np.ones((5, 8), np.float32)
    ),
}


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
    assert damaged > 20


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
    references = opened(root, limit_bytes=6 * size)
    references.detections(pictures)
    (root / "notes.npz").write_bytes(bytes(100))
    assert references.prune() == 2 * size
    assert [path.exists() for path in old] == [True, False, False]
    assert (root / "notes.npz").exists(), "a file that is no record was removed"
    assert opened(root, limit_bytes=0, onnx="c" * 64).prune() == 6 * size
    small = opened(root, limit_bytes=0)
    small.detections(pictures)
    assert small.prune() == 0, "records of this very run were removed"


def test_a_hit_makes_a_record_young(root, pictures):
    """The least recently used goes, not the least recently written."""
    opened(root).detections(pictures[:2])
    for path in records(root):
        os.utime(path, (1e9, 1e9))
    opened(root).detections(pictures[1:2])
    opened(root, limit_bytes=records(root)[0].stat().st_size).prune()
    references = opened(root, audit_share=0)
    references.detections(pictures[:2])
    assert (references.facts.hits, references.facts.computed) == (1, 1)
    assert len(records(root)) == 2


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path):
    """The machine's fault, with the option that helps."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--artifacts"):
        opened(tmp_path / "file")


def child(root, pictures, manner):
    """Another process that computes references; `stop` halts it before the third record gets its name."""
    command = [sys.executable, __file__, str(root), str(pictures), manner]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_two_processes_agree_and_share_the_work(root, tmp_path):
    """Both get every picture, and what one has computed the other takes over."""
    draw(tmp_path / "pictures", 20)
    with child(root, tmp_path / "pictures", "slow") as one, child(root, tmp_path / "pictures", "slow") as other:
        results = [process.communicate()[0].splitlines() for process in (one, other)]
    assert results[0][-1] == results[1][-1], "two processes came to different results"
    computed = [int(lines[0]) for lines in results]
    assert 20 <= sum(computed) <= 30, f"{computed} computed, 20 at best"
    assert len(records(root)) == 20


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


def _run_as_child(root, pictures, manner):
    session = Fake()
    if manner == "slow":
        import time

        honest = session.run
        session.run = lambda batch: time.sleep(0.05) or honest(batch)
    elif manner == "stop":
        os_replace, written = os.replace, []

        def stop(source, target):
            if target.suffix == ".npz":
                written.append(target)
            if len(written) == 3:
                print("writing", flush=True)
                signal.pause()
            os_replace(source, target)

        os.replace = stop
    references = opened(root, session)
    names = sorted(pictures.iterdir(), key=lambda path: int(path.stem))
    found = references.detections([Picture(int(path.stem), path, WIDTH, HEIGHT) for path in names])
    print(references.facts.computed)
    print(zlib.crc32(b"".join(array.tobytes() for result in found.values() for array in flat(result))))


if __name__ == "__main__":
    _run_as_child(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
