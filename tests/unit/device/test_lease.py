"""One process per NPU on the whole machine, told by name, and nothing to clean up after a death."""

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from fcos_lib.ascend.acl_errors import StuckDeviceError
from fcos_lib.ascend.npu_smi import DeviceIndex
from fcos_lib.ascend.toolkit import Toolkit
from fcos_lib.device.lease import lease, lock_folder
from fcos_lib.device.npus import Device
from fcos_lib.errors import DeviceError

HOLD = """
    import sys, time
    from pathlib import Path
    from fcos_lib.ascend.toolkit import Toolkit
    from fcos_lib.device.lease import lease
    from fcos_lib.device.npus import Device
    devices = [Device(None, int(n), "Ascend310P3", Toolkit(), True, int(n)) for n in sys.argv[2:]]
    with lease(devices, Path(sys.argv[1])) as held:
        print(held.device.device_id, flush=True)
        time.sleep(60)
"""


def npus(*numbers):
    """Devices of which nothing but the number matters here."""
    return [Device(None, number, "Ascend310P3", Toolkit(), True, number) for number in numbers]


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds the first free one of these devices; its `held` says which."""
    started = []

    def hold(*numbers):
        command = [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path / "locks"), *map(str, numbers)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3])
        started.append(process)
        process.held = int(process.stdout.readline())
        return process

    yield hold
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_each_process_gets_a_device_of_its_own(holder, tmp_path):
    """The first that is free, in the order given."""
    assert [holder(3, 5).held, holder(3, 5).held] == [3, 5]
    with lease(npus(3, 5, 7), tmp_path / "locks") as held:
        assert held.device.device_id == 7


def test_whoever_waits_too_long_learns_who_holds_it(holder, tmp_path):
    """Process, user, since when, and its command; said once while waiting as well."""
    other, said = holder(0), []
    waiting = lease(npus(0), tmp_path / "locks", timeout_s=0.5, say=said.append)
    with (
        pytest.raises(DeviceError, match=f"no NPU became free within 0.5 s: device 0 by process {other.pid} of "),
        waiting,
    ):
        pass
    assert len(said) == 1
    assert f"held: device 0 by process {other.pid}" in said[0]


def test_one_process_may_hold_its_device_twice(holder, tmp_path):
    """The test and a fixture that it asked for share one, and the inner end does not give it away."""
    with lease(npus(1, 2), tmp_path / "locks") as outer:
        with lease(npus(1, 2), tmp_path / "locks", timeout_s=0.1) as inner:
            assert inner is outer
        assert holder(1, 2).held == 2


@pytest.mark.parametrize("text", ["", "[" * 5000, "{}", '{"pid": 1}', "\0\0"])
def test_a_lock_file_with_any_text_is_only_a_name_that_is_missing(holder, tmp_path, text):
    """Whoever may lock may write; it is shown shortened, and believed for nothing."""
    holder(0)
    (tmp_path / "locks" / "npu-0.lock").write_text(text)
    waiting = lease(npus(0), tmp_path / "locks", timeout_s=0)
    with pytest.raises(DeviceError, match="device 0 by somebody who left no name"), waiting:
        pass


def test_a_link_in_the_place_of_a_lock_is_not_followed(tmp_path):
    """In a folder that everybody may write, it could lead to any file."""
    (tmp_path / "locks").mkdir()
    (tmp_path / "precious").write_text("keep")
    (tmp_path / "locks" / "npu-0.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(DeviceError, match="cannot be opened"), lease(npus(0), tmp_path / "locks"):
        pass
    assert (tmp_path / "precious").read_text() == "keep"


def test_real_devices_are_locked_for_the_whole_machine(tmp_path):
    """Two artifact folders do not mean two NPUs; the emulator's are as many as there are folders."""
    assert lock_folder(SimpleNamespace(stand_in=True), tmp_path) == tmp_path / "locks"
    real = lock_folder(SimpleNamespace(stand_in=False), tmp_path)
    assert not real.is_relative_to(tmp_path)
    assert real.name == "fcos_lib"


def test_who_died_holding_a_device_is_named_until_somebody_has_made_sure_of_it(holder, tmp_path):
    """kill -9 leaves a mark; a lease that does not ask the device leaves it there, one that trusts it takes it away."""
    other, said = holder(0), []
    other.kill()
    other.wait()
    for _ in range(2):
        with lease(npus(0), tmp_path / "locks", say=said.append) as held:
            assert f"process {other.pid} of " in held.left_by
            assert json.loads((tmp_path / "locks" / "npu-0.lock").read_text())["pid"] == os.getpid()
    assert len(said) == 2
    assert f"device 0 was not given back by process {other.pid} of " in said[0]
    with lease(npus(0), tmp_path / "locks") as held:
        held.trust()
    with lease(npus(0), tmp_path / "locks") as held:
        assert held.left_by == ""
    assert (tmp_path / "locks" / "npu-0.lock").read_bytes() == b""


