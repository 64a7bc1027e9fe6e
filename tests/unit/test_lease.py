"""One process per NPU on the whole machine, told by name, and nothing to clean up after a death."""

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

from fcos_lib.errors import DeviceError
from fcos_lib.lease import lease, lock_folder

HOLD = """
    import sys, time
    from pathlib import Path
    from types import SimpleNamespace
    from fcos_lib.lease import lease
    with lease([SimpleNamespace(device_id=int(n)) for n in sys.argv[2:]], Path(sys.argv[1])) as held:
        print(held.device.device_id, flush=True)
        time.sleep(60)
"""


def npus(*numbers):
    """Devices of which nothing but the number matters here."""
    return [SimpleNamespace(device_id=number) for number in numbers]


@pytest.fixture
def holder(tmp_path):
    """Starts a process that holds the first free one of these devices; its `held` says which."""
    started = []

    def hold(*numbers):
        command = [sys.executable, "-c", textwrap.dedent(HOLD), str(tmp_path / "locks"), *map(str, numbers)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
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
        pytest.raises(DeviceError, match=f"no NPU became free within 0.5 s: npu-0 by process {other.pid} of "),
        waiting,
    ):
        pass
    assert len(said) == 1
    assert f"held: npu-0 by process {other.pid}" in said[0]


def test_a_dead_process_holds_nothing(holder, tmp_path):
    """kill -9 leaves the file, and the file is no lock."""
    other = holder(0)
    os.kill(other.pid, signal.SIGKILL)
    other.wait()
    with lease(npus(0), tmp_path / "locks", timeout_s=5) as held:
        text = json.loads((tmp_path / "locks" / "npu-0.lock").read_text())
    assert (held.device.device_id, text["pid"]) == (0, os.getpid())


def test_one_process_may_hold_its_device_twice(tmp_path):
    """The test and a fixture that it asked for share one, and the inner end does not give it away."""
    with lease(npus(1, 2), tmp_path / "locks") as outer:
        with lease(npus(1, 2), tmp_path / "locks", timeout_s=0.1) as inner:
            assert inner is outer
        script = textwrap.dedent(HOLD)
        command = [sys.executable, "-c", script, str(tmp_path / "locks"), "1", "2"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
        assert process.stdout.readline() == "2\n"
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("text", ["", "[" * 5000, "{}", '{"pid": 1}', "\0\0"])
def test_a_lock_file_with_any_text_is_only_a_name_that_is_missing(holder, tmp_path, text):
    """Whoever may lock may write; it is shown shortened, and believed for nothing."""
    holder(0)
    (tmp_path / "locks" / "npu-0.lock").write_text(text)
    waiting = lease(npus(0), tmp_path / "locks", timeout_s=0)
    with pytest.raises(DeviceError, match="npu-0 by somebody who left no name"), waiting:
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
