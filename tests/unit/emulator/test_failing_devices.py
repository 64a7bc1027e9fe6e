"""A device of the emulator fails when its scenario says so, in the words of the runtime, and stays as broken as a real one.

That it fails after some executions that went well, and of what: tests/unit/faults/catalogue/devices.py.
"""

import itertools
import re

import numpy as np
import pytest

from fcos_lib.emulator import acl_parts, aclruntime
from fcos_lib.emulator.scenario import current
from tests.unit.emulator.runtime import NAMES, base_tensors, on_host


def test_executions_can_be_made_to_fail(load, pictures, capfd):
    """run=fail fails, run=nan spoils the first rows, run=short loses the last ones."""
    with pytest.raises(RuntimeError) as caught:
        load("run=fail").run(NAMES, base_tensors(pictures))
    assert str(caught.value) == "[-1][ACL: general failure] "
    assert re.search(r"execute model failed, modelId is \d+\n.*acl execute failed:1\n", capfd.readouterr().out)
    labels, dets = on_host(load("run=nan").run(NAMES, base_tensors(pictures)))
    assert np.isnan(dets[:, 0]).all()
    assert not np.isnan(dets[:, 1:]).any()
    labels, dets = on_host(load("run=short").run(NAMES, base_tensors(pictures)))
    assert (labels.shape, dets.shape) == ((2, 9), (2, 9, 5))


def test_a_lost_device_stays_away(load, pictures, monkeypatch):
    """Nothing loads any more, and npu-smi, a child of the process, has no card to show."""
    monkeypatch.setattr(acl_parts, "_executions", itertools.count())
    session = load("run=lost")
    with pytest.raises(RuntimeError):
        session.run(NAMES, base_tensors(pictures))
    assert current().npu_smi == "none"
    with pytest.raises(RuntimeError, match="invalid parameter"):
        aclruntime.InferenceSession(session._path, 0, aclruntime.session_options())


def test_a_device_may_compute_wrongly_for_once_or_later(load, pictures, monkeypatch):
    """One failure and no other; all boxes shifted; infinite rows."""
    monkeypatch.setattr(acl_parts, "_executions", itertools.count())
    session = load("run=fail_once")
    with pytest.raises(RuntimeError):
        session.run(NAMES, base_tensors(pictures))
    right = on_host(session.run(NAMES, base_tensors(pictures)))[1]
    wrong = on_host(load("run=wrong:1").run(NAMES, base_tensors(pictures)))[1]
    used = right[..., 4] > 0
    np.testing.assert_array_equal(wrong[used][:, 0], right[used][:, 0] + 8)
    np.testing.assert_array_equal(wrong[used][:, 1::2], right[used][:, 1::2])
    assert np.isinf(on_host(load("run=inf").run(NAMES, base_tensors(pictures)))[1][:, 0]).all()
