"""Shards on many devices: whatever happens to devices, every shard counts once, and none counts whose device lost its trust."""

import hashlib
from dataclasses import dataclass, field

import pytest

from fcos_lib.contract import InputLayout
from fcos_lib.errors import DeviceError, DisagreementError, SessionError
from fcos_lib.judge.exit_status import outcome_of
from fcos_lib.judge.verdict import Outcome
from fcos_lib.stream import dispatch
from fcos_lib.stream.dispatch import detect_on_cluster
from fcos_lib.stream.dispatch_devices import Failed, Job, Ready, Refused, calls_at_once
from fcos_lib.stream.feed import batches
from fcos_lib.stream.journal import Journal
from fcos_lib.stream.journal_shards import Maker
from tests.unit.stream.journal_worker import BATCH, FINGERPRINT, TINY, FakeSession, as_bytes, pictures_of_the_set

OM = b"om"
JOB = Job(
    TINY, InputLayout.FLOAT_NCHW, BATCH, hashlib.sha256(OM).hexdigest(), (), {}, mixed=False, stand_in=True, run_id="run",
    run_time_limit=300,
)  # fmt: skip


@pytest.fixture(scope="module")
def pictures():
    """Seven shards of three batches."""
    return pictures_of_the_set(60)


@pytest.fixture(scope="module")
def answers(pictures, tmp_path_factory):
    """What every right device answers, by picture id."""
    session, detections = FakeSession(), {}
    for batch in batches(pictures, TINY, BATCH):
        outputs = session.run(batch.tensor)
        detections |= {picture.id: outputs.detections(slot) for slot, picture in enumerate(batch.pictures)}
    return detections


@dataclass
class Device:
    """One device as the pool plays it; each list is used up from its front, and then all is well."""

    starts: list = field(default_factory=list)
    runs: list = field(default_factory=list)
    asks: list = field(default_factory=list)
    canary: str = "right"
    steps: int = 1
    """Looks that a shard takes."""
    wrong: bool = False


class FakePool:
    """Devices that answer when they are looked at."""

    def __init__(self, answers, *devices):
        self.answers, self.free = answers, list(enumerate(devices))
        self.workers, self.calls, self.made, self.sent, self.shared = {}, [], 0, 0, []

    def grow(self):
        """Everything that is free."""
        new = []
        while self.free:
            self.made += 1
            self.workers[self.made] = self.free.pop(0)
            new.append(self.made)
        return new

    def share(self, value):
        """As it is."""
        self.shared.append(value)
        return value

    def call(self, worker, method, *arguments, note):
        """Answered by a later look."""
        _, device = self.workers[worker]
        self.calls.append([device.steps if method == "run" else 1, worker, method, arguments, note])
        self.sent += method == "run"

    def wait(self, _):
        """One step of everybody, a shard of each at a time."""
        busy, ended = set(), []
        for call in list(self.calls):
            if call[1] in busy:
                continue
            busy.add(call[1])
            call[0] -= 1
            if call[0] <= 0:
                self.calls.remove(call)
                ended.append(call)
        for _, worker, method, arguments, note in ended:
            if worker in self.workers:
                yield worker, note, self._answer(*self.workers[worker], method, arguments)

    def _answer(self, number, device, method, arguments):
        played = {"start": device.starts, "run": device.runs, "ask_again": device.asks}.get(method, [])
        if played and (result := played.pop(0)) is not None:
            return result
        if method == "start":
            return Ready(Maker("host", number, f"{number}/0"), device.canary)
        if method == "run":
            answered = {picture.id: self.answers[picture.id] for picture in arguments[1]}
            if device.wrong:
                first = next(one for one in answered.values() if len(one))
                first = next(key for key, one in answered.items() if one is first)
                answered[first] = type(answered[first])(
                    answered[first].boxes + 1, answered[first].scores, answered[first].labels
                )
            return answered
        return True

    def drop(self, worker):
        """The device is free again."""
        self.free.append(self.workers.pop(worker))
        notes = [call[4] for call in self.calls if call[1] == worker]
        self.calls = [call for call in self.calls if call[1] != worker]
        return notes


