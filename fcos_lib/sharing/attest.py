"""Making a statement of a stored run: only what others may see, each text looked at before it leaves this machine."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fcos_lib.errors import UsageError
from fcos_lib.evidence.results import batches_of, has_stand_in, word_of
from fcos_lib.judge.verdict import Outcome
from fcos_lib.records import record_of
from fcos_lib.sharing.digests import inclusion, picture_list_digest, root_of_pictures
from fcos_lib.sharing.statement import (
    GATEPROOF,
    NONE,
    PICTURE_PROOFS,
    PREDICATE_TYPE,
    STATEMENT_TYPE,
    GateProofRecord,
    PictureProofs,
    Standing,
    Statement,
    machine_of,
    plain,
)

GATEPROOF_NAME = "gateproof.json"
"""Beside results.json, where the gate proof leaves its record."""
_PRIVATE = re.compile(r"(?:^|[\s=:;,'\"(\[])(?:~?/(?!/)\S|[A-Za-z]:[\\/])|\w@[A-Za-z]")
"""An absolute path, one below a home folder, or user@host."""
_LISTS = {Outcome.PASS: "passedTests", Outcome.STAND_IN: "warnedTests"}


def statement_of(document: Mapping[str, Any], gateproof: GateProofRecord | None) -> Statement:
    """The statement about a stored run, from what `read_results` gives; `gateproof` counts if it is of the run's sources.

    `UsageError` for a run without anything to attest, with a damaged tree of detections, or with a text that others may not see.
    """
    subjects = list(_subjects(document))
    if not subjects or not (document["verdicts"] or document["unjudged"]):
        raise UsageError("the run holds nothing to attest", "pass the results.json of a run in which a gate ran")
    gates = [_gate(entry) for entry in document["verdicts"]]
    unjudged = [{"test": entry["test"], "verdict": entry["outcome"]} for entry in document["unjudged"]]
    environment, run = document["environment"], document["run"]
    settings = run.get("settings") or {}
    content = {
        "_type": STATEMENT_TYPE,
        "subject": subjects,
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            **summed_up(word_of(document), gates, unjudged),
            "configuration": list(_configuration(environment)),
            "fcos_lib": {
                "format": 1,
                "word": word_of(document),
                "stand_in": has_stand_in(document),
                **{name: run.get(name) for name in ("exit_status", "pytest_status")},
                **{name: run.get(name, 0) for name in ("other_failures", "gates_not_run")},
                "require": list(run.get("require", ())),
                "npu_required": settings.get("npu") == "required",
                "started_at": run.get("started_at", ""),
                "python": environment.get("python", ""),
                "machine": environment.get("machine", ""),
                "packages": environment.get("packages", {}),
                "device": machine_of(environment.get("device")),
                "gates": gates,
                "roll": [
                    {name: entry.get(name, False) for name in Standing.__struct_fields__}
                    for entry in document.get("gates", ())
                ],
                "unjudged": unjudged,
                "detections": [_tree(entry, document) for entry in document.get("detections", ())],
                "gateproof": _score(gateproof, environment.get("sources")),
            },
        },
    }  # fmt: skip
    refuse_private(content)
    try:
        return record_of(content, Statement)
    except ValueError as error:
        raise UsageError(f"the run cannot be attested ({error})", "pass the results.json that a run wrote") from error


def summed_up(word: str, gates: Sequence[Mapping[str, Any]], unjudged: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """in-toto's result and lists of tests, as they follow from the run's word and its gates; without what is only recorded.

    STAND-IN is a warning: it passed, and says nothing about hardware. All that is neither is a failure.
    """
    lists: dict[str, list[str]] = {"passedTests": [], "warnedTests": [], "failedTests": []}
    for gate in gates:
        if gate["limit"] or gate["lacks"] or gate["verdict"] in ("FAIL", "INFRA"):
            lists[_LISTS.get(Outcome(gate["verdict"]), "failedTests")].append(label(gate))
    lists["failedTests"] += [entry["test"] for entry in unjudged]
    return {"result": {"PASS": "PASSED", "STAND-IN": "WARNED"}.get(word, "FAILED"), **lists}


def label(gate: Mapping[str, Any]) -> str:
    """`accuracy.mAP[batch8]`: a gate on what it judged."""
    return f"{gate['key'] or gate['name']}[{gate['subject']}]"


def _gate(entry: Mapping[str, Any]) -> dict[str, Any]:
    measured, limit = entry["measurement"], entry["limit"]
    described = measured.get("details", {}).get("data_set") if limit and limit.get("pictures") else None
    kept = ("count", "first", "last", "ids_sha256")
    bound = {name: limit.get(name) for name in ("name", "bound", "at_least", "unit", "pictures")} if limit else None
    return {
        **{name: entry.get(name, "") for name in ("key", "promise", "subject", "test", "lacks")},
        **{name: measured[name] for name in ("name", "value", "unit", "n")},
        "interval": measured.get("interval"),
        "data_set": {name: described[name] for name in kept if name in described} if described else None,
        "limit": {**bound, "derived": limit.get("derived", False)} if bound else None,
        "verdict": entry["outcome"],
        "stand_in": entry["stand_in"],
    }


def _subjects(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Checkpoint, ONNX, OMs, annotations and pictures, by what they are; no name of this machine's."""
    seen: set[str] = set()

    def described(name: str, sha256: object) -> Iterator[dict[str, Any]]:
        if isinstance(sha256, str) and name not in seen:
            seen.add(name)
            yield {"name": name, "digest": {"sha256": sha256}}

    for artifact in document["artifacts"]:
        kind, made_from = artifact["kind"], artifact["provenance"]
        if kind == "onnx":
            yield from described("checkpoint", made_from.get("checkpoint"))
        for name, sha256 in sorted(artifact["files"].items()):
            if kind == "onnx" or (kind == "om" and name.endswith(".om")):
                yield from described(artifact_name(artifact, name), sha256)
    settings = document["run"].get("settings") or {}
    yield from described("annotations", settings.get("annotations_sha256"))
    for entry in document.get("detections", ()):
        yield from described("pictures", _tree(entry, document)["pictures"])


