"""Does a document keep to a JSON Schema? As much of draft 2020-12 as `results.schema.json` uses, for data from anywhere.

The published schema is what readers rely on, so that reading enforces it; a validator is not worth a dependency of every
installation. A schema with a keyword that is not known here is refused, never half followed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

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
