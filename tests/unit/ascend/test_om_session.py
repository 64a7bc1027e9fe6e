"""A session over any generation of aclruntime keeps the contract, its thread and its process."""

import os
import sys
import threading
import warnings

import numpy as np
import pytest

from fcos_lib.ascend.om_session import OmSession
from fcos_lib.errors import DeviceError, SessionError

BATCH = 2


def test_a_batch_goes_in_and_the_contracts_outputs_come_out(fake, om, contract, batch):
    """Both generations get the bytes of the batch and give labels and dets."""
    with OmSession(om, contract, BATCH, device_id=3) as session:
        outputs = session.run(batch)
    assert fake.loaded == (str(om), 3)
    assert fake.fed == [batch.tobytes()]
    np.testing.assert_array_equal(outputs.labels, fake.labels)
    np.testing.assert_array_equal(outputs.dets, fake.dets)
    assert not session.stand_in


def test_an_emulator_is_recognised(new_fake, om, contract):
    """Nothing that ran on an emulator may be reported as hardware."""
    sys.modules["aclruntime"].STAND_IN = True
    with OmSession(om, contract, BATCH) as session:
        assert session.stand_in


def test_an_om_without_proposals_says_what_to_compile(new_fake, om, contract, batch):
    """Most OMs return detections only; nothing is run on the device to find that out."""
    with OmSession(om, contract, BATCH) as session, pytest.raises(SessionError, match="none is 'boxes' float32"):
        session.run_and_proposals(batch)
    assert new_fake.fed == []


@pytest.mark.parametrize("change", ["dtype", "shape", "order"])
def test_a_wrong_batch_never_reaches_the_device(new_fake, om, contract, batch, change):
    """int32 of the same byte count would run silently."""
    wrong = {
        "dtype": batch.astype(np.int32),
        "shape": batch.reshape(BATCH, 4, 6, 3),
        "order": np.asfortranarray(batch),
    }[change]
    with OmSession(om, contract, BATCH) as session, pytest.raises(SessionError, match="input 'input'"):
        session.run(wrong)
    assert new_fake.fed == []


def test_outputs_of_another_shape_than_described_are_refused(new_fake, om, contract, batch):
    """What comes back is checked as well as what was promised."""
    new_fake.dets = new_fake.dets[:, :3]
    with OmSession(om, contract, BATCH) as session, pytest.raises(SessionError, match="output 'dets' is"):
        session.run(batch)


def test_a_missing_result_is_refused(new_fake, om, contract, batch):
    """Fewer tensors than descriptions cannot be mapped."""
    new_fake.results = lambda: [new_fake.labels]
    with OmSession(om, contract, BATCH) as session, pytest.raises(SessionError, match="returned 1 outputs"):
        session.run(batch)


def test_timings_are_milliseconds_in_every_generation(fake, om, contract, batch):
    """Old durations and new (start, end) pairs become the same list, and warm-up runs can be forgotten."""
    with OmSession(om, contract, BATCH) as session:
        session.run(batch)
        session.reset_timings()
        session.run(batch)
        session.run(batch)
        assert session.compute_ms() == [2.5, 2.5]


def test_what_ran_is_known_whatever_the_runtime_says_of_times(fake, om, contract, batch):
    """A runtime that times nothing would else keep a device from being asked again after it was used."""
    with OmSession(om, contract, BATCH) as session:
        assert not session.has_run
        session.run(batch)
        fake.times.clear()
        assert (session.has_run, session.compute_ms()) == (True, [])
        session.reset_timings()
        assert not session.has_run


@pytest.mark.parametrize("times", [["1.5 ms"], [(1.0,)], [None]])
def test_times_that_cannot_be_read_are_the_runtimes_fault(new_fake, om, contract, times):
    """They say nothing about the model; the cause is named, and what to install."""
    new_fake.times = times
    with (
        OmSession(om, contract, BATCH) as session,
        pytest.raises(DeviceError, match="cannot tell how long runs") as caught,
    ):
        session.compute_ms()
    assert "install the wheel" in caught.value.advice


def test_a_failure_beside_a_run_is_explained_too(new_fake, om, contract, monkeypatch):
    """Every call into the runtime may meet a device that is lost, not only those that load and run."""

    def lost(_):
        raise RuntimeError("retCode 507010")

    session_class = sys.modules["aclruntime"].InferenceSession
    for name in ("sumary", "reset_sumaryinfo"):
        with OmSession(om, contract, BATCH) as session, monkeypatch.context() as patch:
            patch.setattr(session_class, name, lost)
            with pytest.raises(DeviceError, match="the device was lost"):
                (session.compute_ms if name == "sumary" else session.reset_timings)()
    freed = new_fake.freed
    monkeypatch.setattr(session_class, "get_outputs", lost)
    with pytest.raises(DeviceError, match="the device was lost"):
        OmSession(om, contract, BATCH)
    assert new_fake.freed == freed + 1, "what was loaded is unloaded"


