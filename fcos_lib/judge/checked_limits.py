"""Checked limits: a limits file held to the catalogue of gates, so that no slip of the pen leaves a gate without its bound."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from fcos_lib.errors import UsageError
from fcos_lib.judge.gate import AT_LEAST, AT_MOST, PUBLISHED_FOR, SETTINGS, Data, Gate, Setting
from fcos_lib.judge.gates import GATES
from fcos_lib.judge.limits import FILE, Limit
from fcos_lib.model.zoo import known_contracts

_A_SET = 10
"""As many limits of a contract that nobody here knows are a user's own, and no slip of the pen; `shapes` has 28."""


def expected_limits(contract: str) -> dict[str, Gate | Setting]:
    """Every limit that judges a run of this contract, by its name in limits.toml."""
    expected: dict[str, Gate | Setting] = {setting.name: setting for setting in SETTINGS}
    for gate in (gate for gate in GATES.values() if gate.limits(contract)):
        for template in filter(None, (gate.limit, gate.aipp_limit)):
            if "{chip}" not in template:
                expected[template.format(contract=contract)] = gate
                continue
            for (published, chip), sizes in PUBLISHED_FOR.items():
                if published == contract:
                    expected |= {
                        template.format(contract=contract, chip=chip, batch=f"batch{size}"): gate for size in sizes
                    }
    return expected


def check_limits(limits: Mapping[str, Limit], contract: str | None = None, like: str = "", path: Path = FILE) -> None:
    """Hold limits to the catalogue; `UsageError` names the first that is unknown, of another unit or direction, or missing.

    Missing is what the catalogue wants for `contract`, if the file has any limit of its own for that contract, and what is
    there for the contract `like` is not missing. A contract without any is a new one: its gates are NO VERDICT, and name the
    key that they lack; so is a user's own, whose limits are recorded bit by bit.
    """
    advice = f"mend {path}; the catalogue of gates is fcos_lib/judge/gates.py"
    contracts = {*known_contracts(), *filter(None, (contract, like))}
    contracts |= _contracts_elsewhere(limits, contracts)
    known = {name: entry for each in sorted(contracts) for name, entry in expected_limits(each).items()}
    for name, limit in limits.items():
        entry = known.get(name) or _published_elsewhere(name, contracts)
        if entry is None:
            (nearest,) = difflib.get_close_matches(name, known, 1, 0.0)
            raise UsageError(f"{path.name} has [{name}], which no gate knows; the nearest is [{nearest}]", advice)
        if (limit.unit, limit.at_least) != (entry.unit, entry.direction == AT_LEAST):
            direction = AT_LEAST if limit.at_least else AT_MOST
            raise UsageError(
                f"{path.name} has [{name}] as '{direction}' in {limit.unit}, and its gate is '{entry.direction}' in {entry.unit}",
                advice,
            )
        if (
            isinstance(entry, Gate)
            and entry.data is Data.WHOLE
            and entry.unit == "AP"
            and not (entry.instrument or limit.pictures)
        ):
            raise UsageError(
                f"{path.name} does not say for which pictures [{name}] is a limit", f"{advice}; see docs/limits.md"
            )
    wanted = {name for name in known if not any(part in contracts for part in name.split("."))}
    if contract and contract in known_contracts() and (own := _of_contract(limits, contract)):
        wanted |= set(own) | _of_contract(expected_limits(contract), contract)
    borrowed = {name.replace(f".{like}.", f".{contract}.") for name in _of_contract(limits, like)} if like else set()
    if missing := sorted(wanted - limits.keys() - borrowed):
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise UsageError(f"{path.name} lacks [{missing[0]}]{more}, so a gate would have nothing to judge by", advice)


def _contracts_elsewhere(limits: Collection[str], known: Collection[str]) -> set[str]:
    """Names in the place of a contract's that are no slip of the pen: of contracts that are a user's files, and not part of this run.

    They resemble no known one, or have a whole set of limits.
    """
    families = {gate.limit.partition(".")[0] for gate in GATES.values() if "{contract}" in gate.limit}
    parts = [name.split(".") for name in limits]
    named = Counter(words[1] for words in parts if len(words) > 2 and words[0] in {*families, "accuracy_aipp"})
    return {name for name, count in named.items() if count >= _A_SET or not difflib.get_close_matches(name, known, 1)}


def _of_contract(names: Mapping[str, object], contract: str) -> set[str]:
    return {name for name in names if contract in name.split(".")}


def _published_elsewhere(name: str, contracts: Collection[str]) -> Gate | None:
    """The gate of a published figure for a chip or batch size that ModelZoo has none for: a user may have added it."""
    family, _, rest = name.partition(".")
    contract, _, rest = rest.partition(".")
    chip, _, rest = rest.partition(".")
    batch, _, end = rest.partition(".")
    gate = GATES.get(f"published.{end}")
    size = batch.removeprefix("batch")
    fits = family == "throughput" and contract in contracts and chip.startswith("Ascend") and size.isdecimal()
    return gate if fits and gate and batch == f"batch{size}" else None
