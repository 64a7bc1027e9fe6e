"""The zoo: every FCOS of mmdetection as a contract, and the contract of a run by name, by file or by checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from fcos_lib.contract import COCO_R50, CONTRACTS, ModelContract, contract_for
from fcos_lib.errors import UsageError
from fcos_lib.model.checkpoint import HASHED_NAME
from fcos_lib.model.checkpoint_shapes import fits, has_deformable_convolutions, shapes_of
from fcos_lib.model.contract_record import contract_of, plain_document, read_contract
from fcos_lib.records import Line, record_of

FILE = Path(__file__).with_name("zoo.toml")
METAFILE = "mmdetection 3.3.0, configs/fcos/metafile.yml"


class Published(Struct, frozen=True, forbid_unknown_fields=True):
    """What mmdetection published of a model, in `METAFILE`."""

    box_ap: Annotated[float, Meta(ge=0, le=100)]
    """On COCO val2017, in percent."""
    line: int
    """Where the metafile has it."""
    checkpoint: Line
    """The name of its file, which ends in the beginning of its SHA-256."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One config of the zoo."""

    name: str
    contract: ModelContract | None
    """None if it is refused."""
    published: Published | None
    """None if mmdetection has the config alone."""
    refused: UsageError | None
    """Why no contract can be made of it."""


@cache
def zoo() -> Mapping[str, Entry]:
    """Every entry of zoo.toml by its config's name, in the file's order."""
    return {name: _entry(name, dict(table)) for name, table in plain_document(FILE).items()}


def _entry(name: str, table: dict[str, Any]) -> Entry:
    published = table.pop("published", None)
    known = record_of(published, Published) if published is not None else None
    record = {"name": name, "classes": "coco", "limits_of": COCO_R50.name, **table}
    if record.get("dcn"):
        try:
            contract_of(record, FILE.name)
        except UsageError as refused:
            return Entry(name, None, known, refused)
    return Entry(name, contract_of(record, FILE.name), known, None)


@cache
def known_contracts() -> Mapping[str, ModelContract]:
    """Every contract that has a name here: the suite's own, then those of the zoo that are not refused."""
    return {**CONTRACTS, **{name: entry.contract for name, entry in zoo().items() if entry.contract}}


def named_contract(text: str) -> ModelContract:
    """The contract that `--contract` means: a name of the suite's or of the zoo's, or a user's own .toml or .json file.

    `UsageError` for an unknown name, for an entry that is refused, and for a file that is no contract.
    """
    if contract := known_contracts().get(text):
        return contract
    if (entry := zoo().get(text)) and entry.refused:
        raise entry.refused
    if not text.endswith((".toml", ".json")):
        raise UsageError(
            f"there is no contract {text[:100]!r}", "python -m fcos_lib contracts lists them; your own is a FILE.toml"
        )
    contract = read_contract(Path(text).expanduser())
    if contract.limits_of not in ("", *known_contracts()):
        raise UsageError(
            f"{text} takes its limits from the contract '{contract.limits_of}', which is not there",
            "python -m fcos_lib contracts lists them",
        )
    if contract.name in (*CONTRACTS, *zoo()):
        raise UsageError(
            f"{text} has the name of the contract '{contract.name}', which is another", "give it its own name"
        )
    return contract


def chosen_contract(classes: Collection[str], checkpoint: Path | None) -> ModelContract:
    """The contract of a run that names none: that of a dataset's classes, which the checkpoint tells from its rivals.

    A checkpoint is told by the keys and shapes of its weights, then by the hash in its file name. One that fits the contract
    of the classes is that one's. `UsageError` if no contract has these classes, or if the checkpoint fits several.
    """
    contract = contract_for(tuple(classes))
    alike = [rival for rival in known_contracts().values() if set(rival.classes) == set(classes)]
    rivals = [rival for rival in alike if rival is not contract]
    return recognised(checkpoint, contract, rivals) if rivals and checkpoint else contract


def recognised(checkpoint: Path, usual: ModelContract, rivals: Iterable[ModelContract]) -> ModelContract:
    """Which of these a checkpoint is of; `usual` if it fits that one or none, so that loading says what does not fit."""
    shapes = shapes_of(checkpoint)
    if has_deformable_convolutions(shapes):
        refused = next(entry.refused for entry in zoo().values() if entry.refused)
        raise UsageError(
            f"{checkpoint} has deformable convolutions: {refused.found.partition(': ')[2]}", refused.advice
        )
    fitting = [contract for contract in rivals if fits(contract, shapes)]
    if fits(usual, shapes) or not fitting:
        return usual
    if len(fitting) > 1 and (digits := HASHED_NAME.search(checkpoint.name)):
        named = [contract for contract in fitting if digits[0] == _published_hash(contract)]
        fitting = named or fitting
    if len(fitting) > 1:
        raise UsageError(
            f"{checkpoint} fits {len(fitting)} contracts: {', '.join(contract.name for contract in fitting)}",
            "say which it is with --contract NAME; python -m fcos_lib contracts says how they differ",
        )
    return fitting[0]


def _published_hash(contract: ModelContract) -> str:
    """`-821213aa.pth`, the end of the published checkpoint's name; empty if none was published."""
    entry = zoo().get(contract.name)
    published = entry.published if entry else None
    digits = HASHED_NAME.search(published.checkpoint) if published else None
    return digits[0] if digits else ""
