"""A device that no longer computes what it computed is told from a model that never did right."""

from types import SimpleNamespace

import numpy as np
import pytest

from fcos_lib.contract import SHAPES, InputLayout
from fcos_lib.device import canary as canary_module
from fcos_lib.device.canary import Canary, canary_pictures
from fcos_lib.device.lease import lease
from fcos_lib.errors import DeviceError, SessionError, StoreError
from fcos_lib.stream.dataset import Dataset, Picture
from fcos_lib.stream.sessions import Outputs


class Device:
    """A session whose first detection has this score, or that refuses."""

    contract, layout, batch, device_id = SHAPES, InputLayout.FLOAT_NCHW, 3, 0

    def __init__(self, *answers):
        self.answers, self.resets, self.fed = list(answers), 0, []

    def run(self, tensor):
        """Each run takes the next answer; the last stays."""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.fed.append(tensor)
        if isinstance(answer, Exception):
            raise answer
        dets = np.zeros((3, SHAPES.max_detections, 5), np.float32)
        dets[:, : len(answer), :4] = (1, 2, 30, 40)
        dets[:, : len(answer), 4] = answer
        return Outputs(np.zeros(dets.shape[:2], np.int64), dets)

    def reset_timings(self):
        """Noted."""
        self.resets += 1


@pytest.fixture
def ask(tmp_path, monkeypatch):
    """Ask a device, in a run."""
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").touch()
    pictures = [Picture(1, tmp_path / "a.jpg", 8, 8), Picture(2, tmp_path / "b.jpg", 8, 8)]
    batch = SimpleNamespace(tensor=np.zeros((2, 3, 4, 4), np.float32))
    monkeypatch.setattr(canary_module, "load_batch", lambda *_: batch)

    def ask(device, run="one", left_by="", folder=tmp_path / "canary"):
        with lease([SimpleNamespace(device_id=0, logical_id=0)], tmp_path / "locks", run=run) as held:
            held.left_by = left_by
            Canary(folder, run, pictures).ask(device, held, "0" * 64)
            assert held.left_by == "", "a device that was asked is trusted"

    return ask


def test_it_looks_where_there_is_most_to_find(tmp_path):
    """The first pictures of a dataset may be empty, at batch size 1 a single one counts, and no box is a wrong box there."""
    pictures = tuple(Picture(number, tmp_path / f"{number}.jpg", 8, 8) for number in range(1, 6))
    dataset = Dataset(tmp_path, tmp_path, "", pictures, {}, objects_of={3: 2, 4: 7, 5: 2})
    assert [picture.id for picture in canary_pictures(dataset)] == [4, 3]


def test_the_same_again_is_fine_and_costs_one_batch(ask):
    """Of as many slots as the session has, and no trace of it among the timings."""
    device = Device([0.9, 0.8])
    ask(device)
    ask(device)
    assert (len(device.fed), device.resets) == (2, 2)
    assert device.fed[0].shape == (3, 3, 4, 4)


@pytest.mark.parametrize(
    ("later", "words"),
    [([0.9, 0.7999], "3 of them are not found any more"), ([], "6 of them"), (SessionError("NaN", ""), "it says: NaN")],
    ids=["bit", "nothing", "nan"],
)
def test_what_was_known_and_is_not_found_is_the_devices_fault(ask, later, words):
    """In the last bit too; both times and devices are named."""
    ask(Device([0.9, 0.8]))
    with pytest.raises(DeviceError, match=words) as caught:
        ask(Device(later))
    assert "device 0 found 6 detections at 20" in caught.value.found


def test_a_model_that_returns_nan_always_did(ask):
    """Which is for the gates to say, and no reason to doubt the device."""
    device = Device(SessionError("output 'dets' has NaN", ""))
    ask(device)
    ask(device)


def test_what_the_batch_before_left_is_for_the_gates(ask):
    """Other rows among the known ones, or wrong ones that the next run of the same batch does not have."""
    ask(Device([0.9, 0.8]))
    ask(Device([0.9, 0.8, 0.3]))
    ask(Device([0.5], [0.9, 0.8]))


def test_another_run_begins_anew_unless_the_device_was_left_behind(ask):
    """A later CANN or model may find other things; a device that a dead process held has to find the same."""
    ask(Device([0.9]))
    with pytest.raises(DeviceError):
        ask(Device([0.8]), run="two", left_by="process 12")
    ask(Device([0.8]), run="three")
    with pytest.raises(DeviceError):
        ask(Device([0.9]), run="three")


def test_a_record_that_cannot_be_read_is_made_anew_and_one_that_cannot_be_written_is_said(ask, tmp_path):
    """Damage is no reason to distrust a device; a full disk is one to stop."""
    ask(Device([0.9]))
    (path,) = (tmp_path / "canary").iterdir()
    for text in ("", "[", "{}", '{"rows": 3}', "[1]"):
        path.write_text(text)
        ask(Device([0.8]))
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot be kept in"):
        ask(Device([0.9]), folder=tmp_path / "file")


def test_other_code_is_not_taken_for_a_broken_device(ask, monkeypatch):
    """Guards a device whose last holder died: what a changed letterbox or session finds there differs, and that is not its fault."""
    ask(Device([0.9, 0.8]))
    monkeypatch.setattr(canary_module, "dependencies", lambda *_: {"sources": "changed"}, raising=False)
    ask(Device([0.7]), run="two", left_by="somebody")
    with pytest.raises(DeviceError, match="no longer computes"):
        ask(Device([0.6]), run="three", left_by="somebody")


def test_another_picture_of_the_same_name_and_size_is_not_taken_for_a_broken_device(ask, tmp_path):
    """A picture that is exchanged for one with as many bytes is another picture."""
    (tmp_path / "a.jpg").write_bytes(b"one")
    ask(Device([0.9, 0.8]))
    (tmp_path / "a.jpg").write_bytes(b"two")
    ask(Device([0.7]), run="two", left_by="somebody")


def test_a_device_that_has_changed_is_asked_nothing_more_in_this_run(ask):
    """Another OM has a canary of its own, and what the device finds now would be taken for what it found."""
    device = Device([0.9], [0.5])
    ask(device)
    with pytest.raises(DeviceError, match="no longer computes"):
        ask(device)
    with pytest.raises(DeviceError, match=r"no NPU is left for this run, .*no longer computes") as caught:
        ask(device, folder=None)
    assert caught.value.found.count("no longer computes what it computed") == 1
    ask(Device([0.9]), run="two")
