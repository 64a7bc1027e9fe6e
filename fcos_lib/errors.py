"""Errors: what can go wrong, in two sentences: what was found, and what to do.

FcosError
├── UsageError          an option, a path or a combination that cannot work
├── DatasetError        the COCO folder, its annotations or a picture
├── CheckpointError     a `.pth` that cannot be trusted or does not fit the contract
├── NotInstalledError   a package of an extra that this step needs
├── ExportError         the ONNX that came out is not the one we promised
├── StoreError          the artifact folder
│   ├── JournalError    the folder of an evaluation's results
│   └── AuditError      a stored result that is not what computing it again gives
├── AtcError            `atc` failed or wrote something else
├── SessionError        a model could not be loaded, or was given or returned a wrong tensor
├── DisagreementError   two devices gave different answers to the same question
├── FeedError           a picture that the machine cannot read; a process for them that cannot start, died, stands still, or lost some
└── DeviceError         no NPU, or it failed: the machine, not the model
"""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator

from fcos_lib.files import printable

LONGEST = 100_000
"""Characters of either part; a list of all broken pictures of COCO is shorter."""
_OF_THE_MACHINE = frozenset({
    errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.ENOBUFS, errno.EROFS, errno.EIO,
    errno.ENODEV, errno.ENXIO, errno.EREMOTEIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.EHOSTDOWN,
})  # fmt: skip
"""Space, files, memory and processes that ran out, disks that fail, and network folders that went away."""
_IN_WORDS = re.compile(
    "fail(ed)? to allocate|(can't|cannot) allocate memory|(not enough|insufficient) memory|bad_alloc|can't start new thread"
    "|pthread_create failed|no space left on device|too many open files|resource temporarily unavailable",
    re.IGNORECASE,
)
"""What onnxruntime, OpenCV, torch and Python's threads say of the same, in exceptions of no class for it."""


class FcosError(Exception):
    """One problem in two parts: what was found, and what to do.

    `found` is one sentence; `advice` may be empty. Names from files are part of both: nothing in them acts on a terminal
    or on what reads a CI job's log.
    """

    def __init__(self, found: str, advice: str = "") -> None:
        found, advice = printable(found, LONGEST), printable(advice, LONGEST)
        super().__init__(f"{found}\n  → {advice}" if advice else found)
        self.found = found
        self.advice = advice


class UsageError(FcosError):
    """An option, a path or a combination of options that cannot work."""


class DatasetError(FcosError):
    """A COCO folder, its annotation file or one of its pictures is missing or broken."""


class CheckpointError(FcosError):
    """A checkpoint is missing, damaged, untrusted or of another architecture."""


class NotInstalledError(FcosError):
    """A package that only some steps need is missing, or does not import."""


class ExportError(FcosError):
    """The exported ONNX does not have the operators, names or shapes that the contract promises."""


class StoreError(FcosError):
    """The artifact folder cannot be used, or an artifact in it is damaged."""


class JournalError(StoreError):
    """An evaluation's journal cannot be written, is damaged, in use, or about something else."""


class AuditError(StoreError):
    """A stored result is not what computing it again gives: it was mixed up, or what its key does not know has changed."""


class AtcError(FcosError):
    """`atc` is missing, failed, or did not write the OM."""


class SessionError(FcosError):
    """A model could not be loaded, or was given or returned a tensor that breaks the contract."""


class DisagreementError(FcosError):
    """Two devices found different things in the same pictures with the same OM: neither can be believed."""


class FeedError(FcosError):
    """The machine cannot read a picture, or a process for them cannot start, died, stands still or lost some: no picture's fault."""


class DeviceError(FcosError):
    """There is no usable NPU, or it failed while running."""


@contextlib.contextmanager
def refusal_as(kind: type[FcosError], what: str, advice: str = "") -> Iterator[None]:
    """What the system refuses in here becomes an error of this kind: `what`, with the system's reason behind it, and the advice."""
    try:
        yield
    except OSError as error:
        raise kind(f"{what} ({error.strerror or error})", advice) from error


def of_the_machine(error: BaseException | None) -> bool:
    """True if the machine ran out of something, or lost a disk: so says the error, or one that it was raised from."""
    seen = set[BaseException]()
    while error is not None and error not in seen:  # one may be raised from itself
        seen.add(error)
        refused = isinstance(error, OSError) and error.errno in _OF_THE_MACHINE
        in_words = isinstance(error, Exception) and not isinstance(error, FcosError) and _IN_WORDS.search(str(error))
        if isinstance(error, MemoryError) or refused or in_words:
            return True
        error = error.__cause__
    return False
