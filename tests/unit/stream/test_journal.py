"""A journal keeps whole shards through any interruption, is about one thing only, and proves that every picture is there once."""

import os
import resource
import signal
from contextlib import suppress

import numpy as np
import pytest

from fcos_lib.errors import DisagreementError, JournalError, StoreError
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.journal_shards import Maker, answer_digest, pack_shard, shard_path, subject_digest
from fcos_lib.stream.sessions import Detections
from tests.unit.stream.journal_worker import BATCH, FINGERPRINT, pictures_of_the_set, runs_in, until, workers

PICTURES = [Picture(number, None, 40, 30) for number in range(100, 130)]
"""Ten batches of three, and two batches to a shard: five shards."""
IDS = [picture.id for picture in PICTURES]
MAKER, OTHER = Maker("here", 0, "0/0"), Maker("there", 1, "5/0")


@pytest.fixture(scope="module")
def others():
    """Start other processes, and wait for them."""
    with workers() as start_and_wait:
        yield start_and_wait


@pytest.fixture
def folder(tmp_path):
    """Where the journal is."""
    return tmp_path / "journal"


def opened(folder, pictures=PICTURES, batch=3, fingerprint=FINGERPRINT, **how):
    """A journal of ten batches."""
    return Journal(folder, pictures, batch, fingerprint, **how)


def seen_in(picture_id):
    """What there is in a picture."""
    chance = np.random.default_rng(picture_id)
    rows = picture_id % 4
    boxes, scores = chance.random((rows, 4), np.float32), chance.random(rows, np.float32)
    return Detections(boxes, scores, chance.integers(0, 8, rows))


def work(journal, batches=1000):
    """Append up to so many batches; the picture ids of each."""
    done = []
    for group in journal.batches_left():
        if len(done) == batches:
            break
        done.append([picture.id for picture in group])
        journal.append({picture.id: seen_in(picture.id) for picture in group}, MAKER)
    return done


def finish(folder, **how):
    """Do what is left and merge; the batches that were left."""
    with opened(folder, **how) as journal:
        done = work(journal)
        assert_complete(journal.merge())
    return done


def assert_complete(merged):
    """Everything is there, in order and bit for bit."""
    assert list(merged) == IDS
    for picture_id, detections in merged.items():
        expected = seen_in(picture_id)
        for name in ("boxes", "scores", "labels"):
            assert getattr(detections, name).tobytes() == getattr(expected, name).tobytes(), f"{name} of {picture_id}"


def files(folder):
    """The names of what is in the folder, shards and what is left of broken writes among it."""
    return sorted(path.name for path in folder.iterdir())


def test_one_worker_does_it_all(folder):
    """Ten batches of three in order, and all of it comes back bit for bit."""
    assert finish(folder) == [IDS[start : start + 3] for start in range(0, 30, 3)]


def test_what_was_done_is_not_done_again(folder):
    """The next process begins with the shard that was in progress; of that, nothing is on the disk."""
    with opened(folder) as journal:
        assert len(work(journal, 5)) == 5
        assert (journal.recorded, journal.due[:3]) == (12, (115, 116, 117))
    assert files(folder) == ["journal.lock", "shard-00000.npz", "shard-00001.npz"]
    with opened(folder) as journal:
        assert (journal.recorded, journal.repeated) == (12, 0)
    assert [ids[0] for ids in finish(folder)] == [112, 115, 118, 121, 124, 127]


@pytest.mark.parametrize("damage", ["cut off", "a bit", "zeros", "empty", "something else"])
def test_a_damaged_shard_is_run_again(folder, damage):
    """Once, by whoever claims it, and no other; the result is the same."""
    finish(folder)
    path = shard_path(folder, 1)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    damaged = {
        "cut off": whole[:-100],
        "a bit": flipped,
        "zeros": bytes(len(whole)),
        "empty": b"",
        "something else": b"PK",
    }
    path.write_bytes(damaged[damage])
    with opened(folder) as journal:
        assert journal.recorded == 24
        assert [ids[0] for ids in work(journal)] == [106, 109]
        assert journal.repeated == 1
        assert_complete(journal.merge())
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": FINGERPRINT | {"om": "ffff"}}, {"fingerprint": FINGERPRINT | {"software": {"numpy": "2.1"}}},
        {"fingerprint": FINGERPRINT | {"soc": "x"}}, {"batch": 6}, {"pictures": [*PICTURES[:-1], Picture(1, None, 40, 30)]},
    ],
    ids=["value", "nested", "added", "batch", "pictures"],
)  # fmt: skip
def test_results_of_something_else_are_refused(folder, change):
    """The error says so and what to do, and the journal stays as it was."""
    with opened(folder) as journal:
        work(journal, 2)
    with pytest.raises(JournalError, match="results of another journal, so of another fingerprint") as refused:
        opened(folder, **change)
    assert "--fresh" in refused.value.advice
    assert len(finish(folder)) == 8