def artifact_name(artifact: Mapping[str, Any], file: str) -> str:
    """`om batch 8 0123456789ab model.om`: what a statement calls a file of an artifact."""
    if artifact["kind"] != "om":
        return f"{artifact['kind']} {Path(file).name}"
    batches = batches_of(artifact["provenance"]) or ["unknown"]
    return f"om batch {'-'.join(map(str, batches))} {artifact['key'][:12]} {Path(file).name}"


def _configuration(environment: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name, key in (("sources", "sources"), ("requirements.lock", "lock")):
        if environment.get(key):
            yield {"name": name, "digest": {"sha256": environment[key]}}


def _tree(entry: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """`UsageError` if the digests do not give the root: then nobody could be shown a picture."""
    if not gives_root(entry, document):
        raise UsageError(
            f"the digests of what {entry['subject']} found do not give their root: the file was changed or damaged",
            "pass the results.json as the run wrote it",
        )
    files = {number: document["pictures"][number] for number in entry["found"]}
    kept = {name: entry[name] for name in ("subject", "root")}
    return {**kept, "pictures": picture_list_digest(files), "count": len(files)}


def gives_root(entry: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    """Whether the digests of what an OM found and of the run's files give the root that the run kept."""
    files = document.get("pictures", {})
    return bool(entry["found"].keys() <= files.keys()) and root_of_pictures(entry["found"], files) == entry["root"]


def _score(record: GateProofRecord | None, sources: str | None) -> dict[str, Any] | str:
    """What the gate proof of these very sources came to; `none` without one."""
    if record is None or record.sources != sources:
        return NONE
    defects, controls = ([case for case in record.cases if case.control is kind] for kind in (False, True))
    text = json.dumps(plain(record), sort_keys=True, separators=(",", ":"))
    return {
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "caught": sum(case.right for case in defects), "defects": len(defects),
        "green": sum(case.right for case in controls), "controls": len(controls),
    }  # fmt: skip


def gateproof_beside(results: Path) -> GateProofRecord | None:
    """The record of a gate proof that lies beside a run; None without one."""
    path = results.with_name(GATEPROOF_NAME)
    return GATEPROOF.read(path) if path.is_file() else None


def picture_proofs(document: Mapping[str, Any], picture: int) -> PictureProofs:
    """That what each OM found in a picture belongs to its root; `UsageError` for a picture that none of them saw."""
    proofs = []
    for entry in document.get("detections", ()):
        if str(picture) in entry["found"]:
            _tree(entry, document)
            proofs.append(
                {
                    "subject": entry["subject"],
                    "root": entry["root"],
                    **inclusion(entry["found"], document["pictures"], str(picture)),
                }
            )
    if not proofs:
        raise UsageError(
            f"the run has no digest of what was found in picture {picture}",
            "name a picture that it evaluated, by its id in the annotations, in a run of accuracy",
        )
    return PICTURE_PROOFS.of({"format": 1, "picture": picture, "proofs": proofs}, "the proof")


def refuse_private(value: object, where: str = "") -> None:
    """`UsageError` if any text in JSON holds an absolute path or user@host: a statement goes to strangers."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            refuse_private(key, where)
            refuse_private(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list | tuple):
        for inner in value:
            refuse_private(inner, where)
    elif isinstance(value, str) and _PRIVATE.search(value):
        raise UsageError(
            f"{where} of the run holds a path or an address of a machine ({value[:80]}), which must not travel",
            "run the suite from its checkout, with names of files and tests that say nothing of this machine",
        )
