"""Messages of an evaluation on a cluster: what its driver and the processes that have devices say to each other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fcos_lib import errors
from fcos_lib.contract import InputLayout, ModelContract
from fcos_lib.errors import FcosError
from fcos_lib.stream.dataset import Picture, unusable
from fcos_lib.stream.journal_shards import Maker
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


def sent(pictures: Iterable[Picture]) -> tuple[Sent, ...]:
    """The pictures with what their files hold; `DatasetError` if one cannot be read."""
    return tuple(Sent(picture.id, picture.name, picture.width, picture.height, _read(picture)) for picture in pictures)


def _read(picture: Picture) -> bytes:
    try:
        return read_file(picture.path)
    except (OSError, ValueError) as error:
        raise unusable(picture, error) from error
