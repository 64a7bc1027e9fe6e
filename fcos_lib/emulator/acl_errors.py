"""What `aclruntime` prints and raises when something fails.

Its exceptions say little, so what is printed before them is the cause; the words are CANN's.
"""

from __future__ import annotations

import os

from fcos_lib.emulator.om import OmHeader
from fcos_lib.emulator.scenario import Run, Scenario

LOST = "EE9999: Inner Error!\n        rtStreamSynchronize execute failed, reason=[lost heartbeat]\n"
"""What CANN says when the device is gone."""
FAILED_RUN: dict[Run, str] = {
    "fail": "",
    "fail_once": "",
    "lost": LOST,
    "aicpu": LOST.replace("lost heartbeat", "aicpu exception"),
    "oom": "EL0004: Failed to allocate memory.\n        Possible Cause: Available memory is insufficient.\n",
}
"""What CANN says of an execution that such a fault ends; the module itself names no code of ACL."""
OLD_MEMORY = (
    "[ERROR] Malloc ptrData failed.\n[ERROR] Memcpy ptrData failed.\n"
    "[ERROR] Check i:0 name:{name} in size:2 needsize:{needed} not match\n[ERROR] check input vector failed ret:-1\n"
)
"""What the generation of 2023 says without memory for an input."""
WRONG_BATCH = (
    "[ERROR] the dymBatch parameter is not correct\n"
    "[ERROR] model has dynamic batch size:{{{batches}}}, please set correct dynamic batch size\n"
)
"""For a batch size that is none of the OM's profiles."""
_OTHER_CHIP = (
    "EE1001: [PID: 1] The argument is invalid.Reason: ModelCheckCompatibility failed, supported socVersion={chip}, "
    "but the model socVersion={model}\n"
    "        rtModelCheckCompatibility execute failed, reason=[soc version error]\n"
    "        Check model compatibility failed. ret: 0x7BC80"
)
_OTHER_CHIP_OLD = (
    "E19999: Inner Error!\n"
    "        index:0 > stream_list.size(): 0, check invalid[FUNC:SetStream]\n"
    "        Task index:0 init failed, ret:-1\n"
    "        [Model][FromData]load model from data failed, ge result[4294967295]"
)
_OTHER_OPERATORS = (
    "E19999 The opp version of the model does not match the current opp run package, Model is [6.4.T11.0.B300], "
    "opp run package is [7.0.T3.0.B107], try to convert the om again!"
)


def load_refusal(header: OmHeader, scenario: Scenario) -> str | None:
    """What CANN prints if the scenario's machine refuses this OM; None if it loads."""
    chip = scenario.server.soc_version
    if scenario.npu_smi == "none":
        return LOST.rstrip("\n")
    if scenario.load == "soc_old":
        return _OTHER_CHIP_OLD
    if scenario.load == "opp":
        return _OTHER_OPERATORS
    model = "Ascend910B" if scenario.load == "soc" else header.soc_version
    return None if model == chip else _OTHER_CHIP.format(chip=chip, model=model)


def say(text: str) -> None:
    """Print on file descriptor 1, past `sys.stdout`."""
    os.write(1, text.encode())


def failure(text: str) -> RuntimeError:
    """The exception of everything that fails after loading; `text` is printed before it."""
    say(text)
    return RuntimeError("[-1][ACL: general failure] ")


def load_failure(said: str, path: str) -> RuntimeError:
    """The exception of every OM that cannot be loaded; `said` is CANN's own text."""
    say(
        f"{said}\n[ERROR] load model from file failed, model file is {path}\n"
        "[WARN] Check failed:processModel->LoadModelFromFile(modelPath), ret:1\n"
        "[WARN] no model had been loaded, unload failed\n"
    )
    return RuntimeError("[1][ACL: invalid parameter] ")
