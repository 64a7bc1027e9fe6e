"""With which words does CANN refuse an OM, a batch size, memory or a lost device? Exceptions say little, so the words are the cause."""

from __future__ import annotations

from fcos_lib.emulator.chips import CHIPS
from fcos_lib.emulator.om import OmHeader
from fcos_lib.emulator.scenario import Scenario

_SOC = (
    "EE1001: [PID: 1] The argument is invalid.Reason: ModelCheckCompatibility failed, supported socVersion={chip}, "
    "but the model socVersion={model}\n"
    "        rtModelCheckCompatibility execute failed, reason=[soc version error]\n"
    "        Check model compatibility failed. ret: 0x7BC80"
)
_SOC_OLD = (
    "E19999: Inner Error!\n"
    "        index:0 > stream_list.size(): 0, check invalid[FUNC:SetStream]\n"
    "        Task index:0 init failed, ret:-1\n"
    "        [Model][FromData]load model from data failed, ge result[4294967295]"
)
_OPP = (
    "E19999 The opp version of the model does not match the current opp run package, Model is [6.4.T11.0.B300], "
    "opp run package is [7.0.T3.0.B107], try to convert the om again!"
)
WRONG_BATCH = (
    "[ERROR] the dymBatch parameter is not correct\n"
    "[ERROR] model has dynamic batch size:{{{batches}}}, please set correct dynamic batch size\n"
)
"""For a batch size that is none of the OM's profiles."""
LOST = (
    "EE9999: Inner Error!\n        rtStreamSynchronize execute failed, reason=[lost heartbeat]\n"
    "[ERROR] acl execute failed:507010\n"
)
"""What is printed when the device is gone: the code is that of the heartbeat between host and device."""
NO_MEMORY = (
    "EL0004: Failed to allocate memory.\n        Possible Cause: Available memory is insufficient.\n"
    "[ERROR] acl execute failed:207001\n"
)
"""What is printed when the device has no memory left."""
_OTHER_CHIP = "Ascend910B"


def load_refusal(header: OmHeader, scenario: Scenario) -> str | None:
    """What CANN prints if the scenario's machine refuses this OM; None if it loads."""
    chip = CHIPS[scenario.chip].soc_version
    if scenario.load == "soc_old":
        return _SOC_OLD
    if scenario.load == "opp":
        return _OPP
    if scenario.load == "soc":
        return _SOC.format(chip=chip, model=_OTHER_CHIP)
    if header.soc_version != chip:
        return _SOC.format(chip=chip, model=header.soc_version)
    return None