def fail(folder, run, *numbers, words="it broke"):
    """A lease in which the device fails."""
    with pytest.raises(DeviceError, match=words), lease(npus(*numbers), folder, run=run) as held:
        raise DeviceError(words, f"npu-{held.device.device_id}")


def test_a_device_that_fails_twice_is_left_alone_by_the_run(tmp_path):
    """Others are used instead; when none is left, each is named with what it did; the next run starts anew."""
    folder = tmp_path / "locks"
    fail(folder, "one", 0, 1, words="first")
    fail(folder, "one", 0, 1, words="second")
    with lease(npus(0, 1), folder, run="one") as held:
        assert held.device.device_id == 1
    with lease(npus(0, 1), folder, run="two") as held:
        assert held.device.device_id == 0, "what failed in another run counts against nobody"
    for _ in range(2):
        fail(folder, "one", 1, words="third")
    for _ in range(2):
        fail(folder, "one", 0, words="fourth")
    waiting = lease(npus(0, 1), folder, run="one")
    with pytest.raises(DeviceError, match=r"no NPU is left for this run.*device 0: fourth.*device 1: third"), waiting:
        pass


def test_a_device_that_needs_a_reset_is_left_alone_by_everybody(tmp_path, monkeypatch):
    """After one failure, in every run, with the way out of it; taking the file away or a new start of the machine is that way."""
    stuck = StuckDeviceError("the AI CPU failed", "reset it (npu-smi set -t reset)")
    with pytest.raises(StuckDeviceError), lease(npus(0, 1), tmp_path, run="one"):
        raise stuck
    with lease(npus(0, 1), tmp_path, run="two") as held:
        assert held.device.device_id == 1
    words = rf"device 0: the AI CPU failed \(reset it \(npu-smi set -t reset\); then delete {tmp_path}/npu-0\.lock\)"
    with pytest.raises(DeviceError, match=words), lease(npus(0), tmp_path):
        pass
    with monkeypatch.context() as patch:
        patch.setattr("fcos_lib.device.lock_file.boot_id", lambda: "a later start")
        with lease(npus(0), tmp_path, run="three") as held:
            assert held.device.device_id == 0
    (tmp_path / "npu-0.lock").unlink()
    with lease(npus(0), tmp_path, run="one") as held:
        assert not held.quarantined


def test_the_physical_device_is_locked_and_all_its_numbers_are_told(holder, tmp_path):
    """Two processes with other ASCEND_RT_VISIBLE_DEVICES call one device by two numbers."""
    holder(3)
    masked = Device(None, DeviceIndex(0, "logical 3, NPU 5 chip 1"), "Ascend310P3", Toolkit(), True, 3)
    words = r"device 0 \(logical 3, NPU 5 chip 1\) by process"
    with pytest.raises(DeviceError, match=words), lease([masked], tmp_path / "locks", timeout_s=0):
        pass


def test_one_error_counts_once(tmp_path):
    """It passes through the lease of a fixture and through that of the test."""
    with pytest.raises(DeviceError), lease(npus(0), tmp_path, run="one"), lease(npus(0), tmp_path, run="one") as held:
        raise DeviceError("it broke")
    assert held.faults == ["it broke"]


def test_a_death_in_the_same_run_is_a_failure_of_the_device(holder, tmp_path):
    """The process of a hung call is killed, so that it cannot say itself what happened."""
    with lease(npus(0), tmp_path / "locks", run="one"):
        text = (tmp_path / "locks" / "npu-0.lock").read_text()
    (tmp_path / "locks" / "npu-0.lock").write_text(text)
    with lease(npus(0), tmp_path / "locks", run="one") as held:
        assert len(held.faults) == 1
        assert held.faults[0].endswith("died while it held it")


@contextlib.contextmanager
def lease_elsewhere(folder, seconds=5):
    """Whether another process could take the lock of NPU 0, in so many seconds."""
    end, taken = time.monotonic() + seconds, False
    descriptor = os.open(folder / "npu-0.lock", os.O_RDWR)
    while not taken and time.monotonic() < end:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            taken = True
        time.sleep(0.01)
    yield taken
    os.close(descriptor)


def test_a_forked_child_holds_nothing(tmp_path):
    """Nor does the lock live on in it: flock's would, as long as any process has a copy of the descriptor."""
    with lease(npus(0), tmp_path) as held:
        child = os.fork()
        if child == 0:
            signal.pause()
        held.give_back()  # as death would
        try:
            with lease_elsewhere(tmp_path) as taken:
                assert taken, "the child keeps the lock"
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        held._descriptor = os.open(tmp_path / "npu-0.lock", os.O_RDWR)


def test_locks_below_an_artifact_folder_stay_the_users_own(tmp_path):
    """The store refuses a folder that everybody may change, and it keeps its own locks in the same one."""
    folder = tmp_path / "artifacts" / "locks"
    with lease(npus(0), folder):
        pass
    assert not folder.stat().st_mode & 0o002, "every user may change the locks of an artifact folder"
