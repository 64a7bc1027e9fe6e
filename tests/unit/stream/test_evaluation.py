"""An evaluation that is killed and gone on with gives the numbers of one that nobody disturbed, bit for bit."""

import os
import random
import re
import signal
import sys
import time
from contextlib import contextmanager

import pytest

from fcos_lib.errors import FeedError, JournalError
from fcos_lib.stream import decoder_pool
from fcos_lib.stream.evaluation import detect_journaled
from fcos_lib.stream.feed import Feed, batches
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.journal_shards import Maker
from fcos_lib.stream.letterbox import to_picture
from fcos_lib.stream.sessions import Detections
from tests.unit.processes import Terminal
from tests.unit.stream.journal_worker import (
    BATCH,
    FINGERPRINT,
    TINY,
    FakeSession,
    as_bytes,
    one_decoder,
    pictures_of_the_set,
    plain_feed,
    runs_in,
    workers,
)

BATCHES, SHARD_BATCHES = 20, 3
MAKER = Maker("here", 0, "0/0")


@pytest.fixture(scope="module")
def others():
    """Start other processes, and wait for them."""
    with workers() as start_and_wait:
        yield start_and_wait


@pytest.fixture(scope="module")
def pictures():
    """Twenty batches of three, and three batches to a shard: seven shards."""
    return pictures_of_the_set(60)


@pytest.fixture(scope="module")
def undisturbed(pictures):
    """Every picture's detections as bytes, from one process without a journal."""
    session, detections = FakeSession(), {}
    for batch in batches(pictures, TINY, BATCH):
        outputs = session.run(batch.tensor)
        for slot, (picture, letterbox) in enumerate(zip(batch.pictures, batch.places, strict=True)):
            seen = outputs.detections(slot)
            detections[picture.id] = Detections(to_picture(seen.boxes, letterbox), seen.scores, seen.labels)
    assert sum(len(seen) == 0 for seen in detections.values()), "some pictures should have no detection"
    return as_bytes(detections)


def journal_in(folder, pictures, **how):
    """The journal that the workers use too."""
    return Journal(folder, pictures, BATCH, FINGERPRINT, **how)


def merged(folder, pictures):
    """What the workers left, merged here without running anything."""
    with journal_in(folder, pictures) as journal:
        session = FakeSession()
        detections, _ = detect_journaled(session, journal, feed=plain_feed)
    assert session.runs == 0
    return as_bytes(detections)


@pytest.mark.parametrize("feed", [plain_feed, one_decoder])
def test_one_process_alone(tmp_path, pictures, undisturbed, feed):
    """The detour over the disk changes no bit, and the facts say who did what."""
    with journal_in(tmp_path, pictures) as journal:
        detections, facts = detect_journaled(FakeSession(), journal, feed=feed, maker=Maker("here", 3, "1/0"))
    assert as_bytes(detections) == undisturbed
    assert (facts.inferred, facts.resumed, facts.repeated) == (60, 0, 0)
    assert facts.shards == {"NPU 3 (1/0 in npu-smi) on here": list(range(7))}
    assert 0 < facts.busy < 1, f"busy for {facts.busy} of the time"
    assert facts.seconds > 0, f"it took {facts.seconds} s"


def test_a_broken_run_is_resumed(tmp_path, pictures, undisturbed):
    """The shards that were recorded before an error are not run again; of the one in progress, two batches are."""

    class Failing(FakeSession):
        def run(self, batch):
            if self.runs == 11:
                raise RuntimeError("no device any more")
            return super().run(batch)

    with journal_in(tmp_path, pictures) as journal, pytest.raises(RuntimeError):
        detect_journaled(Failing(), journal, feed=plain_feed)
    session = FakeSession()
    with journal_in(tmp_path, pictures) as journal:
        detections, facts = detect_journaled(session, journal, feed=plain_feed)
    assert as_bytes(detections) == undisturbed
    assert (session.runs, facts.resumed, facts.inferred) == (BATCHES - 9, 27, 33)


def test_kill_9_at_any_moment_repeats_one_shard_at_most(tmp_path, pictures, undisturbed, others):
    """Two dozen kills at random moments: the result is that of an undisturbed run, and no kill costs more than a shard."""
    (start, wait), chance, kills, evaluations = others, random.Random(5), 0, []
    while kills < 24:
        folder, log = tmp_path / f"journal{len(evaluations)}", tmp_path / f"log{len(evaluations)}"
        statuses = []
        while 0 not in statuses:
            moment, end = runs_in(log) + chance.randint(0, 8), time.monotonic() + 1
            pid = start(folder, log=log, seconds=0.004)
            while runs_in(log) < moment and time.monotonic() < end:  # by then it has come to its end
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.02))
            os.kill(pid, signal.SIGKILL)
            statuses.append(wait(pid))
        assert set(statuses) <= {0, -signal.SIGKILL}, f"processes ended with {statuses}"
        kills += len(statuses) - 1
        evaluations.append((folder, log, len(statuses) - 1))
    for folder, log, killed in evaluations:
        assert merged(folder, pictures) == undisturbed
        assert BATCHES <= runs_in(log) <= BATCHES + killed * SHARD_BATCHES, f"{killed} kills"


