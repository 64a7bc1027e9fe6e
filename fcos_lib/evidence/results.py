"""results.json: written whole, read from wherever it came, its verdicts as a table, and the causes that kept tests from judging."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import structs

from fcos_lib.evidence.plain_text import aligned
from fcos_lib.evidence.schema import SCHEMA_VERSION, Results
from fcos_lib.files import one_line, printable, write_whole
from fcos_lib.judge.gate import PROMISES
from fcos_lib.judge.verdict import Verdict, close_pair
from fcos_lib.records import Form, record_of

_LONGEST_WORD = 4096
_LONGEST_REASON = 240
_WHICH = re.compile(r"\b(device|NPU|chip|batch size|modelId is) \d+")
"""In a message: where it happened. What differs in nothing else is one cause."""
"""Characters, so that the number of tests behind it is never cut off; the message has the rest."""
SEE = "see the first: "
"""Begins the message of a test that met the cause of an earlier one; that test's id follows."""
_OF_STATUS = {0: "PASS", 1: "FAIL", 7: "NO VERDICT", 8: "INFRA"}
FORM = Form(
    Results,
    "a results.json of this suite",
    "pass the results.json that a run wrote",
    most_bytes=256 << 20,
    most_values=16_000_000,  # up to 2 GiB of memory; a run over all of COCO has less than a tenth
    version=("schema_version", SCHEMA_VERSION, SCHEMA_VERSION),
)
_OLD_NAMES = re.compile(
    r"^candidates\.(?=([^.]+\.)?(non_finite|cosine|relative_distance|largest_difference|identical)\w*$)"
    r"|\bnon-finite candidates$|\btest_candidates\.py(?=::)"
)
"""What reaches NMS was called so up to version 2: in keys and limits, in the name of a gate, and in the file of a test."""


def write_results(path: Path, **parts: Any) -> None:
    """Write a run as JSON, atomically. `parts` are the fields of `Results`; what is named below may be left out.

    `gates` says for every gate of the catalogue whether it judged, and why not. Empty in a run that did not end.
    `evidence` is what a reader needs to see why: records of kind, subject and data, drawn by `evidence.page`. `detections`
    are the digests of what each OM found, `pictures` those of the files.
    """
    results = Results(**{"schema_version": SCHEMA_VERSION, "gates": [], "evidence": [], **parts})
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(structs.asdict(results), indent=1, allow_nan=False) + "\n").encode())


def read_results(path: Path, *, older: bool = True) -> dict[str, Any]:
    """A `results.json` as `Results` has it; one of an older version is brought into this one, unless `older` is False.

    All numbers are finite and all text can be encoded. `UsageError` if the file is missing, too large, not JSON, of another
    version or not of this suite.
    """
    document = FORM.plain(path)
    version = document.get("schema_version") if older and isinstance(document, dict) else None
    if type(version) is int and 1 <= version < SCHEMA_VERSION:  # True is none
        document = _with_todays_names({"unjudged": [], "gates": [], "evidence": [], **document})
        document["schema_version"] = SCHEMA_VERSION
    FORM.of(document, str(path))
    return dict(document)