def test_one_process_at_a_time_has_a_journal(folder, tmp_path, monkeypatch, others):
    """The second says who has it, and the first goes on undisturbed; when it dies, the system gives its lock back."""
    monkeypatch.setattr("fcos_lib.stream.journal_shards.PATIENCE_LOOKS", 2)
    (start, wait), pictures, log = others, pictures_of_the_set(60), tmp_path / "log"
    pid = start(folder, log=log, seconds=0.01)
    until(lambda: runs_in(log) >= 4)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(JournalError, match="another process is working in the journal") as refused:
        opened(folder, pictures, BATCH, fresh=True)
    assert "fuser -v" in refused.value.advice
    os.kill(pid, signal.SIGKILL)
    wait(pid)
    with opened(folder, pictures, BATCH) as journal:
        assert journal.recorded == 9


def test_fresh_starts_over(folder):
    """What was there goes; what does not belong to us stays."""
    finish(folder)
    (folder / "notes.txt").write_text("mine")
    with opened(folder, fresh=True, fingerprint={"om": "other"}) as journal:
        assert journal.recorded == 0
        assert len(work(journal, 4)) == 4
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_complete_journal_that_was_not_removed_is_gone_on_with(folder):
    """An interruption before the verdict is no reason to lose hours."""
    finish(folder)
    assert finish(folder) == []


def test_a_removed_journal_leaves_nothing_but_what_is_none_of_it(folder):
    """A run that has judged removes it."""
    with opened(folder) as journal:
        work(journal)
        journal.remove()
    assert not folder.exists()
    with opened(folder) as journal:
        work(journal, 2)
        (folder / "notes.txt").write_text("mine")
        journal.remove()
    assert files(folder) == ["notes.txt"]


def test_what_a_killed_writer_left_is_no_shard(folder):
    """It has another name, is nobody's result, and goes with its journal."""
    with opened(folder) as journal:
        work(journal, 2)
    left = folder / f".shard-00001.npz-{'0' * 32}.tmp"
    left.write_bytes(shard_path(folder, 0).read_bytes()[:-1])
    assert len(finish(folder)) == 8
    with opened(folder) as journal:
        journal.remove()
    assert not folder.exists()


def test_two_files_that_swapped_places_are_refused(folder):
    """A shard is told by what is in it, not by its name alone."""
    finish(folder)
    first, second = shard_path(folder, 0), shard_path(folder, 1)
    content = first.read_bytes()
    second.rename(first)
    second.write_bytes(content)
    with pytest.raises(JournalError, match=r"shard-00000\.npz cannot be used: pictures missing: 100, 101, 102"):
        opened(folder)


@pytest.mark.parametrize(
    ("token", "ids", "said"),
    [
        (None, IDS[:7], "foreign: 106"),
        (None, IDS[:5], "missing: 105"),
        (None, IDS[5::-1], "not in order"),
        (None, [7, *IDS[1:6]], "missing: 100; foreign: 7"),
        ("old", IDS[:6], "another journal"),
    ],
    ids=["more", "left out", "swapped", "stranger", "other journal"],
)
def test_a_whole_shard_of_something_else_is_refused(folder, token, ids, said):
    """Right checksums do not help: somebody put it there, so nothing is repaired, and nothing is taken from it."""
    with opened(folder) as journal:
        work(journal, 4)
    path = shard_path(folder, 0)
    token = token or subject_digest(FINGERPRINT, PICTURES, 3)
    path.write_bytes(pack_shard(token, {picture_id: seen_in(picture_id) for picture_id in ids}, MAKER))
    with pytest.raises(JournalError, match=rf"shard-00000\.npz cannot be used: .*{said}"):
        opened(folder)


def test_what_vanished_after_it_was_done_is_done_again_by_the_next(folder):
    """Who saw it complete has the results; the next process finds no file."""
    with opened(folder) as journal:
        work(journal)
        shard_path(folder, 1).unlink()
        assert_complete(journal.merge())
    assert len(finish(folder)) == 2


def test_what_is_missing_is_named_by_the_merge(folder):
    """An evaluation that ended too early is no result."""
    with opened(folder) as journal:
        work(journal, 4)
        with pytest.raises(JournalError, match=r"missing: 112, 113, 114, 115, 116, \.\.\. \(18 in all\)"):
            journal.merge()


def test_only_the_batch_that_is_due_is_taken(folder):
    """Out of turn, in part or unclaimed: none is recorded."""
    with opened(folder) as journal:
        groups = journal.batches_left()
        first, second = next(groups), next(groups)
        for wrong in (second, first[:2], PICTURES[-3:], ()):
            with pytest.raises(JournalError, match=r"no batch that is due in .*: 100, 101, 102, .* are"):
                journal.append({picture.id: seen_in(picture.id) for picture in wrong}, MAKER)
        journal.append({picture.id: seen_in(picture.id) for picture in first}, MAKER)
        assert journal.recorded == 0
        journal.append({picture.id: seen_in(picture.id) for picture in second}, MAKER)
        assert journal.recorded == 6


