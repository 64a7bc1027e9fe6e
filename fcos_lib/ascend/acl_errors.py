"""Errors of the runtime with their causes: aclruntime raises the same two exceptions for everything, and prints the cause.

Texts are those of CANN 6 to 9 and of the generations of aclruntime, as their sources and users' reports have them. The machine's
causes come first, since a device without memory also says that sizes do not match and a driver that fails that the model cannot be
loaded; within each half the most telling, since generic lines follow it. docs/faults.md has the table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from fcos_lib.errors import DeviceError, FcosError, SessionError

_SOC_PAIR = re.compile(r"supported socVersion=(\w+), but the model socVersion=(\w+)")
_STAMP = re.compile(r"\[PID: ?\d+\] ?\S+ ?|\(null\)")
_PREFIX = re.compile(r"^(?:\[ACL ERROR\] *)?(?:E[A-Z0-9]9999\b:? *)*(?:Inner Error!? *)?")
"""What stands before a cause and says nothing of it: an inner error has the same code whatever it is."""
_QUIET = ("[INFO]", "[DEBUG]", "[EVENT]", "[TRACE]")


class StuckDeviceError(DeviceError):
    """The device failed and will go on failing, for everybody, until it is reset."""


@dataclass(frozen=True, slots=True)
class Cause:
    """One thing that goes wrong below aclruntime."""

    says: tuple[str, ...]
    """What is printed or raised, as people met it; each matches the pattern."""
    pattern: str
    """Regular expression over what was printed and raised, case ignored."""
    sentence: str
    advice: str
    kind: type[FcosError] = SessionError
    """A `DeviceError` if the machine is at fault, not the model."""


_CONTAINER = (
    "check that the driver is loaded and fits this CANN; in a container, pass /dev/davinci*, /dev/davinci_manager, "
    "/dev/devmm_svm and /dev/hisi_hdc, mount /usr/local/Ascend/driver, and run as a member of its group (HwHiAiUser)"
)

CAUSES = (
    Cause(
        ("EL0004: Failed to allocate memory.", "Malloc ptrData failed.", "Memcpy ptrData failed.", "retCode 207001",
         "out of memory", "memory exhausted"),
        r"\bEL0004\b|\b207001\b|m(?:alloc|emcpy) ptrData failed|malloc device memory|memory is insufficient|out of memory"
        r"|memory exhausted",
        "the device has not enough free memory",
        "look at npu-smi info for other processes, or lower the batch size; `atc --mode=6 --om=OM` tells memory_size and "
        "weight_size of the OM",
        kind=DeviceError,
    ),
    Cause(
        ("drvErr=87", "ret is -8020", "the device is used"),
        r"drvErr=87\b|ret is -8020|device is used",
        "the device is in use by another container",
        "stop that container, or pass another device",
        kind=DeviceError,
    ),
    Cause(
        ("aclrtGetDeviceCount failed, ret=207004", "it must be configured in ascending order"),
        r"\b207004\b|configured in ascending order",
        "ASCEND_RT_VISIBLE_DEVICES is not in ascending order",
        "set it to rising logical ids without blanks, such as 0,1,3",
        kind=DeviceError,
    ),
    Cause(
        ("invalid device id", "device id is out of range", "ErrCode=107001, desc=[device id error]", "Set visible device failed"),
        r"\b107001\b|invalid device id|device id error|device id is out of range|set visible device failed",
        "there is no device with this number",
        "pass an index below the number of visible devices: npu-smi info -m calls it Chip Logic ID, and with "
        "ASCEND_RT_VISIBLE_DEVICES it counts from 0 within that list",
        kind=DeviceError,
    ),
    Cause(
        ("device manager init devices failed. ret=507008", "acl init failed"),
        r"init devices failed|acl ?init failed",
        "ACL cannot reach the device's driver",
        _CONTAINER,
        kind=DeviceError,
    ),
    Cause(
        ("acl open device 0 failed", "SetDevice failed.ret=507033", "Failed to open device,retCode=0x7020014"),
        r"open device \d+ failed|SetDevice failed|\b507033\b|0x7020014",
        "the device cannot be opened",
        f"check the device id; {_CONTAINER}",
        kind=DeviceError,
    ),
    Cause(
        ("TsdOpen failed",),
        r"TsdOpen failed",
        "the device's service process did not start",
        "unset ASCEND_AICPU_PATH and try again",
        kind=DeviceError,
    ),
    Cause(
        ("rtStreamSynchronize execute failed, reason=[aicpu exception]", "retCode 507018"),
        r"\b507018\b|ai ?cpu (?:kernel )?(?:exception|execute failed)",
        "a kernel on the AI CPU failed, and the device stays unusable until it is reset",
        "end what runs on it and reset it (npu-smi set -t reset -i NPU -c CHIP), or restart the machine",
        kind=StuckDeviceError,
    ),
    Cause(
        ("rtStreamSynchronize execute failed, reason=[lost heartbeat]", "retCode 507010"),
        r"lost heartbeat|\b507010\b",
        "the device was lost while it computed",
        "look at npu-smi info -t health and at dmesg; a reset or a power cycle may be needed",
        kind=DeviceError,
    ),
    Cause(
        ("Aicore kernel execute failed", "retCode 507011", "retCode 507015"),
        r"Aicore kernel execute failed|\b507011\b|\b507015\b",
        "a kernel failed on the device",
        "lower the batch size; the exception_cb_index_* dumps in the current folder say which kernel",
        kind=DeviceError,
    ),
    Cause(
        ("stream not in current context, 107003", "retCode 107002"),
        r"\b107003\b|\b107002\b|(?:stream|event|context) not in current context",
        "the call ran in another context or thread than the one that loaded the model",
        "do not use torch_npu or a second device in this process",
        kind=DeviceError,
    ),
    Cause(
        ("driver error:internal error", "drvRetCode=4", "retCode 507899"),
        r"driver error:|drvRetCode|\b507899\b",
        "the NPU driver reported an error",
        "look at dmesg and at npu-smi info -t health, and compare the driver's release with the one that this CANN needs",
        kind=DeviceError,
    ),
    Cause(
        ("ACL_ERROR_RT_TASK_TYPE_NOT_SUPPORT",),
        r"TASK_TYPE_NOT_SUPPORT",
        "this virtual NPU cannot run the OM's tasks",
        "use a whole NPU or a larger vNPU template",
        kind=DeviceError,
    ),
    Cause(
        ("The opp version of the model does not match the current opp run package",),
        r"opp version of the model does not match",
        "the OM was compiled with another release of CANN's operators than the one that runs",
        "compile the OM with this machine's CANN",
    ),
    Cause(
        ("Invalid opp version [8.3.T14.0.B101] or compiler_version []",),
        r"Invalid opp version",
        "the OM comes from a newer CANN than the one that runs",
        "compile the OM with this machine's CANN, or update it",
    ),
    Cause(
        ("The os/cpu type of the model does not match the current system",),
        r"os/cpu type of the model does not match",
        "the OM was compiled for another operating system or CPU (a `_linux_<arch>` OM runs only there)",
        "compile it on this platform, or with --host_env_os and --host_env_cpu",
    ),
    Cause(
        ("ModelCheckCompatibility failed, supported socVersion=A, but the model socVersion=B",
         "index:0 > stream_list.size(): 0", "Model soc version[Ascend310] is not support in this device"),
        r"ModelCheckCompatibility|soc version error|Model soc version\[|model compatibility failed"
        r"|parameter \[?-*soc_version|stream_list\.size\(\): 0",
        "the OM was compiled for another chip",
        "compile it for the soc_version that npu-smi tells for this chip (a bare 910B is not an Atlas A2)",
    ),
    Cause(
        ("Invalid om file. The model data size 7", "MODEL_FILE_MAGIC"),
        r"Invalid om file|Invalid model\. |model data size|ModelFileHeader|MODEL_FILE_MAGIC",
        "the file is truncated or no OM",
        "compile it again, and compare its size if it was copied",
    ),
    Cause(
        ("please check model path",),
        r"please check model path",
        "aclruntime refuses the path",
        "it must end with .om, have only letters, digits and ._/- in it, and be neither a link nor writable by the group or others "
        "(chmod 0640)",
    ),
    Cause(
        ("check i:0 name:input in size:576 needsize:1152 not match", "outnames boxes not valid"),
        r"needsize:\d+ not match|outnames \S+ not valid",
        "the tensors do not fit the OM",
        "the OM is of another contract or batch size: compile it again",
    ),
    Cause(
        ("the dymBatch parameter is not correct",),
        r"dymBatch parameter is not correct",
        "the OM has no profile for this batch size",
        "test one of the batch sizes that it lists, or compile it with this one in --dynamic_batch_size",
    ),
    Cause(
        ("the dynamic_batch_size parameter is not specified for model conversion",
         "get input index by name failed, ascend_mbatch_shape_data"),
        r"dynamic_batch_size parameter is not specified|ascend_mbatch_shape_data|not a dymbatch model",
        "the OM was built for one batch size and has no profiles",
        "test it at its own batch size (its input's first axis), or compile another with --dynamic_batch_size",
    ),
)  # fmt: skip


def explain(console: str, error: BaseException) -> Cause | None:
    """The first known cause in what was printed and raised; a log that goes to stdout as well has calls that went well in it."""
    text = "\n".join((*(line for line in console.splitlines() if not line.lstrip().startswith(_QUIET)), str(error)))
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
    if cause:
        return cause.kind(sentence, cause.advice)
    if isinstance(error, OSError | MemoryError):  # ours, not the runtime's
        return DeviceError(sentence, "this machine has run out of something: descriptors (ulimit -n), memory or space")
    return unknown(sentence, unknown_advice)


def _telling_line(console: str, cause: Cause | None) -> str:
    """The first line that names the cause, or without one the first that says anything, without what stands before it."""
    plain = (_PREFIX.sub("", _STAMP.sub("", line).strip()) for line in console.splitlines())
    lines = [line[:300] for line in plain if line and not line.startswith(_QUIET)]
    telling = [line for line in lines if cause and re.search(cause.pattern, line, re.IGNORECASE)]
    return next(iter(telling or lines), "")
