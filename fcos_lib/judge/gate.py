"""What the catalogue of gates is made of: a gate, what it is measured on, and what its limit depends on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

PROMISES = ("contract", "cost", "consistency", "accuracy", "throughput")
AT_LEAST, AT_MOST = "at least", "at most"


class On(str, Enum):
    """The subject of a gate."""

    INPUTS = "inputs"
    """What the network is given, whichever side it is."""
    REFERENCE = "reference"
    EACH_BATCH = "each batch size"
    SMALLEST_BATCH = "smallest batch size"
    RUN = "all"
    """The run as a whole."""


class Data(str, Enum):
    """What a gate is measured on."""

    SAMPLE = "up to 64 pictures, spread over those under test"
    PAIRED = "the pictures that both sides see"
    WHOLE = "the whole dataset"
    FEW = "up to 8 pictures of the sample"
    ONE = "one picture"
    TIMED = "timed rounds on the sample"
    FILES = "the OM and atc's reports"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a run's limits depend on besides the gate."""

    contract: str
    chip: str = ""
    batch: int = 0
    aipp: bool = False
    like: str = ""
    """The contract whose limits judge what has none under this one's name; empty: none."""


@dataclass(frozen=True, slots=True)
class Gate:
    """One number and how it is held to account."""

    key: str
    """Its name in measurements, `results.json` and JUnit files."""
    promise: str
    """One of `PROMISES`."""
    name: str
    """What people read; a measurement may say more behind it."""
    unit: str
    direction: str
    """`AT_LEAST`, `AT_MOST`, or empty for a number that is only recorded."""
    on: On
    data: Data
    test: str
    """The acceptance test that judges it: `test_file.py::test_name`."""
    limit: str = ""
    """Its limit's name in limits.toml, with `{contract}`, `{chip}` and `{batch}` where it depends on them. Empty for a number
    that is only recorded, and for one whose bound follows from the run's own baseline or options."""
    aipp_limit: str = ""
    """The same with --aipp, where the differently rounded input needs another bound; empty: `limit`."""
    unless: str = ""
    """When it does not apply, in words; empty: it always does. A run that says so is not missing this gate."""
    only_for: tuple[str, ...] = ()
    """Contracts that have its limit, for all others it is only recorded; empty: all."""
    not_for: tuple[str, ...] = ()
    """Contracts that do not."""
    instrument: str = ""
    """For a gate of the suite's own instruments, what a broken limit means in words: the verdict is NO VERDICT, never FAIL."""

    @property
    def recorded(self) -> bool:
        """True if no limit is meant to judge it."""
        return not self.direction

    @property
    def derived(self) -> bool:
        """True if its bound follows from the run's own baseline or options."""
        return bool(self.direction) and not self.limit

    def limits(self, contract: str) -> bool:
        """True if limits.toml has a limit of it for this contract."""
        return bool(self.limit) and contract not in self.not_for and (not self.only_for or contract in self.only_for)

    def limit_name(self, scope: Scope) -> str:
        """The name of its limit in limits.toml for this scope; empty if it has none there."""
        if not self.limits(scope.contract):
            return ""
        return self._named(scope, scope.contract)

    def limit_names(self, scope: Scope) -> tuple[str, ...]:
        """The names that its limit may have in this scope, the contract's own first; none if it has no limit there.

        What was published for a chip is the published model's alone.
        """
        own = self.limit_name(scope)
        borrowed = bool(own) and scope.like and "{chip}" not in self.limit and self.limits(scope.like)
        return tuple(filter(None, (own, self._named(scope, scope.like) if borrowed else "")))

    def _named(self, scope: Scope, contract: str) -> str:
        template = self.aipp_limit if scope.aipp and self.aipp_limit else self.limit
        return template.format(contract=contract, chip=scope.chip, batch=f"batch{scope.batch}")


@dataclass(frozen=True, slots=True)
class Setting:
    """A threshold of limits.toml that no gate has for its limit: a judge uses it beside that, or the diagnosis does."""

    name: str
    unit: str
    direction: str


SETTINGS = (
    Setting("rate_against_champion.faster", "%", AT_MOST),
    Setting("rate_against_champion.slow_round", "%", AT_LEAST),
    Setting("rate_against_champion.step", "%", AT_MOST),
    Setting("rate_against_champion.clock", "%", AT_MOST),
    Setting("rate_against_champion.temperature", "°C", AT_MOST),
    Setting("rate_against_history.slower", "%", AT_LEAST),
    Setting("rate_against_history.faster", "%", AT_MOST),
    Setting("diagnosis.stage_share", "share", AT_LEAST),
    Setting("diagnosis.network_moved", "AP", AT_LEAST),
    Setting("diagnosis.layer_error", "times", AT_MOST),
    Setting("diagnosis.rounding", "times", AT_MOST),
)
"""Thresholds that judges use beside their gates' own limits."""

PUBLISHED_FOR = {("coco_r50", "Ascend310P3"): (1, 4, 8, 16, 32, 64)}
"""By contract and chip, the batch sizes that ModelZoo has figures for: limits.toml has to have their limits."""


def family(base: Gate, *rows: tuple[str, str, str, str]) -> tuple[Gate, ...]:
    """Gates that differ from `base` in key, name, unit and direction; the limit's template takes the key's last part."""
    return tuple(
        replace(
            base, key=key, name=name, unit=unit, direction=direction,
            limit=base.limit.replace("{name}", key.rpartition(".")[2]),
        )
        for key, name, unit, direction in rows
    )  # fmt: skip


def catalogue(*gates: Gate) -> Mapping[str, Gate]:
    """The gates by key; `ValueError` for a key that two of them have."""
    by_key = {gate.key: gate for gate in gates}
    if len(by_key) != len(gates):
        raise ValueError("two gates of the catalogue have the same key")
    return by_key