def losing(wanted):
    """A feed that drops those of its batches that `wanted` does not want, of which it knows the number."""

    @contextmanager
    def feed(groups, contract, size, layout):
        with plain_feed(groups, contract, size, layout) as ready:
            yield (batch for number, batch in enumerate(ready) if wanted(number))

    return feed


@contextmanager
def within(seconds):
    """Fail instead of waiting for what never comes."""

    def give_up(*_):
        pytest.fail(f"it still waits after {seconds} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize(
    ("count", "wanted", "error", "said"),
    [
        (58, lambda number: number != 19, FeedError, "ended without 1 of the pictures that it was given: {58}$"),
        (60, lambda number: number != 19, FeedError, "ended without 3 of the pictures that it was given: {58}, {59}, {60}$"),
        (60, lambda number: number < 2, FeedError, r"ended without 54 of the pictures .*: {7}, {8}, {9}, {10}, {11}, \.\.\. \(54 in all\)"),
        (60, lambda number: False, FeedError, r"ended without 60 of the pictures .*: {1}, {2}, {3}, {4}, {5}, \.\.\."),
        (60, lambda number: number != 4, JournalError, "pictures {16}, {17}, {18} are no batch that is due .*: {13}, {14}, {15}"),
    ],
    ids=["the last, which is not full", "the last", "all but two", "all", "one in the middle"],
)  # fmt: skip
def test_batches_that_a_feed_loses_are_missed(tmp_path, pictures, count, wanted, error, said):
    """An evaluation that waited for them would never end: it says how many are missing and which."""
    ids = {number: picture.id for number, picture in enumerate(pictures, start=1)}
    expected = re.sub(r"\{(\d+)\}", lambda detections: str(ids[int(detections[1])]), said)
    with within(20), journal_in(tmp_path, pictures[:count]) as journal, pytest.raises(error) as missed:
        detect_journaled(FakeSession(), journal, feed=losing(wanted))
    assert re.search(expected, missed.value.found), missed.value.found
    with journal_in(tmp_path, pictures[:count]) as journal:
        detections, _ = detect_journaled(FakeSession(), journal, feed=plain_feed)
    assert len(detections) == count, "what was recorded before is lost"


def test_a_process_that_decodes_and_stands_still_is_named_with_its_pictures(pictures, monkeypatch):
    """It lives, so its death tells nothing: after a while without any answer the feed says what is missing."""
    monkeypatch.setattr(decoder_pool, "PATIENCE_LOOKS", 3)
    with within(30), Feed([pictures[:2], pictures[2:4]], TINY, 2, workers=1) as feed:
        batches_of_it = iter(feed)
        next(batches_of_it)
        (process,) = feed._decoders._processes
        os.kill(process.pid, signal.SIGSTOP)
        feed._decoders.order(range(4, 6), pictures[4:6])
        with pytest.raises(FeedError, match="2 pictures of a batch are missing") as missed:
            feed._decoders.wait(range(4, 6))
    assert f"({pictures[4].id}, {pictures[5].id})" in missed.value.found
    assert "has answered for 0.6 s" in missed.value.found


def test_busy_is_the_share_of_time_inside_the_session(tmp_path, pictures):
    """A feed that makes the device wait shows."""

    def slow(groups, contract, size, layout):
        class Slow:
            def __enter__(self):
                with plain_feed(groups, contract, size, layout) as ready:
                    for batch in ready:
                        time.sleep(0.01)
                        yield batch

            def __exit__(self, *_):
                pass

        return Slow()

    shares = []
    for number, feed in enumerate((plain_feed, slow)):
        with journal_in(tmp_path / str(number), pictures[:30]) as journal:
            shares.append(detect_journaled(FakeSession(seconds=0.01), journal, feed=feed)[1].busy)
    assert shares[1] < 0.7, f"busy for {shares[1]:.0%} of the time with a slow feed"
    assert shares[0] > shares[1], f"busy for {shares[0]:.0%} with a fast feed, {shares[1]:.0%} with a slow one"


def test_the_bar_says_rate_share_and_time_left(tmp_path, pictures, monkeypatch):
    """On a terminal; it begins where the journal stands."""
    with journal_in(tmp_path, pictures) as journal:
        for group, _ in zip(list(journal.batches_left()), range(SHARD_BATCHES), strict=False):
            outputs = FakeSession().run(next(iter(batches(group, TINY, BATCH))).tensor)
            journal.append({picture.id: outputs.detections(slot) for slot, picture in enumerate(group)}, MAKER)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with journal_in(tmp_path, pictures) as journal:
        detect_journaled(FakeSession(seconds=0.02), journal, feed=plain_feed, progress="batch3")
    shown = sys.stderr.getvalue()
    assert "batch3:  15%" in shown
    assert "batch3: 100%" in shown
    assert "60/60" in shown
    assert "% busy" in shown
    assert "picture/s" in shown


def test_a_log_file_gets_no_bar(tmp_path, pictures, capsys):
    """Nothing is printed where nobody looks."""
    with journal_in(tmp_path, pictures[:3]) as journal:
        detect_journaled(FakeSession(), journal, feed=plain_feed)
    assert capsys.readouterr() == ("", "")