def test_a_full_disk_is_one_clear_error_and_leaves_nothing_half(folder):
    """The write that does not fit is an error of the machine; with room again, that shard is run again, no other."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(folder) as journal:
        work(journal, 2)
        there = files(folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[1]))  # Python ignores the signal that comes with it
        try:
            with pytest.raises(StoreError, match=r"writing .*shard-00001\.npz failed \(File too large\)") as refused:
                work(journal)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert isinstance(refused.value, JournalError)
        assert journal.recorded == 6
        assert "free space" in refused.value.advice
        assert files(folder) == there
    with opened(folder) as journal:
        assert len(work(journal)) == 8
        assert journal.repeated == 0
        assert_complete(journal.merge())


def test_results_that_could_not_be_read_again_are_not_recorded(folder):
    """One clear error, and the shard is let go."""
    with opened(folder) as journal:
        first, second, _ = (next(groups) for groups in [journal.batches_left()] * 3)
        journal.append({picture.id: seen_in(picture.id) for picture in first}, MAKER)
        bad = Detections(np.full((1, 4), np.nan, np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
        with pytest.raises(JournalError, match=r"results cannot be recorded: .*finite"):
            journal.append({picture.id: bad for picture in second}, MAKER)
    assert files(folder) == ["journal.lock"]
    assert len(finish(folder)) == 10


@pytest.mark.parametrize("name", ["shard-00000.npz", "journal.lock"])
def test_links_are_not_written_through(folder, tmp_path, name):
    """What a link in the folder points to stays."""
    with opened(folder):
        pass
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    (folder / name).unlink(missing_ok=True)
    (folder / name).symlink_to(victim)
    with suppress(JournalError), opened(folder) as journal:
        work(journal)
    assert victim.read_bytes() == b""


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    """A file in its place, for instance."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file cannot be written") as caught:
        opened(tmp_path / "file")
    assert "--artifacts FOLDER" in caught.value.advice


def test_a_failed_opening_leaves_no_lock_behind(folder):
    """The same process may try again at once."""
    finish(folder)
    for _ in range(2):
        with suppress(JournalError):
            opened(folder, batch=6)
    assert finish(folder) == []


def answer(shard, **changes):
    """The results of one of the five shards."""
    return {
        picture.id: changes.get(f"picture{picture.id}", seen_in(picture.id)) for picture in PICTURES[6 * shard :][:6]
    }


def test_shards_are_recorded_in_any_order_and_merged_in_the_data_sets(folder):
    """Devices answer when they are done; who answered stays beside the results."""
    with opened(folder) as journal:
        for shard in (3, 0, 4, 2, 1):
            assert journal.record(shard, answer(shard), OTHER if shard % 2 else MAKER)
        assert_complete(journal.merge())
    with opened(folder) as journal:
        assert_complete(journal.merge())
        assert journal.makers == {0: MAKER, 1: OTHER, 2: MAKER, 3: OTHER, 4: MAKER}


def test_the_same_answer_counts_once(folder):
    """A second device may have been asked; the first answer stays."""
    with opened(folder) as journal:
        assert journal.record(1, answer(1), MAKER)
        before = shard_path(folder, 1).read_bytes()
        assert not journal.record(1, answer(1), OTHER)
        assert journal.makers == {1: MAKER}
        assert journal.recorded == 6
    assert shard_path(folder, 1).read_bytes() == before


def test_another_answer_for_a_shard_is_a_disagreement(folder):
    """One bit is enough: both devices are named, with what they found, and nothing is overwritten."""
    other = seen_in(107)
    other.boxes[0, 0] = np.nextafter(other.boxes[0, 0], np.float32(9))
    theirs = answer(1, picture107=other)
    with opened(folder) as journal:
        journal.record(1, answer(1), MAKER)
        with pytest.raises(DisagreementError, match="the devices disagree: for pictures 106, 107") as caught:
            journal.record(1, theirs, OTHER)
        for said in (MAKER, OTHER, answer_digest(answer(1)), answer_digest(theirs)):
            assert str(said) in caught.value.found
        assert journal.makers == {1: MAKER}


@pytest.mark.parametrize(
    ("results", "said"),
    [(answer(2), "missing: 106"), (dict(reversed(answer(1).items())), "not in order"), ({}, "missing")],
)
def test_an_answer_for_other_pictures_is_none(folder, results, said):
    """A shard is told by what is in it."""
    with opened(folder) as journal:
        with pytest.raises(JournalError, match=said):
            journal.record(1, results, MAKER)
        assert journal.unfinished() == [0, 1, 2, 3, 4]


def test_what_is_forgotten_is_run_again(folder):
    """The device behind it turned out to compute wrongly."""
    finish(folder)
    with opened(folder) as journal:
        journal.forget([1, 3])
        assert journal.unfinished() == [1, 3]
    assert len(finish(folder)) == 4
