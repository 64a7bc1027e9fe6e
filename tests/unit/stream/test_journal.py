"""A journal keeps whole shards through any interruption, is about one thing only, and proves that every picture is there once."""

import os
import resource
import signal
import time
from contextlib import suppress

import numpy as np
import pytest

from fcos_lib.errors import JournalError, StoreError
from fcos_lib.stream import journal as journal_module
from fcos_lib.stream import journal_folder, journal_shards
from fcos_lib.stream.dataset import Picture
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.journal_folder import parse_header
from fcos_lib.stream.journal_shards import pack_shard, shard_path
from fcos_lib.stream.sessions import Detections
from tests.unit.stream.journal_worker import FINGERPRINT, pictures_of_the_set, runs_in, until, workers

PICTURES = [Picture(number, None, 40, 30) for number in range(100, 130)]
"""Ten batches of three, and two batches to a shard: five shards."""
IDS = [picture.id for picture in PICTURES]


@pytest.fixture(scope="module")
def others():
    """Start other processes, and wait for them."""
    with workers() as start_and_wait:
        yield start_and_wait


@pytest.fixture
def folder(tmp_path):
    """Where the journal is."""
    return tmp_path / "journal"


def opened(folder, pictures=PICTURES, batch=3, fingerprint=FINGERPRINT, run_id="run", **how):
    """A journal of ten batches."""
    return Journal(folder, pictures, batch, fingerprint, run_id, **how)


def seen_in(picture_id):
    """What there is in a picture."""
    chance = np.random.default_rng(picture_id)
    rows = picture_id % 4
    boxes, scores = chance.random((rows, 4), np.float32), chance.random(rows, np.float32)
    return Detections(boxes, scores, chance.integers(0, 8, rows))


def work(journal, batches=1000):
    """Append up to so many batches; the picture ids of each."""
    done = []
    for group in journal.claims():
        if len(done) == batches:
            break
        done.append([picture.id for picture in group])
        journal.append({picture.id: seen_in(picture.id) for picture in group})
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
    for picture_id, found in merged.items():
        expected = seen_in(picture_id)
        for name in ("boxes", "scores", "labels"):
            assert getattr(found, name).tobytes() == getattr(expected, name).tobytes(), f"{name} of {picture_id}"


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
        assert (journal.recorded, journal.due) == (12, (115, 116, 117))
    assert files(folder) == ["journal.json", "journal.lock", "shard-00000.npz", "shard-00001.npz"]
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
    ("change", "said"),
    [
        ({"fingerprint": FINGERPRINT | {"om": "ffff"}}, r"'om' \"0123abcd\" there, \"ffff\" here"),
        ({"fingerprint": FINGERPRINT | {"software": {"numpy": "2.1"}}}, r"'software' .*2\.0.* there, .*2\.1.* here"),
        ({"fingerprint": FINGERPRINT | {"soc": "x"}}, r"'soc' absent there, \"x\" here"),
        ({"fingerprint": FINGERPRINT | {"om": "a" * 500}}, r"'om' .* here"),
        ({"batch": 4}, r"batch size 3 there, 4 here"),
        ({"pictures": PICTURES[:-1]}, r"pictures \[100, .* there, \[100, .* here"),
    ],
    ids=["value", "nested", "added", "long", "batch", "pictures"],
)
def test_results_of_something_else_are_refused(folder, change, said):
    """The error names the field, both values and what to do, and the journal stays as it was."""
    with opened(folder) as journal:
        work(journal, 2)
    with pytest.raises(JournalError, match=said) as refused:
        opened(folder, **change)
    assert "--fresh" in refused.value.advice
    assert len(refused.value.found) < 600
    assert len(finish(folder)) == 8


@pytest.mark.parametrize("change", [{"fingerprint": {"om": "ffff"}}, {"batch": 4}, {"pictures": PICTURES[:-1]}])
def test_a_journal_that_another_run_finished_is_in_nobodys_way(folder, change):
    """It has served its run: one about something else begins there, instead of being refused for a finished one's sake."""
    finish(folder, run_id="yesterday")
    with opened(folder, run_id="today", **change) as journal:
        assert journal.recorded == 0
        work(journal)
        assert len(journal.merge()) == len(change.get("pictures", PICTURES))


def test_a_shared_journal_about_something_else_is_refused_though_it_is_finished(folder):
    """A host that comes later needs what is there; the error says what differs."""
    finish(folder, run_id="host1")
    with pytest.raises(JournalError, match="'om'"):
        opened(folder, run_id="host2", keep_finished=True, fingerprint={"om": "ffff"})


