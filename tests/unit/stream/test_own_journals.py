"""A run's own journals: what was interrupted survives other runs, what is over goes, and nobody is disturbed."""

import os
import signal
import time

import pytest

from fcos_lib.stream.journal import own_journal
from fcos_lib.stream.journal_folder import KEPT_S, parse_header
from tests.unit.stream.journal_worker import FINGERPRINT
from tests.unit.stream.test_journal import PICTURES, assert_complete, work

OTHER = {"om": "another"}


@pytest.fixture
def stem(tmp_path):
    """What the names of the folders begin with."""
    return tmp_path / "journals" / "shapes-batch3"


def opened(stem, fingerprint=FINGERPRINT, run_id="run", batch=3, **how):
    """A journal of ten batches."""
    return own_journal(stem, PICTURES, batch, fingerprint, run_id, **how)


def finish(stem, **how):
    """Do what is left and merge; how many batches were left."""
    with opened(stem, **how) as journal:
        done = work(journal)
        assert_complete(journal.merge())
    return len(done)


def folders(stem):
    """The names of the journals that there are."""
    return sorted(path.name for path in stem.parent.iterdir() if path.is_dir())


def test_an_interrupted_evaluation_survives_a_run_of_something_else(stem):
    """Another OM, another batch size: neither is refused, and what had been recorded is gone on with."""
    with opened(stem, run_id="first") as journal:
        assert len(work(journal, 4)) == 4
    assert finish(stem, run_id="second", fingerprint=OTHER) == 10
    with opened(stem, run_id="third", batch=4) as journal:
        work(journal)
        assert_complete(journal.merge())
    assert finish(stem, run_id="fourth") == 6


def test_a_finished_one_is_no_evidence_for_the_next_run_and_goes(stem):
    """A late worker of its own run still finds it; the next run does everything again."""
    assert finish(stem, run_id="first") == 10
    assert finish(stem, run_id="first") == 0
    assert finish(stem, run_id="first", fingerprint=OTHER) == 10
    assert len(folders(stem)) == 2, "a late worker of the run would have to do it again"
    assert finish(stem, run_id="second") == 10
    assert len(folders(stem)) == 1, "what other runs finished is left for ever"


def test_fresh_starts_over_what_was_interrupted(stem):
    """Once per run: its next worker goes on."""
    with opened(stem, run_id="first") as journal:
        work(journal, 4)
    with opened(stem, run_id="second", fresh=True) as journal:
        assert journal.recorded == 0
        work(journal, 3)
    with opened(stem, run_id="second", fresh=True) as journal:
        assert journal.recorded == 6


def test_an_interrupted_one_that_nobody_wants_goes_in_the_end(stem):
    """After a month without a change; what does not belong to it stays, with its folder."""
    for fingerprint in (FINGERPRINT, OTHER):
        with opened(stem, run_id="first", fingerprint=fingerprint) as journal:
            work(journal, 1)
    first, second = (stem.parent / name for name in folders(stem))
    (second / "notes.txt").write_text("mine")
    for folder in (first, second):
        os.utime(folder, (0, time.time() - KEPT_S - 60))
    with opened(stem, run_id="second", fingerprint={"om": "third"}):
        pass
    assert not first.exists()
    assert [path.name for path in second.iterdir()] == ["notes.txt"]


def test_only_own_journals_are_removed(stem):
    """Not a folder that was given with --journal, which happens to lie there, nor a link."""
    finish(stem, run_id="first")
    (name,) = folders(stem)
    (stem.parent / name).rename(stem.parent / "shapes-batch3")
    elsewhere = stem.parent.parent / "elsewhere"
    finish(elsewhere / "x", run_id="first")
    link = stem.parent / f"x-{'0' * 16}"
    link.symlink_to(elsewhere / folders(elsewhere / "x")[0])
    finish(stem, run_id="second")
    for kept in (stem.parent / "shapes-batch3", link):
        assert parse_header((kept / "journal.json").read_bytes()).finished_by == ("first",)


def test_one_that_somebody_uses_is_left_alone(stem):
    """A worker of another run that is merging, for instance."""
    finish(stem, run_id="first")
    (name,) = folders(stem)
    ready = os.pipe()
    child = os.fork()
    if not child:
        with opened(stem, run_id="first"):
            os.write(ready[1], b"x")
            signal.pause()
        os._exit(0)
    try:
        os.read(ready[0], 1)
        finish(stem, run_id="second", fingerprint=OTHER)
        assert name in folders(stem)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        for end in ready:
            os.close(end)
    finish(stem, run_id="second", fingerprint=OTHER)
    assert name not in folders(stem)


def test_many_runs_at_once_do_not_get_into_each_others_way(stem):
    """Each finishes journals of its own and removes those of the others, over and over: none loses a picture."""
    children = []
    for number in range(4):
        children.append(os.fork())
        if not children[-1]:
            status = 1
            try:
                for turn in range(12):
                    finish(stem, run_id=f"{number} {turn}", fingerprint={"om": f"{number} {turn % 2}"})
                status = 0
            finally:
                os._exit(status)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
