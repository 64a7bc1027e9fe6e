"""Faults of a device, and those that only look like one."""

from __future__ import annotations

import os
from functools import partial

from tests.unit.faults.fault import Fault
from tests.unit.faults.stage import GATE, Said, Stage

HOLD = """
from types import SimpleNamespace
from fcos_lib.device.lease import lease
npus = [SimpleNamespace(device_id=number, logical_id=number) for number in (0, 1)]
"""
SESSION = """
from fcos_lib.ascend.om_session import OmSession
from fcos_lib.contract import SHAPES
from fcos_lib.device.npus import use_emulator
use_emulator(artifacts / "emulator")
(om,) = (artifacts / "om").glob("*/model.om")
"""


SAYS = """
import numpy as np
from fcos_lib.emulator import acl_errors
acl_errors.load_refusal = lambda header, scenario, real=acl_errors.load_refusal: LOADING or real(header, scenario)
acl_errors.FAILED_RUN["fail"] = RUNNING
judged(lambda: OmSession(om, SHAPES, 2).run(np.zeros(SHAPES.input_shape(2), np.float32)))
"""


def _scenario(stage: Stage, scenario: str, options: tuple[str, ...] = ()) -> Said:
    return stage.suite(*GATE, *options, scenario=scenario)


def _in_use(stage: Stage) -> Said:
    others = [
        stage.begin(HOLD + "with lease(npus, artifacts / 'locks'):\n    print('held', flush=True)\n    time.sleep(60)")
        for _ in range(2)
    ]
    for other in others:
        other.until(lambda other=other: "held" in other.output)
    said = stage.program(
        HOLD + "def wait():\n    with lease(npus, artifacts / 'locks', timeout_s=0.5): pass\njudged(wait)"
    )
    for other in others:
        other.kill()
        other.ended()
    return said


def _left_behind(stage: Stage) -> Said:
    run = stage.start(*GATE, scenario="run=hang")
    run.until(lambda: stage.holder() == run.pid and stage.process("emulator.processor"))
    run.kill()
    run.ended()
    return stage.suite()


def _ended_processor(stage: Stage) -> Said:
    run = stage.start(*GATE, scenario="run=hang:1")
    processor = run.until(lambda: stage.process("emulator.processor"))
    run.until(lambda: list((stage.artifacts / "canary").glob("[!.]*")))
    os.kill(processor, 9)
    return run.ended()


def _worker_hangs(stage: Stage) -> Said:
    return stage.suite(*GATE, "-n", "1", "--run-time-limit", "2", scenario="run=hang:1")


def _other_batch(stage: Stage) -> Said:
    return stage.program(SESSION + "judged(lambda: OmSession(om, SHAPES, 4))")


def _wrong_bytes(stage: Stage) -> Said:
    feed = (
        "import numpy as np\nfrom fcos_lib.ascend import om_session\n"
        "om_session.check_input = lambda *_: None\n"
        "session = OmSession(om, SHAPES, 2)\n"
        "judged(lambda: session.run(np.zeros((1, 3, 8, 8), np.float32)))"
    )
    return stage.program(SESSION + feed)


def _says(stage: Stage, loading: str = "", running: str = "") -> Said:
    """The runtime fails with a text of CANN while it loads the OM, or runs it."""
    text = SAYS.replace("LOADING", repr(loading)).replace("RUNNING", repr(f"{running}\n"))
    return stage.program(SESSION + text, scenario="run=fail")


def _all_given_up(stage: Stage) -> Said:
    return stage.suite("contract or consistency", "-k", "batch2", scenario="run=fail,cards=1")


def _said_once(stage: Stage, said: Said) -> None:
    messages = [entry["message"] for entry in said.document["unjudged"]]
    first = next(index for index, message in enumerate(messages) if "no NPU is left" in message)
    assert first + 1 < len(messages), f"no gate came after the one that found no NPU: {messages}"
    pointer = f"see the first: {said.document['unjudged'][first]['test']}"
    assert set(messages[first + 1 :]) == {pointer}, messages


def _unfinished(stage: Stage, said: Said) -> None:
    assert said.document["run"]["exit_status"] == 8
    assert "did not end" in said.document["unjudged"][-1]["message"]


