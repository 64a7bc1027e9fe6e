"""Canary votes: of devices that find different things in the same pictures, those are trusted that most agree with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from fcos_lib.errors import DisagreementError
from fcos_lib.stream.journal_shards import Maker


class CanaryVotes:
    """What each device found in the canary's pictures when it started, as digests."""

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
