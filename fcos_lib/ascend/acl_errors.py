"""The causes behind the runtime's texts: aclruntime raises the same two exceptions for everything, and prints the cause.

Texts are those of CANN 6 to 9 and of the two generations of aclruntime, as their sources and users' reports have them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fcos_lib.errors import DeviceError, FcosError, SessionError


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that goes wrong below aclruntime."""

    pattern: str
    """Regular expression over what was printed and raised, case ignored."""
    sentence: str
    advice: str
    device: bool = False
    """Whether the machine is at fault, not the model."""


CAUSES = (
    Cause(
        r"opp version of the model does not match",
        "the OM was compiled with another release of CANN's operators than the one that runs",
        "compile the OM with this machine's CANN",
    ),
    Cause(
        r"Invalid opp version",
        "the OM comes from a newer CANN than the one that runs",
        "compile the OM with this machine's CANN, or update it",
    ),
    Cause(
        r"os/cpu type of the model does not match",
        "the OM was compiled for another operating system or CPU (a `_linux_<arch>` OM runs only there)",
        "compile it on this platform, or with --host_env_os and --host_env_cpu",
    ),
    Cause(
        r"ModelCheckCompatibility|soc version error|0x7BC80|\b507008\b|Model soc version\[|model compatibility failed"
        r"|parameter \[?-*soc_version|stream_list\.size\(\): 0",
        "the OM was compiled for another chip",
        "compile it for the soc_version that npu-smi tells for this chip (a bare 910B is not an Atlas A2)",
    ),
    Cause(
        r"Invalid om file|Invalid model\. |model data size|ModelFileHeader|MODEL_FILE_MAGIC",
        "the file is truncated or no OM",
        "compile it again, and compare its size if it was copied",
    ),
    Cause(
        r"TASK_TYPE_NOT_SUPPORT",
        "this virtual NPU cannot run the OM's tasks",
        "use a whole NPU or a larger vNPU template",
        device=True,
    ),
    Cause(
        r"please check model path",
        "aclruntime refuses the path",
        "it must end with .om, have only letters, digits and ._/- in it, and be neither a link nor writable by others",
    ),
    Cause(
        r"needsize:\d+ not match|outnames \S+ not valid",
        "the tensors do not fit the OM",
        "the OM is of another contract or batch size: compile it again",
    ),
    Cause(
        r"device id is out of range",
        "there is no device with this id",
        "pass the device id that npu-smi info -m calls Chip Logic ID",
        device=True,
    ),
    Cause(
        r"\bEL0004\b|\b207001\b|\b507899\b|malloc device memory|memory is insufficient",
        "the device has not enough free memory, or its driver failed",
        "look at npu-smi info for other processes, or lower the batch size",
        device=True,
    ),
    Cause(
        r"drvErr=87\b|ret is -8020|device is used",
        "the device is in use by another container",
        "stop that container, or pass another device",
        device=True,
    ),
    Cause(
        r"TsdOpen failed",
        "the device's service process did not start",
        "unset ASCEND_AICPU_PATH and try again",
        device=True,
    ),
    Cause(
        r"\b107003\b|\b107002\b",
        "the call ran in another context or thread than the one that loaded the model",
        "do not use torch_npu or a second device in this process",
        device=True,
    ),
    Cause(
        r"open device \d+ failed|SetDevice failed|\b507033\b|0x7020014",
        "the device cannot be opened",
        "check the device id, the driver and firmware, and your rights on /dev/davinci* (group HwHiAiUser)",
        device=True,
    ),
    Cause(
        r"dymBatch parameter is not correct",
        "the OM has no profile for this batch size",
        "test one of the batch sizes that it lists, or compile it with this one in --dynamic_batch_size",
    ),
    Cause(
        r"lost heartbeat|\b507010\b",
        "the device was lost while it computed",
        "look at npu-smi info -t health and at dmesg; a reset or a power cycle may be needed",
        device=True,
    ),
    Cause(
        r"Aicore kernel execute failed|\b507011\b|\b507015\b",
        "a kernel failed on the device",
        "lower the batch size; the exception_cb_index_* dumps in the current folder say which kernel",
        device=True,
    ),
)
"""Most telling first: the generic line about the failed load or device follows each of them."""

_SOC_PAIR = re.compile(r"supported socVersion=(\w+), but the model socVersion=(\w+)")
_NOISE = re.compile(r"^\[(?:INFO|DEBUG)\]|^\s*$|E19999: Inner Error!\s*$")
"""Lines that tell no cause; that of E19999 is always the same, and the reason follows it."""


def explain(console: str, error: BaseException) -> Cause | None:
    """The first known cause in what was printed and raised."""
    text = f"{console}\n{error}"
    return next((cause for cause in CAUSES if re.search(cause.pattern, text, re.IGNORECASE)), None)


def import_failure(error: ImportError) -> DeviceError:
    """The error for an aclruntime that cannot be imported, with what this usually means."""
    text = str(error)
    if isinstance(error, ModuleNotFoundError) and error.name == "aclruntime":
        advice = "install the aclruntime wheel whose tag fits this Python and CPU, such as cp310-cp310-linux_aarch64"
    elif "GLIBCXX" in text:
        advice = "an older libstdc++ comes first (conda's): put the system's into LD_LIBRARY_PATH or LD_PRELOAD"
    elif ".so" in text:
        advice = "source set_env.sh of CANN before Python starts, and check that the NPU driver is installed"
    else:
        advice = "install the aclruntime wheel of this CANN release"
    return DeviceError(f"aclruntime cannot be imported ({text})", advice)


def runtime_error(
    doing: str, console: str, error: BaseException, unknown: type[FcosError], unknown_advice: str
) -> FcosError:
    """The error for a call that failed: cause in words, then the exception, then the line that told the cause.

    `unknown` and its advice are for texts that no known cause matches.
    """
    raised = str(error).strip() or type(error).__name__
    cause = explain(console, error)
    chips = _SOC_PAIR.search(console)
    words = f": {cause.sentence}" if cause else ""
    if chips:
        words += f" ({chips[2]}; this one is {chips[1]})"
    quoted = _telling_line(console, cause)
    sentence = f"{doing}{words} ({raised}" + f", after '{quoted}'" * bool(quoted) + ")"
    if cause is None and isinstance(error, OSError | MemoryError):  # ours, not the runtime's
        return DeviceError(sentence, "this machine has run out of something: descriptors (ulimit -n), memory or space")
    if cause is None:
        return unknown(sentence, unknown_advice)
    return (DeviceError if cause.device else SessionError)(sentence, cause.advice)


def _telling_line(console: str, cause: Cause | None) -> str:
    lines = [line.strip()[:300] for line in console.splitlines() if not _NOISE.search(line)]
    if cause:
        telling = [line for line in lines if re.search(cause.pattern, line, re.IGNORECASE)]
        lines = telling or lines
    return lines[0] if lines else ""
