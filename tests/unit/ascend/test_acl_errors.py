"""A failure of the runtime comes with its cause, as an error of the model or of the machine."""

import sys

import pytest

from fcos_lib.ascend.acl_errors import CAUSES, StuckDeviceError, explain
from fcos_lib.ascend.om_session import OmSession
from fcos_lib.errors import DeviceError, SessionError

BATCH = 2


def test_a_log_of_what_went_well_is_no_cause():
    """With ASCEND_SLOG_PRINT_TO_STDOUT CANN's own log stands between the lines, and its codes of success would be found first."""
    log = "[INFO] RUNTIME(7,python):2025-03-18-09:02:18.501.341 [api.cc:1]7 drvRetCode=0, device id error count 0\n[EVENT] open device 0 failed 0 times\n"
    cause = explain(f"{log}[ERROR] Invalid om file.\n{LOAD_FAILED}", RuntimeError("[1][ACL: invalid parameter] "))
    assert cause == next(each for each in CAUSES if "Invalid om file" in each.pattern)


LOAD_FAILED = (
    "[ERROR] load model from file failed, model file is {om}\n"
    "[WARN] Check failed:processModel->LoadModelFromFile(modelPath), ret:1\n"
)
SAID = [(text, cause) for cause in CAUSES for text in cause.says]


@pytest.mark.parametrize(("text", "cause"), SAID, ids=[text for text, _ in SAID])
def test_every_text_has_its_cause(text, cause):
    """Alone, and in front of the lines about the failed load, which are those of every failure."""
    assert explain(f"[ERROR] {text}\n{LOAD_FAILED}", RuntimeError("[1][ACL: invalid parameter] ")) is cause


@pytest.mark.parametrize(
    ("text", "error", "cause", "quoted"),
    [
        (
            "E19999: Inner Error!\n  index:0 > stream_list.size(): 0, check invalid[FUNC:SetStream]\n",
            SessionError, "compiled for another chip", "index:0 > stream_list.size()",
        ),
        (
            "[ACL ERROR] EE1001: [PID: 7] 2026-01-02-03:04:05.678.901 The argument is invalid.Reason: "
            "ModelCheckCompatibility failed, supported socVersion=Ascend910B2, but the model socVersion=Ascend910B\n"
            "        Check model compatibility failed. ret: 0x7BC80\n",
            SessionError, r"another chip \(Ascend910B; this one is Ascend910B2\)",
            "EE1001: The argument is invalid.Reason: ModelCheckCompatibility",
        ),
        (
            "[ERROR] device manager init devices failed. ret=507008\n",
            DeviceError, "ACL cannot reach the device's driver", "[ERROR] device manager init devices failed",
        ),
        (
            "EZ9999: Inner Error!\nEZ9999: [PID: 42] 2026-01-02-03:04:05.678.901 (null) driver error:out of range\n",
            DeviceError, "the NPU driver reported an error", "driver error:out of range",
        ),
        (
            "[ERROR] Malloc ptrData failed.\n[ERROR] Memcpy ptrData failed.\n"
            "[ERROR] Check i:0 name:input in size:2 needsize:5246976 not match\n",
            DeviceError, "not enough free memory", "[ERROR] Malloc ptrData failed.",
        ),
        ("EZ9999: Inner Error! Aicore kernel execute failed\n", DeviceError, "a kernel failed", "Aicore kernel"),
        ("rtSetDevice:ErrCode=107001, desc=[device id error]\n", DeviceError, "no device with this number", "rtSetDevice"),
    ],
    ids=["chip 6", "chip 8", "init", "driver", "memory 2023", "aicore", "device"],
)  # fmt: skip
def test_the_cause_of_a_failed_load_is_quoted(new_fake, om, contract, text, error, cause, quoted):
    """aclruntime raises the same exception for all of these; the cause is only printed, behind codes that say nothing."""
    new_fake.load_error = text + LOAD_FAILED.format(om=om)
    with pytest.raises(error, match=cause) as caught:
        OmSession(om, contract, BATCH)
    assert type(caught.value) is error
    assert f"([1][ACL: invalid parameter], after '{quoted}" in caught.value.found
    assert caught.value.advice


@pytest.mark.parametrize(
    ("cause", "advice"),
    [
        ("ACL cannot reach", "/dev/davinci_manager"),
        ("cannot be opened", "HwHiAiUser"),
        ("not enough free memory", "other processes"),
        ("another container", "another device"),
        ("service process", "ASCEND_AICPU_PATH"),
        ("AI CPU", "npu-smi set -t reset"),
        ("another chip", "910B"),
        ("another release of CANN's operators", "this machine's CANN"),
        ("newer CANN", "update"),
        ("refuses the path", "0640"),
        ("has no profiles", "--dynamic_batch_size"),
        ("no device with this number", "ASCEND_RT_VISIBLE_DEVICES"),
    ],
)
def test_a_cause_comes_with_what_to_do(cause, advice):
    """In words that can be typed or looked for."""
    (known,) = [known for known in CAUSES if cause in known.sentence]
    assert advice in known.advice


def test_an_unknown_load_failure_still_quotes_what_was_printed(new_fake, om, contract):
    """Without a known cause the first line that tells something is shown."""
    new_fake.load_error = "E19999: Inner Error!\nE19999: (null)\nEZ1234: something new\n" + LOAD_FAILED.format(om=om)
    with pytest.raises(SessionError, match="after 'EZ1234: something new'") as caught:
        OmSession(om, contract, BATCH)
    assert "plog" in caught.value.advice


@pytest.mark.parametrize(
    ("text", "cause", "kind"),
    [
        ("EZ9999: Inner Error! Aicore kernel execute failed\n", "a kernel failed", DeviceError),
        ("rtStreamSynchronize execute failed, reason=[lost heartbeat]\n", "the device was lost", DeviceError),
        ("rtStreamSynchronize execute failed, reason=[aicpu exception]\n", "unusable until", StuckDeviceError),
    ],
    ids=["kernel", "lost", "stuck"],
)
def test_a_failed_execution_is_a_device_error(fake, om, contract, batch, text, cause, kind):
    """The printed cause is quoted, and the session can still be closed; compiling again would not help."""
    fake.run_error = text + "[ERROR] execute model failed, modelId is 1\n[ERROR] acl execute failed:1\n"
    with OmSession(om, contract, BATCH) as session, pytest.raises(kind, match=cause) as caught:
        session.run(batch)
    assert type(caught.value) is kind
    assert "[-1][ACL: general failure]" in caught.value.found
    assert "batch size 2" in caught.value.found


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
