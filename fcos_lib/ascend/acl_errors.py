"""Errors of the runtime with their causes: aclruntime raises the same two exceptions for everything, and prints the cause."""

from __future__ import annotations

import re

from fcos_lib.ascend.causes import CAUSES, Cause
from fcos_lib.errors import DeviceError, FcosError, SessionError

_SOC_PAIR = re.compile(r"supported socVersion=(\w+), but the model socVersion=(\w+)")
_STAMP = re.compile(r"\[PID: ?\d+\] ?\S+ ?|\(null\)")
_PREFIX = re.compile(r"^(?:\[ACL ERROR\] *)?(?:E[A-Z0-9]9999\b:? *)*(?:Inner Error!? *)?")
"""What stands before a cause and says nothing of it: an inner error has the same code whatever it is."""
_CHATTER = ("[INFO]", "[DEBUG]")


class StuckDeviceError(DeviceError):
    """The device failed and will go on failing, for everybody, until it is reset."""


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
    kind = StuckDeviceError if cause.stuck else DeviceError if cause.device else SessionError
    return kind(sentence, cause.advice)


def _telling_line(console: str, cause: Cause | None) -> str:
    """The first line that names the cause, or without one the first that says anything, without what stands before it."""
    plain = (_PREFIX.sub("", _STAMP.sub("", line).strip()) for line in console.splitlines())
    lines = [line[:300] for line in plain if line and not line.startswith(_CHATTER)]
    if cause:
        telling = [line for line in lines if re.search(cause.pattern, line, re.IGNORECASE)]
        lines = telling or lines
    return lines[0] if lines else ""
