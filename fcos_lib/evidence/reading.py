"""Reading a `results.json`, wherever it came from: the one door for everything that reads one."""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from fcos_lib.errors import UsageError
from fcos_lib.evidence.results import SCHEMA_VERSION, first_problem, results_schema
from fcos_lib.files import printable, read_plain, too_many_values, whole_number
from fcos_lib.judge.limits import Limit, PictureSet
from fcos_lib.judge.verdict import Outcome, Verdict
from fcos_lib.measure import Measurement

MOST_BYTES = 256 << 20
_LONGEST_WORD = 4096
MOST_VALUES = 16_000_000
"""Numbers, texts and the like; they take up to 2 GiB of memory. A run over all of COCO has less than a tenth."""
_LIMIT = [field.name for field in fields(Limit)]
_PICTURES = [field.name for field in fields(PictureSet)]


def read_results(path: Path) -> dict[str, Any]:
    """A `results.json` as `results.schema.json` has it; one of version 1 becomes version 2 without evidence.

    All numbers are finite and all text can be encoded. `UsageError` if the file is missing, too large, not JSON, of another
    version or not of this suite.
    """
    advice = "pass the results.json that a run wrote"
    try:
        if not path.is_file() or path.stat().st_size > MOST_BYTES:
            raise UsageError(f"{path} is not a file of at most {MOST_BYTES >> 20} MiB", advice)
        data = read_plain(path, MOST_BYTES)
        if too_many_values(data, MOST_VALUES):
            raise UsageError(f"{path} holds more than {MOST_VALUES:,} values", advice)
        text = data.decode("utf-8")
        document = json.loads(text, parse_constant=_refuse, parse_int=whole_number, parse_float=_finite)
        if re.search(
            r"\\u[dD][89a-fA-F]", text
        ):  # half of a surrogate pair can be written in JSON, and printed nowhere
            json.dumps(document, ensure_ascii=False).encode()
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror or error})", advice) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON ({str(error)[:120]})", advice) from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise UsageError(
            f"{path} has the schema version {version!r:.40}, this release reads 1 to {SCHEMA_VERSION}",
            "use the release that wrote it, or run the suite again",
        )
    if version == 1:
        document = {"unjudged": [], **document, "schema_version": SCHEMA_VERSION, "evidence": []}
    if isinstance(document, dict):
        document.setdefault("gates", [])  # a file of an earlier release says nothing of them
    if problem := first_problem(document, results_schema()):
        raise UsageError(f"{path} is not a results.json of this suite ({problem})", advice)
    return dict(document)


def stored_verdict(entry: Mapping[str, Any]) -> Verdict:
    """A verdict as it was decided then, from an entry of `verdicts`."""
    measured, limit = entry["measurement"], entry["limit"]
    interval = measured.get("interval")
    return Verdict(
        promise=entry["promise"],
        subject=entry["subject"],
        outcome=Outcome(entry["outcome"]),
        measurement=Measurement(
            name=measured["name"],
            value=float(measured["value"]),
            unit=measured["unit"],
            n=int(measured["n"]),
            where=measured.get("where", ""),
            details=measured.get("details", {}),
            interval=(float(interval[0]), float(interval[1])) if interval else None,
            gate=entry.get("key", ""),
        ),
        limit=_stored_limit(limit) if limit else None,
        stand_in=entry["stand_in"],
        lacks=entry.get("lacks", ""),
    )


def _stored_limit(limit: Mapping[str, Any]) -> Limit:
    fields_of = {key: limit[key] for key in _LIMIT if key in limit}
    if pictures := limit.get("pictures"):
        fields_of["pictures"] = PictureSet(**{key: pictures[key] for key in _PICTURES if key in pictures})
    return Limit(**fields_of)


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


def _refuse(text: str) -> float:
    raise ValueError(f"{text} is not a number in JSON")


def _finite(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text[:40]} is too large a number")
    return value