def _told(stage: Stage, said: Said) -> None:
    """The end of the run and its `results.json` have the exit status and its word."""
    assert "could not judge; the cause is below" in said.output, said.output
    assert said.document["run"]["exit_status"] == said.status
    assert said.document["unjudged"][0]["outcome"] == {1: "FAIL", 8: "INFRA"}[said.status], said.document["unjudged"]


def _kept_by_the_controller(stage: Stage, said: Said) -> None:
    """A gate that a dead worker had begun is INFRA in `results.json`, with the reason."""
    assert said.document["run"]["exit_status"] == 8
    (entry,) = said.document["unjudged"]
    assert entry["outcome"] == "INFRA", entry
    assert "has not returned for 2 s" in entry["message"], entry


def _masked(stage: Stage) -> Said:
    return stage.suite(environment={"ASCEND_RT_VISIBLE_DEVICES": "1"})


def _locked_second(stage: Stage, said: Said) -> None:
    assert [path.name for path in (stage.artifacts / "locks").glob("npu-*.lock")] == ["npu-1.lock"]
    device = said.document["environment"]["device"]
    assert (device["device_id"], device["logical_id"], device["npu_id"]) == (0, 1, 1), device


def _quarantined(stage: Stage, said: Said) -> None:
    lock = stage.artifacts / "locks" / "npu-0.lock"
    later = stage.suite(scenario="cards=1")
    assert later.status == 8, later.output
    assert f"then delete {lock}" in later.output, later.output
    lock.unlink()


def _trusted(stage: Stage, said: Said) -> None:
    assert (stage.artifacts / "locks" / "npu-0.lock").read_bytes() == b""


def _said(name: str, what: str, text: str, *says: str, loading: bool = False, status: int = 8) -> Fault:
    told = {"loading" if loading else "running": text}
    return Fault(f"says_{name}", what, status, (*says, text), partial(_says, **told))


def _fault(name: str, what: str, scenario: str, *says: str, status: int = 8, **how: object) -> Fault:
    options = how.pop("options", ())
    return Fault(name, what, status, says, partial(_scenario, scenario=scenario, options=options), **how)  # type: ignore[arg-type]


