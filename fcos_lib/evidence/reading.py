"""Reading a `results.json`, wherever it came from: the one door for everything that reads one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fcos_lib.evidence.schema import SCHEMA_VERSION, Results
from fcos_lib.files import printable
from fcos_lib.judge.verdict import Verdict
from fcos_lib.records import Form, record_of

_LONGEST_WORD = 4096
FORM = Form(
    Results,
    "a results.json of this suite",
    "pass the results.json that a run wrote",
    most_bytes=256 << 20,
    most_values=16_000_000,  # up to 2 GiB of memory; a run over all of COCO has less than a tenth
    version=("schema_version", 1, SCHEMA_VERSION),
)


def read_results(path: Path) -> dict[str, Any]:
    """A `results.json` as `Results` has it; one of version 1 becomes version 2 without evidence.

    All numbers are finite and all text can be encoded. `UsageError` if the file is missing, too large, not JSON, of another
    version or not of this suite.
    """
    document = FORM.plain(path)
    if isinstance(document, dict) and not FORM.other_version(document):
        if document["schema_version"] == 1:
            document = {"unjudged": [], **document, "schema_version": SCHEMA_VERSION, "evidence": []}
        document.setdefault("gates", [])  # a file of an earlier release says nothing of them
    FORM.of(document, str(path))
    return dict(document)


def stored_verdict(entry: Mapping[str, Any]) -> Verdict:
    """A verdict as it was decided then, from an entry of `verdicts`."""
    measured = entry["measurement"]
    return record_of(
        {**entry, "measurement": {**measured, "value": float(measured["value"]), "gate": entry.get("key", "")}}, Verdict
    )


def has_stand_in(document: Mapping[str, Any]) -> bool:
    """Whether the emulator had any part in a run: its verdicts, device and evidence and the CANN of its artifacts say so."""
    return (
        any(entry["stand_in"] for entry in document["verdicts"])
        or bool((document["environment"].get("device") or {}).get("stand_in"))
        or any(entry["data"].get("stand_in") is True for entry in document["evidence"])
        or any("STAND-IN" in json.dumps(entry["provenance"]) for entry in document["artifacts"])
    )


def again(document: Mapping[str, Any], test: str) -> str:
    """The command that runs one test of a run again, with the run's options; quoted, for it will be pasted into a shell."""
    try:
        options = shlex.split(document["run"].get("options", ""))
    except ValueError:
        options = []
    return printable(shlex.join(["pytest", *(word[:_LONGEST_WORD] for word in (test, *options))]), 100_000)
