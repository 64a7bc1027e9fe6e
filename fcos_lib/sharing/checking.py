"""Checking a statement: whatever can be recomputed here is compared, and what cannot is said to be unchecked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fcos_lib.errors import FcosError
from fcos_lib.evidence.results import has_stand_in, stored_verdict, word_of
from fcos_lib.files import sha256_of
from fcos_lib.judge.limits import all_limits
from fcos_lib.judge.verdict import decide
from fcos_lib.sharing.attest import artifact_name, gives_root, label, statement_of, summed_up
from fcos_lib.sharing.digests import lock_digest, picture_list_digest, root_by_proof, tree_digest
from fcos_lib.sharing.statement import NONE, GateProofRecord, PictureProofs, Statement, plain
from fcos_lib.stream.dataset import ANNOTATIONS, file_digest, open_dataset

MOST_SHOWN = 20
"""Differences that are listed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    what: str
    differs: str = ""
    """How it differs; empty if it does not."""
    unchecked: str = ""
    """Why it could not be checked; empty if it was."""

    @property
    def line(self) -> str:
        """`differs: ...`, `not checked: ...` or `same: ...`."""
        if self.differs:
            return f"differs: {self.what}: {self.differs}"
        return f"not checked: {self.what}: {self.unchecked}" if self.unchecked else f"same: {self.what}"


def compared(what: str, stated: object, recomputed: object) -> Check:
    """Whether two values are the same."""
    same = stated == recomputed
    return Check(what, differs="" if same else f"{_short(stated)} in the statement, {_short(recomputed)} here")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def as_document(statement: Statement) -> dict[str, Any]:
    """The statement as far as it is a stored run, for what judges those."""
    run = plain(statement)["predicate"]["fcos_lib"]
    told = ("exit_status", "pytest_status")
    return {
        "run": {
            **{name: run[name] for name in told if run[name] is not None},
            **{name: run[name] for name in ("other_failures", "gates_not_run", "require", "started_at")},
            "settings": {"npu": "required" if run["npu_required"] else "auto"},
        },
        "verdicts": [_verdict_entry(gate) for gate in run["gates"]],
        "unjudged": [{"test": entry["test"], "outcome": entry["verdict"]} for entry in run["unjudged"]],
        "gates": [{**entry, "why": ""} for entry in run["roll"]],
        "environment": {"device": {"stand_in": run["stand_in"]}},
        "artifacts": [],
        "evidence": [],
    }


def _verdict_entry(gate: Mapping[str, Any]) -> dict[str, Any]:
    measured = {name: gate[name] for name in ("name", "value", "unit", "n", "interval")}
    limit = {**gate["limit"], "source": ""} if gate["limit"] else None
    return {
        **{name: gate[name] for name in ("key", "promise", "subject", "test", "lacks", "stand_in")},
        "outcome": gate["verdict"], "limit": limit,
        "measurement": {**measured, "details": {"data_set": gate["data_set"]} if gate["data_set"] else {}},
    }  # fmt: skip


def in_itself(statement: Statement) -> Iterator[Check]:
    """Whether the statement contradicts itself: verdicts follow from numbers and limits, lists and result from verdicts."""
    predicate = plain(statement)["predicate"]
    gates, run = predicate["fcos_lib"]["gates"], predicate["fcos_lib"]
    wrong = 0
    for gate in gates:
        then = stored_verdict(_verdict_entry(gate))
        now = decide(
            then.promise, then.subject, then.measurement, then.limit, stand_in=then.stand_in, lacks=then.lacks
        ).outcome
        if now is not then.outcome:
            wrong += 1
            said = f"{then.outcome.value} for {gate['value']} {gate['unit']}, which comes to {now.value}"
            yield Check(label(gate), differs=said)
    if not wrong:
        yield Check(f"{len(gates)} verdicts follow from their numbers and limits")
    document = as_document(statement)
    yield compared("stand_in", run["stand_in"], has_stand_in(document))
    yield compared("word", run["word"], word_of(document))
    for name, value in summed_up(run["word"], gates, run["unjudged"]).items():
        yield compared(name, predicate[name], value)


def with_these_sources(statement: Statement) -> Iterator[Check]:
    """Sources and lock file beside those of this checkout, and limits beside limits.toml where the sources are the same."""
    stated = {each.name: each.digest.sha256 for each in statement.predicate.configuration}
    ours = {"sources": tree_digest(), "requirements.lock": lock_digest()}
    same = {name: stated.get(name) == digest for name, digest in ours.items()}
    for name in ours:
        why = "" if same[name] else "this is another checkout than the one that ran"
        yield Check(name, unchecked=why if name in stated else "the run did not note it")
    limits = all_limits()
    bounds = [gate.limit for gate in statement.predicate.run.gates if gate.limit and not gate.limit.derived]
    if not same["sources"]:
        yield Check("limits", unchecked="they are those of another checkout")
        return
    for bound in {bound.name: bound for bound in bounds}.values():
        limit = limits.get(bound.name)
        said, ours_now = (bound.bound, bound.at_least, bound.unit), limit and (limit.bound, limit.at_least, limit.unit)
        if said != ours_now:
            yield compared(f"limit {bound.name}", said, ours_now)
    yield Check(f"{len(bounds)} limits beside limits.toml")


