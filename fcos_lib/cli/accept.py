"""The verb `accept`: makes the OMs of a run champions, unless a gate was red or somebody says despite what.

Nothing of a `results.json` is believed that can be checked: the OM must have the hash, the key must follow from the
provenance, and every gate about the OM must be green.
"""

from __future__ import annotations

import getpass
import json
import os
import re
import socket
from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcos_lib.artifacts.champions import Champion, Place, champion_of
from fcos_lib.artifacts.champions import accept as accept_champion
from fcos_lib.cli.terminal import say
from fcos_lib.contract import InputLayout
from fcos_lib.errors import StoreError, UsageError
from fcos_lib.evidence.results import batches_of, read_results, stored_verdict
from fcos_lib.files import sha256_of
from fcos_lib.judge.roll_call import State, stored_entry
from fcos_lib.measure.cost.operators import OM_SIZE, cost_of_dict
from fcos_lib.model.contract_record import Name
from fcos_lib.records import record_of
from fcos_lib.store.artifacts import content_key

NEEDED = ("contract", "consistency", "accuracy")
"""Promises without which nothing is known of an OM."""


@dataclass(frozen=True, slots=True)
class _Challenger:
    place: Place
    om: Path
    sha256: str
    facts: dict[str, Any]
    against_it: list[str]
    """What speaks against it, in words."""


def accept(args: Namespace) -> int:
    """Make the OMs of a run champions and print whom they replace; none of them if something speaks against one."""
    document = read_results(args.results)
    try:
        challengers = [
            _challenger(document, entry, args)
            for entry in document["artifacts"]
            if entry["kind"] == "om" and (args.batch is None or args.batch in _batches(entry["provenance"]))
        ]
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UsageError(
            f"{args.results} is not a results.json of this suite ({error!r:.200})", "pass the file that a run wrote"
        ) from error
    _check(challengers, args)
    who, why = args.who or _who(), args.why
    for challenger in challengers:
        facts = challenger.facts | {"despite": args.despite, "spoke_against": challenger.against_it}
        replaced = _in_office(args.artifacts, challenger)
        champion = accept_champion(
            args.artifacts, challenger.place, challenger.om, facts, sha256=challenger.sha256, who=who, why=why
        )
        _print(champion, replaced, facts)
    return 0


def _check(challengers: list[_Challenger], args: Namespace) -> None:
    """`UsageError` if there is nobody to accept, or something speaks against one and nobody says why that may be."""
    if not challengers:
        which = "no OM" if args.batch is None else f"no OM for batch size {args.batch}"
        raise UsageError(f"{args.results} lists {which}", "pass the results.json of a run in which it was tested")
    places = [challenger.place for challenger in challengers]
    if len(set(places)) < len(places):
        raise UsageError(f"{args.results} lists two OMs for one place", "run the suite again")
    reasons = [f"{challenger.place.name}: {reason}" for challenger in challengers for reason in challenger.against_it]
    if reasons and not args.despite:
        more = [f"and {len(reasons) - 5} more"] if len(reasons) > 5 else []
        shown = "; ".join([*reasons[:5], *more])
        raise UsageError(
            f"nothing was accepted, {shown}",
            "mend it and run again, pass --batch N to leave it out, or say with --despite TEXT why it may be",
        )


def _challenger(document: Mapping[str, Any], entry: Mapping[str, Any], args: Namespace) -> _Challenger:
    """One OM of the run, with what the run says about it."""
    provenance = entry["provenance"]
    om, sha256 = _file(entry, args)
    batches = _batches(provenance)
    device = document["environment"]["device"]
    verdicts = [verdict for verdict in document["verdicts"] if _about(verdict["subject"], batches)]
    cann = str(provenance.get("cann", provenance.get("cann_version", "")))
    # Whatever the emulator had a part in belongs to a place of its own.
    stand_in = "STAND-IN" in cann or device["stand_in"] is not False or any(verdict["stand_in"] for verdict in verdicts)
    place = Place(
        contract=_contract(document, provenance),
        soc_version=str(provenance["soc_version"]),
        batches=batches,
        layout=InputLayout(provenance["input_layout"]),
        stand_in=stand_in,
    )
    own = [verdict for verdict in verdicts if _named(verdict["subject"])]
    facts = {
        "provenance": provenance,
        "cost": _cost(own),
        "verdicts": [_condensed(verdict) for verdict in verdicts],
        "run": {"results": str(args.results), "started_at": document["run"].get("started_at"), "device": device},
    }
    json.dumps(facts, allow_nan=False)  # what cannot be written must not be half accepted
    return _Challenger(place, om, sha256, facts, _against(document, verdicts, batches, provenance))