@pytest.fixture
def evaluated(tmp_path, pictures, answers):
    """Evaluate on devices; the network's detections, the facts and the pool."""

    def call(*devices, pool=None):
        pool = pool or FakePool(answers, *devices)
        with Journal(tmp_path / "journal", pictures, BATCH, FINGERPRINT) as journal:
            detections, facts = detect_on_cluster(pool, OM, JOB, journal)
            merged = journal.merge()
        assert as_bytes(merged) == as_bytes(answers), "results differ from an undisturbed run's"
        assert list(detections) == [picture.id for picture in pictures]
        return facts, pool

    return call


def lost(name="gone"):
    """What a pool says of a process that died."""
    return RuntimeError(name)


def failed(kind="DeviceError", found="heartbeat lost"):
    """An error on the device's side."""
    return Failed("NPU 9 on host", kind, found, "look")


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_any_number_of_devices_gives_the_same_bits(evaluated, count):
    """Each shard once, and all devices at work."""
    facts, pool = evaluated(*(Device() for _ in range(count)))
    assert pool.sent == 7
    assert len(facts.shards) == min(count, 7), f"{facts.shards}"
    assert sorted(shard for shards in facts.shards.values() for shard in shards) == list(range(7))
    assert (facts.inferred, facts.resumed, facts.notes) == (60, 0, ())
    assert pool.shared == [OM], "the OM is to travel once"


def test_a_device_that_dies_gives_its_shards_to_others(evaluated):
    """The shard that it was at and the one that waited for it."""
    facts, pool = evaluated(Device(runs=[lost("raylet killed")]), Device())
    assert pool.sent >= 8, f"{pool.sent} shards were handed out"
    assert any("raylet killed" in note for note in facts.notes), facts.notes


def test_an_error_of_a_device_is_noted_and_it_is_begun_again(evaluated):
    """Its lease knows how often it has failed."""
    facts, pool = evaluated(Device(runs=[None, failed()]))
    assert pool.made == 2
    assert any("heartbeat lost" in note for note in facts.notes), facts.notes


def test_a_device_that_is_refused_is_named_and_left_alone(evaluated):
    """Another CANN, for instance."""
    facts, pool = evaluated(Device(starts=[Refused("NPU 0 on a", "CANN 8.1 there, 8.0 here")]), Device())
    assert facts.notes == ("NPU 0 on a is left out: CANN 8.1 there, 8.0 here",)
    assert list(facts.shards) == ["NPU 1 (1/0 in npu-smi) on host"]
    assert pool.made == 2, "it was begun again"


def test_all_refused_is_one_sentence(evaluated, monkeypatch):
    """With every reason."""
    monkeypatch.setattr(dispatch, "HOPELESS_LOOKS", 3)
    with pytest.raises(DeviceError, match=r"no NPU of the cluster works .*NPU 0 .*8\.1.*NPU 1 .*8\.2"):
        evaluated(Device(starts=[Refused("NPU 0", "8.1")]), Device(starts=[Refused("NPU 1", "8.2")]))


def test_no_npu_at_all_is_not_waited_for_for_ever(evaluated, monkeypatch):
    """A cluster without the resource NPU."""
    monkeypatch.setattr(dispatch, "HOPELESS_LOOKS", 3)
    with pytest.raises(DeviceError, match="the cluster has no NPU, or others hold them"):
        evaluated()


def test_processes_that_never_start_end_the_run(evaluated):
    """A node without this suite, for instance: each new process dies as well."""
    with pytest.raises(DeviceError, match=r"was lost: No module named 'fcos_lib'"):
        evaluated(Device(starts=[lost("No module named 'fcos_lib'")] * 50))


@pytest.mark.parametrize("kind", ["SessionError", "DatasetError", "FeedError"])
def test_what_is_not_the_devices_fault_ends_the_run(evaluated, kind):
    """As on one device, with the device's name."""
    with pytest.raises(Exception, match=r"NaN among the scores \(on NPU 9 on host\)") as caught:
        evaluated(Device(runs=[failed(kind, "NaN among the scores")]), Device())
    assert type(caught.value).__name__ == kind