def _with_todays_names(value: Any) -> Any:
    """The same document with proposals called so, in its keys, gates, limits and tests; what a user named stays."""
    if isinstance(value, dict):
        return {"proposals" if key == "candidates" else key: _with_todays_names(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with_todays_names(inner) for inner in value]
    if isinstance(value, str):
        return _OLD_NAMES.sub(lambda old: old[0].replace("candidates", "proposals"), value)
    return value


def stored_verdict(entry: Mapping[str, Any]) -> Verdict:
    """A verdict as it was decided then, from an entry of `verdicts`."""
    measured = entry["measurement"]
    return record_of(
        {**entry, "measurement": {**measured, "value": float(measured["value"]), "gate": entry.get("key", "")}}, Verdict
    )


def batches_of(provenance: Mapping[str, Any]) -> list[Any]:
    """The batch sizes that an OM was made for, as its provenance says, whether it was built here or elsewhere; empty if it does not."""
    batches = provenance.get("batches") or provenance.get("dynamic_batches") or [provenance.get("batch")]
    return [batch for batch in batches if batch is not None]


def has_stand_in(document: Mapping[str, Any]) -> bool:
    """Whether the emulator had any part in a run: its verdicts, device and evidence and the CANN of its artifacts say so."""
    return (
        any(entry["stand_in"] for entry in document["verdicts"])
        or bool((document["environment"].get("device") or {}).get("stand_in"))
        or any(entry["data"].get("stand_in") is True for entry in document["evidence"])
        or any("STAND-IN" in json.dumps(entry["provenance"]) for entry in document["artifacts"])
    )


def word_of(document: Mapping[str, Any]) -> str:
    """The run in a word: that of its exit status, STAND-IN for a green one that the emulator had a part in, or STOPPED."""
    word = _OF_STATUS.get(document["run"].get("exit_status"), "STOPPED")
    return "STAND-IN" if word == "PASS" and has_stand_in(document) else word


def again(document: Mapping[str, Any], test: str) -> str:
    """The command that runs one test of a run again, with the run's options; quoted, for it will be pasted into a shell."""
    try:
        options = shlex.split(document["run"].get("options", ""))
    except ValueError:
        options = []
    return printable(shlex.join(["pytest", *(word[:_LONGEST_WORD] for word in (test, *options))]), 100_000)


def in_reading_order(verdicts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Sorted as people read them: by promise, the reference first, then by batch size; otherwise as they came."""

    def order(verdict: Mapping[str, Any]) -> tuple[int, int]:
        promise, number = verdict["promise"], re.search(r"\d+", verdict["subject"])
        return PROMISES.index(promise) if promise in PROMISES else len(PROMISES), int(number[0]) if number else 0

    return sorted(verdicts, key=order)


def verdict_rows(verdicts: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, str, str, str]]:
    """(gate, on, limit, measured, verdict) in words; subjects that share limit and verdict share a line."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for verdict in verdicts:
        limit, name = verdict["limit"], verdict["measurement"]["name"]
        alone = "" if limit else verdict["subject"]  # what is only recorded is read number by number
        key = (verdict["promise"], name, limit["name"] if limit else "", verdict["outcome"], alone)
        groups.setdefault(key, []).append(verdict)
    rows = []
    for (promise, name, _, outcome, _), members in groups.items():
        limit, measured = members[0]["limit"], members[0]["measurement"]
        values = [member["measurement"]["value"] for member in members]
        numbers = [value for value in values if not isinstance(value, str)]  # NaN and infinities come as text
        allowed = "recorded"
        if limit:
            nearest = (min if limit["at_least"] else max)(numbers, default=limit["bound"])
            shown, bound = close_pair(nearest, limit["bound"])
            allowed = f"{'≥' if limit['at_least'] else '≤'} {bound} {limit['unit']}"
        else:
            shown = f"{values[0]:.4g}" if numbers else ""
        texts = sorted({value for value in values if isinstance(value, str)})
        if numbers and f"{min(numbers):.4g}" != f"{max(numbers):.4g}":
            texts.append(f"{min(numbers):.4g} to {max(numbers):.4g}")
        elif numbers:
            texts.append(shown)
        on = ", ".join(member["subject"] for member in members).replace(", batch", ", ")
        rows.append((f"{promise}: {name}", on, allowed, f"{', '.join(texts)} {measured['unit']}", outcome))
    return rows


def verdict_table(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Aligned lines, the header first; each ends with its verdict."""
    return aligned([("gate", "on", "limit", "measured", "verdict"), *verdict_rows(verdicts)])


@dataclass(frozen=True, slots=True)
class Cause:
    """What stopped one test or several."""

    outcome: str
    message: str
    """As the first of the tests has it, whole."""
    tests: tuple[str, ...]
    places: int = 1
    """Devices, batch sizes and models of which it was said, in the same words."""

    @property
    def reason(self) -> str:
        """The first line of the message, which acts on no terminal, page or log, whatever it was made of."""
        return one_line(self.message.strip().partition("\n")[0], _LONGEST_REASON) or "no reason was given"

    @property
    def sentence(self) -> str:
        """`INFRA: atc ended with status 255 (7 tests could not judge, the first tests/...::test_x[batch1])`"""
        first, number = one_line(self.tests[0], _LONGEST_REASON), len(self.tests)
        who = f"{number} tests could not judge, the first {first}" if number > 1 else f"{first} could not judge"
        alike = f"and {self.places - 1} like it; " if self.places > 1 else ""
        return f"{self.outcome}: {self.reason} ({alike}{who})"


def causes(unjudged: Sequence[Mapping[str, Any]]) -> list[Cause]:
    """Entries of `unjudged` of `results.json` by cause: tests that point to the first one, and tests that say the same.

    The same on another device, at another batch size or of another model is one cause.
    """
    causes_by_test: dict[str, tuple[str, str]] = {}
    messages: dict[tuple[str, str], dict[str, None]] = {}
    tests: dict[tuple[str, str], dict[str, None]] = {}
    for entry in unjudged:
        message = str(entry.get("message", ""))
        cause = causes_by_test.get(message.removeprefix(SEE)) if message.startswith(SEE) else None
        if cause is None:
            cause = str(entry["outcome"]), _WHICH.sub(r"\1", message)
            messages.setdefault(cause, {})[message] = None
        causes_by_test.setdefault(entry["test"], cause)
        tests.setdefault(cause, {})[entry["test"]] = None
    return [
        Cause(outcome, next(iter(said)), tuple(tests[outcome, words]), len(said))
        for (outcome, words), said in messages.items()
    ]
