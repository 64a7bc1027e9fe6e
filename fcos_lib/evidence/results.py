"""results.json: written, read and checked against its schema."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from fcos_lib.files import write_whole
from fcos_lib.judge.gate import PROMISES
from fcos_lib.judge.verdict import close_pair

RESULTS = Path(__file__).with_name("results.schema.json")
_SAYS_NOTHING = frozenset({"$schema", "$id", "$defs", "title", "description"})
_TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
}


@cache
def results_schema() -> dict[str, Any]:
    """The schema of `results.json`."""
    return dict(json.loads(RESULTS.read_text(encoding="utf-8")))


def first_problem(document: Any, schema: Mapping[str, Any]) -> str | None:
    """Where a JSON document breaks a schema, and how: `verdicts[3].outcome: 'GREEN' is not ...`. None if nowhere.

    `ValueError` if the schema uses a keyword that is not known here.
    """
    return next(_problems(document, schema, "", schema), None)


def _problems(value: Any, schema: Mapping[str, Any], at: str, root: Mapping[str, Any]) -> Iterator[str]:
    for keyword, wanted in schema.items():
        if keyword in _SAYS_NOTHING:
            continue
        if keyword == "$ref":
            yield from _problems(value, root["$defs"][wanted.removeprefix("#/$defs/")], at, root)
        elif keyword == "anyOf":
            if all(any(_problems(value, one, at, root)) for one in wanted):
                yield f"{at or 'it'}: {_shown(value)} is none of what is allowed"
        elif keyword in ("properties", "additionalProperties", "items"):
            yield from _inside(keyword, value, schema, at, root)
        elif complaint := _complaint(keyword, value, wanted):
            yield f"{at or 'it'}: {complaint}"


def _inside(keyword: str, value: Any, schema: Mapping[str, Any], at: str, root: Mapping[str, Any]) -> Iterator[str]:
    wanted = schema[keyword]
    if keyword == "items" and isinstance(value, list):
        for index, one in enumerate(value):
            yield from _problems(one, wanted, f"{at}[{index}]", root)
    elif keyword != "items" and isinstance(value, dict):
        known = schema.get("properties", {})
        for name, one in value.items():
            place = f"{at}.{name:.40}" if at else f"{name:.40}"
            if keyword == "properties" and name in known:
                yield from _problems(one, known[name], place, root)
            elif keyword == "additionalProperties" and name not in known:
                yield from _problems(one, wanted, place, root)


def _complaint(keyword: str, value: Any, wanted: Any) -> str | None:
    """What one keyword has against a value; it passes over values of a type that it is not about."""
    number, sized = _is(value, "number"), isinstance(value, list)
    fine = True
    match keyword:
        case "type":
            fine = any(_is(value, one) for one in ([wanted] if isinstance(wanted, str) else wanted))
        case "const":
            fine = _same(value, wanted)
        case "enum":
            fine = any(_same(value, one) for one in wanted)
        case "required":
            missing = [name for name in wanted if name not in value] if isinstance(value, dict) else []
            return f"'{missing[0]}' is missing" if missing else None
        case "minimum":
            fine = not number or value >= wanted
        case "minItems":
            fine = not sized or len(value) >= wanted
        case "maxItems":
            fine = not sized or len(value) <= wanted
        case "pattern":
            fine = not isinstance(value, str) or re.search(wanted, value) is not None
        case _:
            raise ValueError(f"the schema keyword {keyword!r} is not known")
    allowed = " or ".join(map(str, wanted)) if isinstance(wanted, list) else wanted
    return None if fine else f"{_shown(value)} does not have the {keyword} {allowed}"


def _is(value: Any, name: str) -> bool:
    if name in ("number", "integer"):  # JSON has one kind of number, and Python's True is none of them
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        return not isinstance(value, bool) and (whole or (name == "number" and isinstance(value, float)))
    return isinstance(value, _TYPES[name])


def _same(value: Any, wanted: Any) -> bool:
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def _shown(value: Any) -> str:
    """Enough to recognise it by; never a whole document."""
    if isinstance(value, (dict, list)):
        return f"{'an object' if isinstance(value, dict) else 'an array'} of {len(value)}"
    return f"{value!r:.60}"


SCHEMA_VERSION = 2


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