def test_what_the_runtime_warns_of_is_no_failure(new_fake, om, contract, batch, monkeypatch):
    """pytest makes errors of warnings: a deprecation or a leak inside aclruntime would look like a failing device."""

    def leaks(_):
        open(os.devnull)  # noqa: SIM115 - never closed
        warnings.warn("a type has no __module__ attribute", DeprecationWarning, stacklevel=1)
        return new_fake.inputs

    monkeypatch.setattr(sys.modules["aclruntime"].InferenceSession, "get_inputs", leaks)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        with OmSession(om, contract, BATCH) as session:
            session.run(batch)
    assert {warning.category for warning in caught} == {DeprecationWarning, ResourceWarning}


def test_closing_frees_once(fake, om, contract, batch):
    """New aclruntime frees explicitly, old by dropping the session; a second close does nothing."""
    session = OmSession(om, contract, BATCH)
    session.close()
    session.close()
    assert fake.freed == (0 if fake.generation == "old" else 1)
    with pytest.raises(SessionError, match="is closed"):
        session.run(batch)


def test_a_failing_unload_hides_no_earlier_failure(new_fake, om, contract):
    """The reader needs what failed first; alone, the unload is reported."""
    new_fake.free_error = "[-1][ACL: general failure] "
    with pytest.raises(ZeroDivisionError), OmSession(om, contract, BATCH):
        raise ZeroDivisionError
    session = OmSession(om, contract, BATCH)
    with pytest.raises(DeviceError, match="cannot be unloaded"):
        session.close()


def test_the_runtimes_chatter_stays_off_stdout(fake, om, contract, batch, capfd):
    """[INFO] lines would drown a test report; afterwards stdout is what it was."""
    print("before")
    with OmSession(om, contract, BATCH) as session:
        session.run(batch)
    fake.load_error = "a cause\n"
    with pytest.raises(SessionError):
        OmSession(om, contract, BATCH)
    print("after")
    assert capfd.readouterr().out == "before\nafter\n"


def test_a_session_stays_in_its_thread(new_fake, om, contract, batch):
    """The device's context belongs to the thread that loaded the model."""
    caught = []

    def elsewhere():
        try:
            session.run(batch)
        except SessionError as error:
            caught.append(error)

    with OmSession(om, contract, BATCH) as session:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        session.run(batch)
    assert "another thread" in caught[0].found
    assert len(new_fake.fed) == 1


def test_a_session_stays_in_its_process(new_fake, om, contract, batch, monkeypatch):
    """No device state survives a fork: a child may neither run nor free what is its parent's."""
    session = OmSession(om, contract, BATCH)
    parent = os.getpid()
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: parent + 1)
        with pytest.raises(SessionError, match=f"opened in process {parent}"):
            session.run(batch)
        session.close()
        assert new_fake.freed == 0
    session.close()
    assert new_fake.freed == 1


@pytest.fixture
def dynamic(fake):
    """The fake runtime with an OM that has profiles for 2 and 4: open inputs, outputs as the largest profile has them."""
    for tensor in (*fake.inputs, *fake.outputs):
        tensor.realsize = tensor.size = tensor.size * 4 // BATCH
        tensor.shape[0] = -1 if tensor in fake.inputs else 4
    chosen = []

    def choose(session, size):
        chosen.append(size)
        if size not in (2, 4):
            raise_refusal()
        for tensor in (*fake.inputs, *fake.outputs):
            tensor.realsize = tensor.size * size // 4
        return 0

    def raise_refusal():
        os.write(1, b"[ERROR] the dymBatch parameter is not correct\n")
        raise RuntimeError("[-1][ACL: general failure] ")

    sys.modules["aclruntime"].InferenceSession.set_dynamic_batchsize = choose
    return chosen


def test_the_profile_of_the_batch_size_is_chosen(fake, dynamic, om, contract, batch):
    """Once, when the OM is loaded, whichever the generation."""
    with OmSession(om, contract, BATCH) as session:
        outputs = session.run(batch)
    assert dynamic == [BATCH]
    np.testing.assert_array_equal(outputs.dets, fake.dets)


@pytest.mark.parametrize("rows", [1, 4], ids=["too small", "another batch"])
def test_outputs_of_a_profile_are_checked_when_they_come(fake, dynamic, om, contract, batch, rows):
    """The description is that of the largest profile, so that only the arrays tell what the chosen one returns."""
    fake.dets = np.zeros((rows, *fake.dets.shape[1:]), np.float32)
    with OmSession(om, contract, BATCH) as session, pytest.raises(SessionError, match="output 'dets' is float32"):
        session.run(batch)


def test_outputs_smaller_than_the_profile_are_refused(fake, dynamic, om, contract):
    """No profile of a size that the largest does not hold."""
    fake.outputs[0].shape[0] = 1
    with pytest.raises(SessionError, match=r"has the outputs 'Cast_12:0:labels' int64\[1, 5\]"):
        OmSession(om, contract, BATCH)


def test_a_batch_size_without_a_profile_is_refused(dynamic, om, contract):
    """With what would help, before any batch runs."""
    with pytest.raises(SessionError, match="has no profile for this batch size") as caught:
        OmSession(om, contract, 3)
    assert "--dynamic_batch_size" in caught.value.advice
