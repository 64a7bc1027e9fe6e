"""A run's own journals: what was interrupted survives other runs, what nobody wants goes, and nobody is disturbed."""

import os
import signal
import time

import pytest

from fcos_lib.stream.journal import KEPT_S, own_journal
from tests.unit.stream.journal_worker import FINGERPRINT
from tests.unit.stream.test_journal import PICTURES, assert_complete, work

OTHER = {"om": "another"}


@pytest.fixture
def stem(tmp_path):
    """What the names of the folders begin with."""
    return tmp_path / "journals" / "shapes-batch3"


def opened(stem, fingerprint=FINGERPRINT, batch=3, **how):
    """A journal of ten batches."""
    return own_journal(stem, PICTURES, batch, fingerprint, **how)


def finish(stem, **how):
    """Do what is left, merge, and remove the journal; how many batches were left."""
    with opened(stem, **how) as journal:
        done = work(journal)
        assert_complete(journal.merge())
        journal.remove()
    return len(done)


def folders(stem):
    """The names of the journals that there are."""
    return sorted(path.name for path in stem.parent.iterdir() if path.is_dir())


def age(folder):
    """Make a folder so old that nobody can be expected to go on with it."""
    os.utime(folder, (0, time.time() - KEPT_S - 60))


@pytest.mark.parametrize("change", [{"fingerprint": OTHER}, {"batch": 4}], ids=["fingerprint", "batch size"])
def test_an_interrupted_evaluation_survives_a_run_of_something_else(stem, change):
    """Neither is refused, nothing is mixed, and what had been recorded is gone on with."""
    with opened(stem) as journal:
        assert len(work(journal, 4)) == 4
    with opened(stem, **change) as journal:
        assert journal.recorded == 0
        work(journal)
        assert_complete(journal.merge())
        journal.remove()
    assert finish(stem) == 6


def test_a_finished_one_is_no_evidence_for_the_next_run(stem):
    """The next run does everything again."""
    assert finish(stem) == 10
    assert folders(stem) == []
    assert finish(stem) == 10


def test_fresh_starts_over_what_was_interrupted(stem):
    """And nothing else."""
    with opened(stem) as journal:
        work(journal, 4)
    with opened(stem, fresh=True) as journal:
        assert journal.recorded == 0


def test_an_interrupted_one_that_nobody_wants_goes_in_the_end(stem):
    """After a month without a change; what does not belong to it stays, with its folder."""
    for fingerprint in (FINGERPRINT, OTHER):
        with opened(stem, fingerprint=fingerprint) as journal:
            work(journal, 2)
    first, second = (stem.parent / name for name in folders(stem))
    (second / "notes.txt").write_text("mine")
    for folder in (first, second):
        age(folder)
    with opened(stem, fingerprint={"om": "third"}):
        pass
    assert not first.exists()
    assert [path.name for path in second.iterdir()] == ["notes.txt"]


def test_only_own_journals_are_removed(stem):
    """Not a folder of another name, nor a link."""
    with opened(stem) as journal:
        work(journal, 2)
    (name,) = folders(stem)
    renamed, link = stem.parent / "shapes-batch3", stem.parent / f"x-{'0' * 16}"
    (stem.parent / name).rename(renamed)
    link.symlink_to(renamed)
    age(renamed)
    with opened(stem):
        pass
    assert (renamed / "shard-00000.npz").exists()
    assert link.is_symlink()


def test_one_that_a_process_has_is_left_alone(stem, monkeypatch):
    """However old it looks."""
    monkeypatch.setattr("fcos_lib.stream.journal_shards.PATIENCE_LOOKS", 1)
    ready = os.pipe()
    child = os.fork()
    if not child:
        with opened(stem) as journal:
            work(journal, 2)
            age(journal.folder)
            os.write(ready[1], b"x")
            signal.pause()
        os._exit(0)
    try:
        os.read(ready[0], 1)
        (name,) = folders(stem)
        finish(stem, fingerprint=OTHER)
        assert folders(stem) == [name]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for end in ready:
            os.close(end)
    finish(stem, fingerprint=OTHER)
    assert folders(stem) == []


def test_many_runs_at_once_do_not_get_into_each_others_way(stem):
    """Each finishes and removes journals, two of them always the same ones: none loses a picture."""
    children = []
    for number in range(4):
        children.append(os.fork())
        if not children[-1]:
            status = 1
            try:
                for turn in range(6):
                    assert finish(stem, fingerprint={"om": f"{number % 2} {turn % 2}"}) == 10
                status = 0
            finally:
                os._exit(status)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
