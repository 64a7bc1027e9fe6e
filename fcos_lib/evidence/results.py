"""results.json: written whole, and its verdicts as a table."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fcos_lib.evidence.schema import SCHEMA_VERSION
from fcos_lib.files import write_whole
from fcos_lib.judge.gate import PROMISES
from fcos_lib.judge.verdict import close_pair


def write_results(
    path: Path,
    *,
    environment: Mapping[str, Any],
    artifacts: Sequence[Mapping[str, Any]],
    verdicts: Sequence[Mapping[str, Any]],
    unjudged: Sequence[Mapping[str, Any]],
    gates: Sequence[Mapping[str, Any]] = (),
    run: Mapping[str, Any],
    evidence: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write a run as JSON, atomically: schema version, run, environment, artifacts, verdicts and what failed without one.

    `gates` says for every gate of the catalogue whether it judged, and why not. Empty in a run that did not end.
    `evidence` is what a reader needs to see why: records of kind, subject and data, drawn by `evidence.page`.
    """
    document = {
        "schema_version": SCHEMA_VERSION,
        "run": dict(run),
        "environment": dict(environment),
        "artifacts": list(artifacts),
        "verdicts": list(verdicts),
        "unjudged": list(unjudged),
        "gates": list(gates),
        "evidence": list(evidence),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, (json.dumps(document, indent=1, allow_nan=False) + "\n").encode())


def in_reading_order(verdicts: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Sorted as people read them: by promise, the reference first, then by batch size; otherwise as they came."""

    def place(verdict: Mapping[str, Any]) -> tuple[int, int]:
        promise, number = verdict["promise"], re.search(r"\d+", verdict["subject"])
        return PROMISES.index(promise) if promise in PROMISES else len(PROMISES), int(number[0]) if number else 0

    return sorted(verdicts, key=place)


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
    rows = [("gate", "on", "limit", "measured", "verdict"), *verdict_rows(verdicts)]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