def _file(entry: Mapping[str, Any], args: Namespace) -> tuple[Path, str]:
    """The OM and its SHA-256: in the artifact folder, or given with `--om` if the run had it from elsewhere."""
    key, provenance = entry["key"], entry["provenance"]
    oms = {name: sha256 for name, sha256 in entry["files"].items() if name.endswith(".om")}
    if len(oms) != 1 or not re.fullmatch(r"[0-9a-f]{20}", key):
        raise ValueError(f"artifact {key!r:.40} has {len(oms)} OMs")
    ((name, sha256),) = oms.items()
    if Path(name).name != name or name.startswith(".") or not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise ValueError(f"artifact {key} has the OM {name!r:.80} with SHA-256 {sha256!r:.80}")
    if any("/" in other for other in entry["files"]):
        raise UsageError(
            f"the OM {key} keeps its weights in files of their own", "compile it without --external_weight"
        )
    built_here = content_key("om", provenance) == key
    if not built_here and key != sha256[:20]:
        raise ValueError(f"the key {key} does not follow from the provenance")
    om = args.om or Path(args.artifacts) / "om" / key / name
    if args.om is None and not built_here:
        raise UsageError(f"the OM {sha256[:12]} of this run was not built here", "pass it with --om FILE and --batch N")
    if not om.is_file():
        raise UsageError(f"there is no OM at {om}", "pass the run's artifact folder with --artifacts FOLDER")
    if (digest := sha256_of(om)) != sha256:
        raise UsageError(
            f"{om} has the SHA-256 {digest[:12]}, the run tested {sha256[:12]}", "pass the OM of that run, or run again"
        )
    return om, sha256


def _batches(provenance: Mapping[str, Any]) -> tuple[int, ...]:
    batches = tuple(batches_of(provenance))
    if not batches or not all(type(batch) is int for batch in batches):
        raise ValueError(f"batch sizes are {batches!r:.80}")
    return batches


def _contract(document: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """The contract's name; an OM from elsewhere does not know it, but the run's ONNX does."""
    if "contract" not in provenance:
        (provenance,) = [entry["provenance"] for entry in document["artifacts"] if entry["kind"] == "onnx"]
    name = provenance["contract"]["name"]
    return record_of(name, Name)


def _named(text: str) -> list[int]:
    """The batch sizes that a subject or a test's id names."""
    return [int(number) for number in re.findall(r"batch(\d{1,6})", text)]


def _about(text: str, batches: tuple[int, ...]) -> bool:
    """True if this is about an OM for these batch sizes. What names no batch size, such as the reference, is about all."""
    return not _named(text) or bool(set(_named(text)) & set(batches))


def _against(
    document: Mapping[str, Any],
    verdicts: list[dict[str, Any]],
    batches: tuple[int, ...],
    provenance: Mapping[str, Any],
) -> list[str]:
    """What speaks against an OM: gates that are not green, that broke before they judged, or that were left out; blocked ones are red or for all pictures."""
    reasons = [
        f"{verdict['gate']} is {verdict['outcome']}" for verdict in verdicts if not stored_verdict(verdict).green
    ]
    reasons += [
        f"{entry['test']} is {entry['outcome']}" for entry in document["unjudged"] if _about(entry["test"], batches)
    ]
    for batch in batches:
        promises = {verdict["promise"] for verdict in verdicts if batch in _named(verdict["subject"])}
        missing = [promise for promise in NEEDED if promise not in promises]
        reasons += [f"no gate of {', '.join(missing)} judged batch{batch}"] if missing else []
    reasons += [
        f"{entry.key}[{entry.subject}] was not judged: {entry.state.value}, {entry.why}"
        for entry in map(stored_entry, document["gates"])
        if entry.promise in NEEDED and not entry.recorded and entry.state in (State.NOT_SELECTED, State.MISSING)
        if set(_named(entry.subject)) & set(batches)
    ]
    if provenance.get("proposals"):
        reasons.append("it returns its proposals as well, which is for tests only")
    return reasons


def _condensed(verdict: Mapping[str, Any]) -> dict[str, Any]:
    measured, limit = verdict["measurement"], verdict["limit"]
    return {
        **{key: str(verdict[key]) for key in ("gate", "promise", "subject", "outcome")},
        "measurement": {key: measured[key] for key in ("name", "value", "unit", "n", "interval") if key in measured},
        "limit": None if limit is None else {key: limit[key] for key in ("name", "bound", "at_least", "unit")},
    }


def _cost(verdicts: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The cost that the run measured, None if it did not."""
    for verdict in verdicts:
        details = verdict["measurement"].get("details", {})
        if verdict["promise"] == "cost" and "cost" in details:
            return cost_of_dict(details["cost"]).as_dict()
    return None


def _in_office(root: Path, challenger: _Challenger) -> str:
    """Whom the challenger replaces, in words. A damaged champion may be replaced, but not without a word."""
    try:
        champion = champion_of(root, challenger.place)
    except StoreError as error:
        return error.found
    if champion is None:
        return "nobody"
    same = " (the same OM)" if champion.sha256 == challenger.sha256 else ""
    return f"number {champion.number} of {champion.at} by {champion.who}{same}"


def _print(champion: Champion, replaced: str, facts: Mapping[str, Any]) -> None:
    say(f"champion  {champion.place.name}, number {champion.number}")
    say(f"  OM        {champion.om}  {champion.om.stat().st_size:,} bytes")
    say(f"  sha256    {champion.sha256}")
    say(f"  accepted  {champion.at} by {champion.who}{f': {champion.why}' if champion.why else ''}")
    if facts["spoke_against"]:
        say(f"  despite   {'; '.join(facts['spoke_against'])}")
        say(f"  because   {facts['despite']}")
    cost = facts["cost"]
    size = f"{len(cost['figures'])} figures, {OM_SIZE} among them" if cost else "not measured in this run"
    say(f"  cost      {size}")
    say(f"  replaces  {replaced}")
    if champion.place.stand_in:
        say("  STAND-IN  the emulator had a part in it; hardware has other champions")


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        user = f"uid{os.getuid()}"
    return f"{user}@{socket.gethostname()}"
