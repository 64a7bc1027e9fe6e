"""Devices of an evaluation on a cluster: what they and its driver say to each other, and which of them are trusted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from fcos_lib import errors
from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.errors import DisagreementError, FcosError
from fcos_lib.stream.dataset import Picture, unusable
from fcos_lib.stream.feed import BUFFERS
from fcos_lib.stream.journal_shards import SHARD_PICTURES, Maker
from fcos_lib.stream.picture_file import read_file


@dataclass(frozen=True, slots=True)
class Sent:
    """A picture on its way to a device: what its file holds, and what it is annotated as."""

    id: int
    name: str
    width: int
    height: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Job:
    """Everything but the OM and the pictures that a device needs to know."""

    contract: ModelContract
    layout: InputLayout
    batch: int
    om_sha256: str
    canary: tuple[Sent, ...]
    software: Mapping[str, str]
    """What this host has: a host with anything else is refused."""
    mixed: bool
    """True if other software is allowed, as far as the chip is the same."""
    stand_in: bool
    run_id: str
    run_time_limit: int
    """Seconds that a call into a device's library may take."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A device that can work."""

    maker: Maker
    canary: str
    """A digest of what it found in the canary's pictures."""
    faults: tuple[str, ...] = ()
    """What had failed on it in this run before, a sentence each."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A device that is not to be used in this run, whatever happens."""

    who: str
    why: str


@dataclass(frozen=True, slots=True)
class Failed:
    """An error on the other side, as its kind and its two sentences; a `DeviceError` is the device's, others the model's."""

    who: str
    kind: str
    found: str
    advice: str

    def error(self) -> FcosError:
        """The error as it was raised there."""
        kind = getattr(errors, self.kind, None)
        raised = kind if isinstance(kind, type) and issubclass(kind, FcosError) else FcosError
        return raised(f"{self.found} (on {self.who})", self.advice)


class Lost(Exception):
    """The process that had a call is gone."""


@dataclass(slots=True)
class Device:
    """What is known of one process and its device."""

    ready: Ready | None = None
    refused: bool = False
    asked: bool = False
    """Whether it is asked for its canary again, or has been."""
    confirmed: bool = False
    out: dict[int, float] = field(default_factory=dict)
    """Since when it has had each shard that it works on."""

    @property
    def name(self) -> str:
        """As notes have it."""
        return str(self.ready.maker) if self.ready else "an NPU that had not answered yet"


def calls_at_once(batch: int) -> int:
    """How many shards a device has at once: what its feed prepares ahead, and the one that it works on."""
    ahead = -(-(BUFFERS - 1) * batch // SHARD_PICTURES)
    return 1 + ahead


def sent(pictures: Iterable[Picture]) -> tuple[Sent, ...]:
    """The pictures with what their files hold; `DatasetError` if one cannot be read."""
    return tuple(Sent(picture.id, picture.name, picture.width, picture.height, _read(picture)) for picture in pictures)


def _read(picture: Picture) -> bytes:
    try:
        return read_file(picture.path)
    except (OSError, ValueError) as error:
        raise unusable(picture, error) from error


class CanaryVotes:
    """What each device found in the canary's pictures when it started, as digests: those are trusted that most agree with."""

    def __init__(self) -> None:
        """Nobody has voted."""
        self._found: dict[Maker, str] = {}

    def add(self, maker: Maker, canary: str) -> list[Maker]:
        """A device votes; those that were trusted until now and are outvoted by it."""
        before = self._trusted
        self._found[maker] = canary
        if before is None or self._trusted == before:
            return []
        return [maker for maker, digest in self._found.items() if digest == before]

    def is_trusted(self, maker: Maker) -> bool:
        """True if no other answer has more votes than this device's."""
        return self._found[maker] == self._trusted

    def outvoted(self) -> Iterator[str]:
        """A sentence for each device that differs from the most; `DisagreementError` if as many say this as that."""
        trusted, counted = self._trusted or "", Counter(self._found.values())
        for maker, canary in self._found.items():
            if canary == trusted:
                continue
            if counted[canary] == counted[trusted]:
                other = next(maker_of_most for maker_of_most, digest in self._found.items() if digest == trusted)
                raise DisagreementError(
                    f"the devices disagree: in the canary's pictures, {other} found {trusted} and {maker} {canary} "
                    "(digests of all detections), and no third device says which is right",
                    "look at npu-smi info -t health and dmesg on both hosts, or run on one of them alone",
                )
            yield f"{maker} is left out: it does not find in the canary's pictures what {counted[trusted]} others find"

    @property
    def _trusted(self) -> str | None:
        """What most found; what the first one found if as many found something else."""
        counted = Counter(self._found.values()).most_common(1)
        return counted[0][0] if counted else None
