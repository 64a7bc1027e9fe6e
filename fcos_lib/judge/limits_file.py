"""The limits file: held to the catalogue of gates, so that no slip of the pen leaves a gate without its bound, and what a new model adds.

What a stored run measured and had no limit for is recorded as sections for limits.toml. A bound is not made of the measurement alone,
or whatever was measured would be right. mAP may lose the 1 % that ModelZoo usually grants. All else gets the bound of `shapes`,
lengths scaled to the input, if what was measured is within it; if not, no bound is written but why.
"""

from __future__ import annotations

import difflib
import json
import shlex
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from fcos_lib.contract import SHAPES, ModelContract
from fcos_lib.errors import UsageError
from fcos_lib.files import one_line
from fcos_lib.judge.gate import AT_LEAST, AT_MOST, PUBLISHED_FOR, SETTINGS, Data, Gate, Setting
from fcos_lib.judge.gates import GATES
from fcos_lib.judge.limits import FILE, Limit
from fcos_lib.model.zoo import known_contracts

_A_SET = 10
"""As many limits of a contract that nobody here knows are a user's own, and no slip of the pen; `shapes` has 28."""
_GRANTED = 0.01
_ACCEPTED = f"less {100 * _GRANTED:g} %, the acceptance that ModelZoo usually grants"


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


def recorded_limits(document: Mapping[str, Any], contract: ModelContract, limits: Mapping[str, Limit]) -> list[str]:
    """A section of TOML for each limit of this contract that a run's gates lacked; a comment where none can be recorded.

    `document` is the run's results.json; `UsageError` if it lacked none that `limits` still lacks.
    """
    lacking: dict[str, list[Mapping[str, Any]]] = {}
    for entry in document["verdicts"]:
        if contract.name in entry["lacks"].split(".") and entry["lacks"] not in limits:
            lacking.setdefault(entry["lacks"], []).append(entry)
    if not lacking:
        raise UsageError(
            f"the run lacked no limit of the contract '{contract.name}'", "record a run in which gates were NO VERDICT"
        )
    return [_section(name, entries, document, contract, limits) for name, entries in sorted(lacking.items())]


def _section(
    name: str,
    entries: Sequence[Mapping[str, Any]],
    document: Mapping[str, Any],
    contract: ModelContract,
    limits: Mapping[str, Limit],
) -> str:
    """One limit as TOML, or why there is none."""
    pattern = limits.get(name.replace(f".{contract.name}.", f".{SHAPES.name}."))
    measured = [each for each in entries if isinstance(each["measurement"]["value"], int | float) and each["measurement"]["n"]]  # fmt: skip
    if pattern is None or len(measured) < len(entries):
        return f"# [{name}] is not recorded: {'a number is none' if pattern else 'shapes has no such limit'}.\n"
    worst = min if pattern.at_least else max
    entry = worst(measured, key=lambda each: float(each["measurement"]["value"]))
    value = float(entry["measurement"]["value"])
    bound, source = _accuracy(value, pattern) if pattern.pictures else _scaled(name, pattern, contract)
    if not pattern.pictures and not (value >= bound if pattern.at_least else value <= bound):
        beyond = f"{value:.4g} {pattern.unit}, {entry['subject']}"
        return f"# [{name}] is not recorded: {beyond}, is beyond {bound:.4g}, {source}. Find out why first.\n"
    spread = f"{value:.4g}, {entry['subject']}, worst of {len(measured)}"
    lines = [
        f"[{name}]",
        f"bound = {bound:.6g}",
        f"direction = {json.dumps(AT_LEAST if pattern.at_least else AT_MOST)}",
        f"unit = {json.dumps(pattern.unit)}",
        f"source = {json.dumps(source + _on_what(document, entry))}",
        *([f"pictures = {_pictures(entry, document)}"] if pattern.pictures else []),
        f"measured = {_measured(document, entry, spread)}",
    ]
    return "\n".join(lines) + "\n"


def _pictures(entry: Mapping[str, Any], document: Mapping[str, Any]) -> str:
    """Which pictures a mAP is for, as the measurement described them."""
    described = entry["measurement"].get("details", {}).get("data_set", {})
    name = Path(str((document["run"].get("settings") or {}).get("dataset", "mine"))).name
    kept = ("count", "first", "last", "ids_sha256")
    return _inline({"name": name, **{key: described[key] for key in kept if key in described}})


def _measured(document: Mapping[str, Any], entry: Mapping[str, Any], spread: str) -> str:
    """The birth certificate; paths of the machine that measured are in results.json."""
    run = document["run"]
    words = [word for word in run.get("command", [])[1:] if word != "tests"]
    kept = [word for word, after in zip(words, [*words[1:], ""], strict=False) if "/" not in word and "/" not in after]
    return _inline({
        "command": one_line(shlex.join(["pytest", *kept]), 300), "n": entry["measurement"]["n"], "spread": spread,
        "date": str(run.get("started_at", ""))[:10],
    })  # fmt: skip


def _accuracy(value: float, pattern: Limit) -> tuple[float, str]:
    """1 % below what was measured, or above it for a limit on what is too good."""
    if pattern.at_least:
        return value * (1 - _GRANTED), f"recorded: {value:.4f}, {_ACCEPTED}"
    return value * (1 + _GRANTED), f"recorded: {value:.4f}; {100 * _GRANTED:g} % more is as wrong as less"


def _scaled(name: str, pattern: Limit, contract: ModelContract) -> tuple[float, str]:
    """The bound of `shapes`; a length in pixels grows with the input."""
    if pattern.unit != "px":
        return pattern.bound, "the bound of shapes"
    wide, high = contract.width / SHAPES.width, contract.height / SHAPES.height
    factor = {"centre_x": wide, "centre_y": high}.get(name.rpartition(".")[2], max(wide, high))
    return pattern.bound * factor, f"the bound of shapes, scaled to {contract.width} x {contract.height}"


def _on_what(document: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    """`; onnxruntime 1.32.0, Ascend310P3, CANN 8.0`, and that no hardware was asked."""
    environment = document["environment"]
    device = environment.get("device") or {}
    packages = environment.get("packages") or {}
    parts = [f"onnxruntime {packages.get('onnxruntime') or 'unknown'}"]
    if entry["subject"] != "reference":
        parts += filter(None, (device.get("soc_version"), f"CANN {device.get('cann_version') or 'unknown'}"))
    text = one_line("; " + ", ".join(parts), 200)
    return f"{text}. Never run on hardware" if entry["stand_in"] else text


def _inline(table: Mapping[str, Any]) -> str:
    return "{ " + ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items()) + " }"