FAULTS = (
    _fault("load_other_chip", "the OM is refused as built for another chip (CANN 8)", "load=soc",
           "the OM was compiled for another chip", status=1),
    _fault("load_other_chip_6", "the same in the words of CANN 6", "load=soc_old",
           "the OM was compiled for another chip", status=1),
    _fault("load_other_operators", "the OM is refused as built with other operators", "load=opp",
           "the OM was compiled with another release of CANN's operators", status=1),
    _fault("old_generation", "aclruntime is that of 2023", "generation=old", "artifacts: 0 built, 2 reused", status=0),
    _fault("run_fails", "every execution fails", "run=fail", "failed on device 0 (NPU 0 chip 0) at batch size 2", again="green",
           check=_told),
    _fault("run_fails_once", "the first execution fails, and no other", "run=fail_once",
           "failed on device 0 (NPU 0 chip 0) at batch size 2", again="green"),
    _fault("run_fails_later", "executions fail after some that went well", "run=fail:1",
           "failed on device 0 (NPU 0 chip 0) at batch size 2", again="green"),
    Fault("device_given_up", "a device fails twice in a run, and there is no other", 8,
          ("no NPU is left for this run, each has failed 2 times, computes otherwise than before or needs a reset (device 0 (NPU 0 chip 0): model.om failed",), _all_given_up, again="green",
          after="the gates that follow point to the first that said it, and do not touch it", check=_said_once),
    _fault("device_vanishes", "the device loses its heartbeat while it computes", "run=lost:1",
           "the device was lost while it computed", "lost heartbeat", again="green"),
    _fault("device_stuck", "a kernel on the AI CPU fails, after which only a reset helps", "run=aicpu,cards=1",
           "the device stays unusable until it is reset", again="green",
           after="the next run does not touch it either, until its lock file is deleted", check=_quarantined),
    _fault("device_out_of_memory", "the device has no memory left", "run=oom:1",
           "the device has not enough free memory", "EL0004", again="green"),
    _fault("device_computes_wrongly", "the device begins to find other boxes than before", "run=wrong:1",
           "device 0 (NPU 0 chip 0) no longer computes what it computed", "20 of them are not found any more", again="green"),
    _fault("device_turns_to_inf", "the device begins to return infinite values", "run=inf:1",
           "device 0 (NPU 0 chip 0) no longer computes what it computed", again="green"),
    _fault("nan", "the model returns NaN from the first execution on", "run=nan",
           "NaN or infinite values", status=1, check=_told),
    _fault("inf", "the same with infinite values", "run=inf", "NaN or infinite values", status=1),
    _fault("short_output", "every output lacks its last row", "run=short", "is int64[2, 99], expected int64[2, 100]", status=1),
    _fault("run_hangs", "an execution never ends, and holds the GIL", "run=hang:1",
           "INFRA: a run of model.om on device 0 (NPU 0 chip 0) has not returned for 2 s", options=("--run-time-limit", "2"), again="green",
           after="`results.json` has what was judged by then, and INFRA for the rest",
           check=_unfinished),
    Fault("worker_hangs", "the same in a worker of `-n`", 8,
          ("a run of model.om on device 0 (NPU 0 chip 0) has not returned for 2 s", "crashed while running"), _worker_hangs, again="green",
          check=_kept_by_the_controller),
    Fault("device_process_killed", "the process that plays the device is killed while it computes", 8,
          ("the device was lost while it computed",), _ended_processor, again="green"),
    Fault("second_device_visible", "only the second of two devices is visible, which then is number 0", 0, (), _masked,
          after="the second device was locked", check=_locked_second),
    Fault("devices_in_use", "others hold all devices", 8, ("no NPU became free within 0.5 s: device 0 by process",), _in_use),
    Fault("device_left_behind", "a process that held the device was killed (-9)", 0,
          ("device 0 (NPU 0 chip 0) was not given back by process",), _left_behind, after="the mark is gone once a canary was fine",
          check=_trusted),
    Fault("om_of_another_batch_size", "an OM for batch size 2 is taken for one of 4", 1, ("has the input 'input' float32[2, 3, 256, 427]",), _other_batch),
    _fault("out_of_memory_2023", "the same with the aclruntime of 2023, which then says that sizes do not match",
           "run=oom:1,generation=old", "the device has not enough free memory", "Malloc ptrData failed", again="green"),
    _said("init", "ACL finds no driver behind its devices (507008)", "device manager init devices failed. ret=507008",
          "ACL cannot reach the device's driver", "/dev/davinci_manager", loading=True),
    _said("driver", "the driver fails while the OM is loaded", "driver error:internal error, drvRetCode=4",
          "the NPU driver reported an error", loading=True),
    _said("driver_507899", "the driver fails while the OM runs", "rtStreamSynchronize failed, retCode=507899",
          "the NPU driver reported an error"),
    _said("107001", "the device's number is beyond ASCEND_RT_VISIBLE_DEVICES", "rtSetDevice:ErrCode=107001, desc=[device id error]",
          "there is no device with this number", "ASCEND_RT_VISIBLE_DEVICES", loading=True),
    _said("107003", "another library has changed the context", "stream not in current context, retCode=107003",
          "the call ran in another context or thread", "torch_npu"),
    _said("207001", "no memory for the OM itself", "aclrtMalloc failed, retCode=207001", "not enough free memory", "weight_size",
          loading=True),
    _said("207004", "ASCEND_RT_VISIBLE_DEVICES is not in ascending order", "it must be configured in ascending order, ret=207004",
          "ASCEND_RT_VISIBLE_DEVICES is not in ascending order", loading=True),
    _said("507011", "a kernel on the AI core fails", "Aicore kernel execute failed, retCode=507011", "a kernel failed on the device"),
    _said("507018", "a kernel on the AI CPU fails", "execute failed, reason=[aicpu exception], retCode=507018",
          "the device stays unusable until it is reset", "npu-smi set -t reset"),
    _said("fixed_batch", "a batch size is asked of an OM that was built for one",
          "the dynamic_batch_size parameter is not specified for model conversion", "has no profiles", loading=True, status=1),
    Fault("wrong_byte_count", "the runtime is given fewer bytes than the OM takes", 1, ("the tensors do not fit the OM",),
          _wrong_bytes),
)  # fmt: skip