def test_a_shard_that_takes_too_long_is_given_to_a_second_device(evaluated, monkeypatch):
    """The run does not wait for a device that hangs, and says which one it was."""
    monkeypatch.setattr(dispatch, "LATE_S", 0.0)
    monkeypatch.setattr(dispatch, "LATE", 1e-9)
    facts, _ = evaluated(Device(steps=10**9), Device(), Device())
    assert set(facts.shards) == {"NPU 1 (1/0 in npu-smi) on host", "NPU 2 (2/0 in npu-smi) on host"}


def test_two_answers_that_differ_are_a_disagreement(evaluated, monkeypatch):
    """With both ids and both digests; it is FAIL, not INFRA."""
    monkeypatch.setattr(dispatch, "LATE_S", 0.0)
    monkeypatch.setattr(dispatch, "LATE", 1e-9)
    with pytest.raises(DisagreementError, match=r"the devices disagree: .*NPU \d \(.*NPU \d \(") as caught:
        evaluated(Device(steps=6, wrong=True), Device(), Device(steps=50))
    assert outcome_of(caught.value) is Outcome.FAIL


def test_the_canary_of_the_minority_is_wrong(evaluated):
    """Even if it was the first to start: what it had answered is run again on others."""
    facts, _ = evaluated(Device(canary="wrong", wrong=True), Device(starts=[]), Device())
    assert "NPU 0 (0/0 in npu-smi) on host" not in facts.shards
    assert any(
        "NPU 0" in note and "does not find in the canary's pictures what 2 others find" in note for note in facts.notes
    )


def test_two_devices_whose_canaries_differ_disagree(evaluated):
    """No third one says which is right."""
    with pytest.raises(DisagreementError, match=r"NPU 0 .* found right and NPU 1 .* wrong .*no third device"):
        evaluated(Device(), Device(canary="wrong", wrong=True))


def test_a_device_that_begins_to_compute_wrongly_is_found_at_the_end(evaluated):
    """Its canary is asked again before anything is judged, and all that it answered is run again."""
    facts, pool = evaluated(Device(asks=[failed(found="no longer computes what it computed")]), Device())
    assert any("no longer computes" in note for note in facts.notes)
    assert pool.sent > 7, "what it had answered still counts"


def test_a_node_that_joins_late_takes_its_share(evaluated, answers):
    """It is looked for while the others are at work."""

    class Late(FakePool):
        def grow(self):
            if self.sent == 4:
                self.free.append((5, Device()))
                self.sent += 100
            return super().grow()

    facts, _ = evaluated(pool=Late(answers, Device(steps=3)))
    assert "NPU 5 (5/0 in npu-smi) on host" in facts.shards


def test_what_is_recorded_is_not_sent_again(tmp_path, pictures, answers):
    """The driver was killed: the next one goes on."""
    with Journal(tmp_path, pictures, BATCH, FINGERPRINT) as journal:
        for shard in (0, 3):
            journal.record(shard, {p.id: answers[p.id] for p in journal.shards[shard]}, Maker("before", 0, "0/0"))
    pool = FakePool(answers, Device())
    with Journal(tmp_path, pictures, BATCH, FINGERPRINT) as journal:
        _, facts = detect_on_cluster(pool, OM, JOB, journal)
    assert pool.sent == 5
    assert (facts.inferred, facts.resumed) == (42, 18)
    assert facts.shards["NPU 0 (0/0 in npu-smi) on before"] == [0, 3]


def test_a_failure_of_a_kind_that_there_is_not_is_an_error_all_the_same():
    """It comes from another process."""
    assert type(Failed("x", "SessionError", "a", "b").error()) is SessionError
    assert "a" in str(Failed("x", "printable", "a", "b").error())


@pytest.mark.parametrize(("batch", "calls"), [(1, 2), (8, 2), (32, 2), (64, 3), (128, 5)])
def test_a_device_has_as_many_shards_as_its_feed_prepares(batch, calls):
    """One at work, and enough for two batches ahead."""
    assert calls_at_once(batch) == calls
