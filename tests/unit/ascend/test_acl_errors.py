"""A failure of the runtime comes with its cause, as an error of the model or of the machine."""

import sys

import pytest

from fcos_lib.ascend.om_session import OmSession
from fcos_lib.errors import DeviceError, SessionError

BATCH = 2


LOAD_FAILED = (
    "[ERROR] load model from file failed, model file is {om}\n"
    "[WARN] Check failed:processModel->LoadModelFromFile(modelPath), ret:1\n"
)


@pytest.mark.parametrize(
    ("text", "error", "cause", "advice"),
    [
        (
            "E19999: Inner Error!\n  index:0 > stream_list.size(): 0, check invalid[FUNC:SetStream]\n",
            SessionError,
            "compiled for another chip",
            "soc_version",
        ),
        (
            "[ACL ERROR] EE1001: The argument is invalid.Reason: ModelCheckCompatibility failed, supported "
            "socVersion=Ascend910B2, but the model socVersion=Ascend910B\n",
            SessionError,
            r"another chip \(Ascend910B; this one is Ascend910B2\)",
            "910B",
        ),
        ("Model soc version[Ascend310] is not support in this device\n", SessionError, "another chip", "soc_version"),
        (
            "E19999 The opp version of the model does not match the current opp run package, Model is [6.4], opp run "
            "package is [7.0], try to convert the om again!\n",
            SessionError,
            "another release of CANN's operators",
            "this machine's CANN",
        ),
        ("E19999: Invalid opp version [8.3] or compiler_version []\n", SessionError, "newer CANN", "update"),
        ("The os/cpu type of the model does not match the current system\n", SessionError, "another operating", "host"),
        (
            "E10001: Value for parameter om. Reason: Invalid om file. The model data size 7\n",
            SessionError,
            "truncated",
            "",
        ),
        ("please check model path\n", SessionError, "refuses the path", "writable by others"),
        ("[ERROR] acl open device 0 failed\n", DeviceError, "cannot be opened", "HwHiAiUser"),
        ("EL0004: Failed to allocate memory.\n", DeviceError, "not enough free memory", "other processes"),
        ("drvErr=87 device busy\n", DeviceError, "another container", "another device"),
        ("TsdOpen failed, devId=0\n", DeviceError, "service process", "ASCEND_AICPU_PATH"),
    ],
)
def test_the_cause_of_a_failed_load_is_quoted(new_fake, om, contract, text, error, cause, advice):
    """aclruntime raises the same exception for all of these; the cause is only printed."""
    new_fake.load_error = text + LOAD_FAILED.format(om=om)
    with pytest.raises(error, match=cause) as caught:
        OmSession(om, contract, BATCH)
    assert type(caught.value) is error
    assert "[1][ACL: invalid parameter]" in caught.value.found
    assert f"after '{text.splitlines()[-1].strip()}" in caught.value.found
    assert advice in caught.value.advice


def test_an_unknown_load_failure_still_quotes_what_was_printed(new_fake, om, contract):
    """Without a known cause the first line that tells something is shown."""
    new_fake.load_error = "E19999: Inner Error!\nEZ1234: something new\n" + LOAD_FAILED.format(om=om)
    with pytest.raises(SessionError, match="after 'EZ1234: something new'") as caught:
        OmSession(om, contract, BATCH)
    assert "plog" in caught.value.advice


def test_a_failed_execution_is_a_device_error(fake, om, contract, batch):
    """The printed cause is quoted, and the session can still be closed."""
    fake.run_error = "EZ9999: Inner Error! Aicore kernel execute failed\nacl execute failed:1\n"
    with OmSession(om, contract, BATCH) as session, pytest.raises(DeviceError, match="a kernel failed") as caught:
        session.run(batch)
    assert "[-1][ACL: general failure]" in caught.value.found
    assert "batch size 2" in caught.value.found
    assert "lower the batch size" in caught.value.advice


def test_a_lost_device_is_a_device_error(fake, om, contract, batch):
    """Compiling again would not help."""
    fake.run_error = "rtStreamSynchronize execute failed, reason=[lost heartbeat]\n[ERROR] acl execute failed:507010\n"
    with OmSession(om, contract, BATCH) as session, pytest.raises(DeviceError, match="the device was lost") as caught:
        session.run(batch)
    assert "npu-smi" in caught.value.advice


def test_a_size_that_the_runtime_refuses_is_no_device_error(new_fake, om, contract, batch):
    """Then the model is at fault, not the machine."""
    new_fake.run_error = "[ERROR] check i:0 name:input in size:576 needsize:1152 not match\n"
    with OmSession(om, contract, BATCH) as session, pytest.raises(SessionError, match="do not fit the OM"):
        session.run(batch)


@pytest.mark.parametrize("device_id", [-1, 256])
def test_an_impossible_device_id_is_refused(new_fake, om, contract, device_id):
    """Before the runtime sees it."""
    with pytest.raises(DeviceError, match=f"device id {device_id} is out of range"):
        OmSession(om, contract, BATCH, device_id)


def test_a_missing_om_is_told_without_the_runtime(contract, tmp_path, monkeypatch):
    """No import, no device."""
    monkeypatch.setitem(sys.modules, "aclruntime", None)
    with pytest.raises(SessionError, match="there is no OM at"):
        OmSession(tmp_path / "model.om", contract, BATCH)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("raise ModuleNotFoundError(\"No module named 'aclruntime'\", name='aclruntime')", "cp310-cp310-linux_aarch64"),
        ("raise ImportError('libascendcl.so: cannot open shared object file')", "set_env.sh"),
        ('raise ImportError("version `GLIBCXX_3.4.29\' not found")', "libstdc++"),
        ("raise ImportError('dynamic module does not define module export function')", "wheel of this CANN"),
    ],
    ids=["absent", "no-set-env", "libstdc++", "other"],
)
def test_an_aclruntime_that_cannot_be_imported_is_explained(om, contract, tmp_path, monkeypatch, error, advice):
    """Each import error that practitioners meet has another remedy."""
    (tmp_path / "aclruntime.py").write_text(f"{error}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "aclruntime", raising=False)
    with pytest.raises(DeviceError, match="aclruntime cannot be imported") as caught:
        OmSession(om, contract, BATCH)
    assert advice in caught.value.advice