def with_run(statement: Statement, document: Mapping[str, Any], gateproof: GateProofRecord | None) -> Iterator[Check]:
    """Everything in the statement beside what the stored run gives, then the run's files as far as they are here."""
    for entry in document.get("detections", ()):
        if not gives_root(entry, document):
            yield Check(f"pictures of {entry['subject']}", differs="the run's digests do not give its root")
            return
    stated, again = (plain(each)["predicate"] for each in (statement, statement_of(document, gateproof)))
    score, ours = stated["fcos_lib"].pop("gateproof"), again["fcos_lib"].pop("gateproof")
    differences = list(_differences("", plain(statement)["subject"], plain(statement_of(document, None))["subject"]))
    differences += _differences("", stated, again)
    for where, said, here in differences[:MOST_SHOWN]:
        yield compared(where, said, here)
    if len(differences) > MOST_SHOWN:
        yield Check("the run", differs=f"{len(differences) - MOST_SHOWN} further differences")
    if not differences:
        yield Check("everything that the statement says of the run")
    missing = "no record of it lies beside the run" if ours == NONE and score != NONE else ""
    yield Check("gate proof", unchecked=missing) if missing else compared("gate proof", score, ours)
    yield from files_of(statement, document)


def _differences(where: str, stated: object, again: object) -> Iterator[tuple[str, object, object]]:
    """(place, stated, recomputed) of what differs in two JSON values; entries of lists by their names, not their places."""
    if isinstance(stated, dict) and isinstance(again, dict):
        for key in {**stated, **again}:
            yield from _differences(f"{where}.{key}" if where else key, stated.get(key), again.get(key))
    elif isinstance(stated, list) and isinstance(again, list):
        sides = [_named(side) for side in (stated, again)]
        for name in {**sides[0], **sides[1]}:
            yield from _differences(f"{where} {name}".strip(), *(side.get(name, "nothing") for side in sides))
    elif stated != again:
        yield where, stated, again


def _named(entries: list[Any]) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for index, entry in enumerate(entries):
        if isinstance(entry, dict) and "key" in entry:
            name = (
                f"{label(entry)} {entry.get('name', '')}".strip() if "name" in entry else label({**entry, "name": ""})
            )
        elif isinstance(entry, dict):
            name = str(entry.get("name") or entry.get("subject") or entry.get("test") or index)
        else:
            name = entry if isinstance(entry, str) else str(index)
        while name in named:
            name += " again"
        named[name] = entry
    return named


def files_of(statement: Statement, document: Mapping[str, Any]) -> Iterator[Check]:
    """The digests of the statement's subjects beside those of the run's own files."""
    paths = _places(document)
    for subject in statement.subject:
        if subject.name == "pictures":
            yield from _pictures(subject.digest.sha256, document)
            continue
        path = paths.get(subject.name)
        try:
            digest = sha256_of(path) if path else None
        except OSError:
            digest = None
        missing = "the run's file is not here" if digest is None else ""
        yield (
            Check(f"file of {subject.name}", unchecked=missing)
            if missing
            else compared(f"file of {subject.name}", subject.digest.sha256, digest)
        )


def _places(document: Mapping[str, Any]) -> dict[str, Path]:
    settings = document["run"].get("settings") or {}
    paths: dict[str, Path] = {}
    if settings.get("checkpoint"):
        paths["checkpoint"] = Path(settings["checkpoint"])
    if settings.get("dataset"):
        paths["annotations"] = Path(settings["dataset"]) / ANNOTATIONS
    for artifact in document["artifacts"]:
        folder = Path(settings.get("artifacts", "")) / artifact["kind"] / artifact["key"]
        made_from = artifact["provenance"]
        for name in artifact["files"]:
            foreign = isinstance(made_from.get("path"), str)
            paths[artifact_name(artifact, name)] = Path(made_from["path"]) if foreign else folder / name
    return paths


def _pictures(stated: str, document: Mapping[str, Any]) -> Iterator[Check]:
    """The list of pictures beside the dataset's files, if the run's dataset is here."""
    settings = document["run"].get("settings") or {}
    numbers = {number for entry in list(document.get("detections", ()))[:1] for number in entry["found"]}
    what = f"files of {len(numbers)} pictures"
    try:
        dataset = open_dataset(Path(settings["dataset"]))
        digests = {str(picture.id): file_digest(picture) for picture in dataset.pictures if str(picture.id) in numbers}
    except (KeyError, FcosError):
        yield Check(what, unchecked="the run's dataset is not here")
        return
    yield compared(what, stated, picture_list_digest(digests))


def with_picture(statement: Statement, proofs: PictureProofs) -> Iterator[Check]:
    """Whether what was found in one picture belongs to the statement's root, for each OM of the proof."""
    roots = {tree.subject: tree for tree in statement.predicate.run.detections}
    for proof in proofs.proofs:
        what, tree = f"picture {proofs.picture} of {proof.subject}", roots.get(proof.subject)
        if tree is None:
            yield Check(what, differs="the statement has no root for it")
            continue
        try:
            root = root_by_proof(proofs.picture, proof, proof.found, tree.count)
        except ValueError as error:
            yield Check(what, differs=str(error))
            continue
        yield compared(what, tree.root, root)


def signature_check(signed: bool | None, verified: bool, asked: bool) -> Check:
    """What is known of who made the statement: `signed` is whether it has an envelope, `asked` whether a key was given."""
    if not asked:
        return Check("signature", unchecked="pass --public-key" if signed else "the statement is not signed")
    if not signed:
        return Check("signature", differs="the statement is not signed")
    return Check("signature", differs="" if verified else "none is of the key that was given")
