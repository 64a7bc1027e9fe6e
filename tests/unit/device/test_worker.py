"""A worker of a cluster believes nothing that arrives: neither its OM nor that its host is like the driver's."""

import contextlib
import hashlib
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fcos_lib.ascend.acl_errors import StuckDeviceError
from fcos_lib.contract import SHAPES, InputLayout
from fcos_lib.device import worker
from fcos_lib.device.bench import Bench, written
from fcos_lib.device.lease import ChangedDeviceError
from fcos_lib.device.worker import CHIP, Worker, _differences, maker_of, software_of
from fcos_lib.errors import DeviceError
from fcos_lib.stream.dispatch_devices import Job, Sent
from fcos_lib.stream.journal_shards import Maker

SOFTWARE = {CHIP: "Ascend310P3", "CANN": "8.0.0", "driver": "24.1.0", "numpy": "numpy 2.4.6", "fcos_lib": "0123abcd"}
JOB = Job(
    SHAPES, InputLayout.FLOAT_NCHW, 4, hashlib.sha256(b"om").hexdigest(), (), SOFTWARE, mixed=False, stand_in=True,
    run_id="run", run_time_limit=300,
)  # fmt: skip
DEVICE = SimpleNamespace(
    npu=SimpleNamespace(npu_id=5, chip_id=1), device_id=3, soc_version="Ascend310P3",
    toolkit=SimpleNamespace(cann_version="8.0.0", driver_version="24.1.0", firmware_version="7.5.0"),
)  # fmt: skip


def test_an_om_that_arrives_damaged_is_not_loaded(tmp_path, monkeypatch):
    """Its digest is compared before the device is touched, and nothing of it is left."""
    monkeypatch.setattr("fcos_lib.device.bench.watch", lambda *_: None)
    stack = contextlib.ExitStack()
    bench = Bench(Maker("a host", 3, "5/1"), JOB, stack, tmp_path)
    with pytest.raises(DeviceError, match=r"the OM that arrived on a host has SHA-256 \w{16}, not") as caught:
        bench.open(DEVICE, b"on", tmp_path / "locks")
    assert JOB.om_sha256[:16] in caught.value.found
    assert not bench.held
    bench.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", SOFTWARE)
def test_a_host_that_differs_is_refused_with_both_versions(name):
    """Whatever it differs in; with --cluster-mixed in the chip and in this suite only."""
    here = SOFTWARE | {name: "other"}
    assert _differences(JOB, SOFTWARE) == ""
    said = f"{name} other there, {SOFTWARE[name]} here"
    assert _differences(JOB, here).startswith(said)
    assert _differences(replace(JOB, mixed=True), here) == (said if name in (CHIP, "fcos_lib") else "")


def test_what_has_to_be_equal_is_everything_that_computes():
    """Chip, CANN, driver, firmware, the libraries and the digest of this package's sources."""
    software = software_of(DEVICE)
    assert list(software) == [CHIP, "CANN", "driver", "firmware", "onnxruntime", "OpenCV", "numpy", "fcos_lib"]
    assert all(software.values()), software
    assert "2." in software["numpy"] or "1." in software["numpy"], software


def test_a_device_is_named_by_both_of_its_ids_and_its_host():
    """The logical one, and card and chip as npu-smi counts."""
    assert str(maker_of(DEVICE, "runner-b (10.0.0.12)")) == "NPU 3 (5/1 in npu-smi) on runner-b (10.0.0.12)"


def test_a_picture_keeps_its_name_and_leaves_no_folder(tmp_path):
    """Names come from another process: only their last part counts."""
    (picture,) = written((Sent(7, "../../etc/a.jpg", 8, 6, b"jpeg"),), tmp_path / "1")
    assert picture.path == tmp_path / "1" / "a.jpg"
    assert picture.path.read_bytes() == b"jpeg"
    assert (picture.id, picture.width, picture.height) == (7, 8, 6)


def test_pictures_of_one_name_are_two_files(tmp_path):
    """Those of two folders of a dataset: the second overwrote the first, and both had its detections."""
    both = written((Sent(7, "day/a.jpg", 8, 6, b"day"), Sent(8, "night/a.jpg", 8, 6, b"night")), tmp_path / "1")
    assert [picture.path.read_bytes() for picture in both] == [b"day", b"night"]
    assert [picture.name for picture in both] == ["day/a.jpg", "night/a.jpg"]
    assert all(picture.path.is_relative_to(tmp_path / "1") for picture in both)


@pytest.mark.parametrize(
    "spoil", [lambda path: path.mkdir(mode=0o755), lambda path: path.symlink_to(path.parent)], ids=["open", "link"]
)
def test_a_folder_that_somebody_else_may_have_made_is_refused(tmp_path, monkeypatch, spoil):
    """Its name is not secret, and the OM is written there."""
    monkeypatch.setattr(worker, "this_node", lambda: "0123456789abcdef0123")
    monkeypatch.setattr(worker.tempfile, "gettempdir", lambda: str(tmp_path))
    (name,) = [worker.node_folder()]
    (name / "worker-1-x").mkdir()
    (name / "worker-4194305-x").mkdir()  # no process has such a number
    assert [left.name for left in worker.node_folder().iterdir()] == ["worker-1-x"]
    (name / "worker-1-x").rmdir()
    name.rmdir()
    spoil(name)
    with pytest.raises(DeviceError, match="is not this user's own folder"):
        worker.node_folder()


@pytest.mark.parametrize("error", [DeviceError, StuckDeviceError, ChangedDeviceError])
def test_whatever_kind_of_device_error_it_is_counts_against_the_device(error, monkeypatch):
    """Taken for another one, a device that needs a reset would end the run of all the others."""
    worker = Worker()

    def fail():
        raise error("the device failed", "look at it")

    monkeypatch.setattr(worker, "_ask_again", fail)
    assert type(worker.ask_again().error()) is DeviceError