def test_others_that_record_nothing_are_not_waited_for_for_ever(folder, tmp_path, monkeypatch, others):
    """A process that stands still keeps its shard for as long as it lives: who waits says which pictures are missing."""
    monkeypatch.setattr(journal_module, "PATIENCE_LOOKS", 3)
    (start, wait), pictures, log = others, pictures_of_the_set(12), tmp_path / "log"
    pid = start(folder, log=log, seconds=0.05, count=12)
    until(lambda: runs_in(log) >= 2)
    os.kill(pid, signal.SIGSTOP)
    with opened(folder, pictures) as journal:
        left = 12 - journal.recorded
        with pytest.raises(
            JournalError, match=rf"{left} pictures are missing .* recorded nothing for 0\.6 s"
        ) as refused:
            journal.wait()
    assert str(pictures[-1].id) in refused.value.found or "in all" in refused.value.found
    os.kill(pid, signal.SIGCONT)
    assert wait(pid) == 0


def test_a_process_that_stands_still_while_it_opens_is_not_waited_for_for_ever(folder, monkeypatch):
    """The guard is held for moments; who does not get it says which file to look at."""
    monkeypatch.setattr(journal_shards, "GUARD_LOOKS", 10)
    with opened(folder):
        pass
    ready, hold = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        with suppress(BaseException):
            journal_shards._open_here.clear()
            with journal_shards.Locks(folder).guard():
                os.write(ready[1], b"x")
                os.read(hold[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        with pytest.raises(JournalError, match=r"has been opening or finishing a journal in .* for 0\.2 s") as refused:
            opened(folder)
        assert "journal.lock" in refused.value.advice
    finally:
        os.write(hold[1], b"x")
        os.waitpid(child, 0)
        for end in (*ready, *hold):
            os.close(end)


def test_fresh_starts_over_once_per_run(folder):
    """The first worker of a run removes what was there; the second joins it; what does not belong to us stays."""
    finish(folder)
    (folder / "notes.txt").write_text("mine")
    with opened(folder, run_id="second", fresh=True, fingerprint={"om": "other"}) as journal:
        assert journal.recorded == 0
        assert len(work(journal, 4)) == 4
    with opened(folder, run_id="second", fresh=True, fingerprint={"om": "other"}) as journal:
        assert journal.recorded == 12
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_finished_journal_serves_the_run_that_finished_it(folder):
    """Another worker of the same run has nothing to do but merge; another run does everything again."""
    assert len(finish(folder)) == 10
    assert finish(folder) == []
    assert len(finish(folder, run_id="tomorrow")) == 10


def test_a_shared_finished_journal_is_kept(folder):
    """Hosts that share a folder have run ids of their own."""
    finish(folder, run_id="host1")
    assert finish(folder, run_id="host2", keep_finished=True) == []


def test_two_runs_that_shared_a_journal_have_both_finished_it(folder):
    """A late worker of either run merges what is there."""
    finish(folder, run_id="first")
    finish(folder, run_id="second", keep_finished=True)
    assert finish(folder, run_id="first") == []
    assert finish(folder, run_id="second") == []


def test_an_unfinished_journal_is_gone_on_with_by_any_run(folder):
    """An interruption is no reason to lose hours."""
    with opened(folder) as journal:
        work(journal)  # complete, but the process ended before the merge
    assert finish(folder, run_id="tomorrow") == []


def test_nobody_starts_over_under_the_feet_of_others(folder, tmp_path, monkeypatch, others):
    """While another process works in the folder, --fresh is refused, and the process finishes undisturbed."""
    monkeypatch.setattr(journal_folder, "_PATIENCE", 0.1)
    (start, wait), pictures, log = others, pictures_of_the_set(60), tmp_path / "log"
    with opened(folder, pictures):
        pass  # started here, so that the other joins
    pid = start(folder, log=log, seconds=0.01)
    until(lambda: runs_in(log) >= 2)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(JournalError, match="another run is working in"):
        opened(folder, pictures, run_id="other", fresh=True)
    os.kill(pid, signal.SIGCONT)
    assert wait(pid) == 0
    with opened(folder, pictures) as journal:
        assert len(journal.merge()) == 60


def test_a_process_cannot_be_its_own_rival(folder, others):
    """The second journal is refused, and the first keeps its locks: another process still finds the shard taken."""
    start, wait = others
    first = shard_path(folder, 0)
    with opened(folder, pictures_of_the_set(12)) as journal:
        next(journal.claims())
        with pytest.raises(JournalError, match="open in this process already"):
            opened(folder, pictures_of_the_set(12))
        pid = start(folder, count=12)
        time.sleep(0.3)
        assert not first.exists(), "somebody else worked on a claimed shard"
    assert wait(pid) == 0
    assert first.exists()


def test_what_a_killed_writer_left_is_no_shard(folder):
    """It has another name, is nobody's result, and goes with its journal."""
    with opened(folder) as journal:
        work(journal, 2)
    left = folder / f".shard-00001.npz-{'0' * 32}.tmp"
    left.write_bytes(shard_path(folder, 0).read_bytes()[:-1])
    assert len(finish(folder)) == 8
    assert len(finish(folder, run_id="tomorrow")) == 10
    assert not left.exists()


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
    token = token or parse_header((folder / "journal.json").read_bytes()).token
    path.write_bytes(pack_shard(token, {picture_id: seen_in(picture_id) for picture_id in ids}))
    with pytest.raises(JournalError, match=rf"shard-00000\.npz cannot be used: .*{said}"):
        opened(folder)


def test_a_shard_of_more_bytes_than_any_is_refused(folder):
    """It is not even read."""
    finish(folder)
    os.truncate(shard_path(folder, 0), 1 << 40)
    with pytest.raises(JournalError, match="more than"):
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
        groups = journal.claims()
        first, second = next(groups), next(groups)
        for wrong in (second, first[:2], PICTURES[-3:], ()):
            with pytest.raises(JournalError, match=r"no batch that is due in .*: 100, 101, 102, .* are"):
                journal.append({picture.id: seen_in(picture.id) for picture in wrong})
        journal.append({picture.id: seen_in(picture.id) for picture in first})
        assert journal.recorded == 0
        journal.append({picture.id: seen_in(picture.id) for picture in second})
        assert journal.recorded == 6


def test_who_holds_a_shard_does_not_wait(folder):
    """It is told to go on with that, and is not given another one for asking."""
    with opened(folder) as journal:
        first = next(journal.claims())
        assert journal.wait()
        assert len(journal.due) == 6
        assert next(journal.claims()) == first
        work(journal)
        assert not journal.wait()


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
        first, second, _ = (next(groups) for groups in [journal.claims()] * 3)
        journal.append({picture.id: seen_in(picture.id) for picture in first})
        bad = Detections(np.full((1, 4), np.nan, np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
        with pytest.raises(JournalError, match=r"results cannot be recorded: .*finite"):
            journal.append({picture.id: bad for picture in second})
    assert files(folder) == ["journal.json", "journal.lock"]
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


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 1}', b'{"format": 2, "token": "x"}', b"\x00" * 9])
def test_a_damaged_header_is_refused_and_fresh_helps(folder, content):
    """The error names the file; --fresh does not need to read it."""
    finish(folder)
    (folder / "journal.json").write_bytes(content)
    with pytest.raises(JournalError, match=r"journal\.json cannot be used"):
        opened(folder)
    assert len(finish(folder, run_id="second", fresh=True)) == 10


def test_a_header_with_another_fingerprint_written_into_it_is_refused(folder):
    """Results cannot be made to be about something else with an editor."""
    finish(folder)
    path = folder / "journal.json"
    path.write_text(path.read_text().replace("0123abcd", "ffffffff"))
    with pytest.raises(JournalError, match="its token does not belong to its subject"):
        opened(folder, fingerprint=FINGERPRINT | {"om": "ffffffff"})


def test_a_start_that_broke_off_is_begun_again(folder):
    """Without a header, whatever lies there is not a journal."""
    finish(folder)
    (folder / "journal.json").unlink()
    assert len(finish(folder, fingerprint={"om": "other"})) == 10


def test_a_folder_that_cannot_be_written_is_one_clear_error(tmp_path):
    """A file in its place, for instance."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file cannot be written") as caught:
        opened(tmp_path / "file")
    assert "--journal FOLDER" in caught.value.advice


def test_a_failed_opening_leaves_no_lock_behind(folder):
    """The same process may try again at once."""
    finish(folder)
    for _ in range(2):
        with suppress(JournalError):
            opened(folder, batch=7)
    assert finish(folder) == []


def test_a_journal_that_is_distrusted_is_begun_again(folder):
    """Something is wrong with the device that filled it: nobody goes on with that."""
    with opened(folder) as journal:
        work(journal, 2)
        assert journal.recorded
        journal.distrust()
    with opened(folder) as journal:
        assert journal.recorded == 0
        work(journal)
        assert_complete(journal.merge())
