"""Rates beside what they have to live up to, and what the run stood on: device, packages, options and artifacts."""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from fcos_lib.evidence.page.charts import Strip
from fcos_lib.evidence.page.words import fixed, number, value_of

_LARGEST_HISTORY = 2 << 20


def throughput(data: Mapping[str, Any]) -> dict[str, Any]:
    """Every rate by OM and by what was timed (a series is called `batch8 pure`), what it is compared with, and the history."""
    rates: dict[str, dict[str, Any]] = {}
    for rate in data["rates"]:
        batch, _, timed = str(rate["series"]).partition(" ")
        rates.setdefault(batch, {})[timed] = rate["images_per_second"]
    history = str(data.get("history") or "")
    return {
        "rates": rates,
        "columns": list(dict.fromkeys(timed for of_batch in rates.values() for timed in of_batch)),
        "bounds": [
            (rate["series"], number(rate["images_per_second"]), *_bounds(rate))
            for rate in data["rates"]
            if any(rate.get(name) for name in ("published", "accepted", "champion"))
        ],
        # as a picture of its own: what is drawn in an `img` can neither run nor fetch anything
        "history": Markup(base64.b64encode(history.encode()).decode() if len(history) < _LARGEST_HISTORY else ""),
    }


def _bounds(rate: Mapping[str, Any]) -> tuple[str, str, Any]:
    """What was published and accepted, and the duel with the champion."""
    measured, published = value_of(rate["images_per_second"]), value_of(rate.get("published"))
    beside = band = duel = "–"
    if published and measured:
        beside = f"{number(published)} ({fixed(100 * (measured / published - 1), 1, signed=True)} %)"
    if accepted := rate.get("accepted"):
        band = f"{number(accepted[0])} to {number(accepted[1])}"
    if champion := rate.get("champion"):
        value, low, high = (value_of(champion.get(name)) for name in ("change", "low", "high"))
        words = f"{fixed(value, 2, signed=True)} % ({fixed(low, 2, signed=True)} to {fixed(high, 2, signed=True)})"
        strip = Strip.around_zero([value, low, high, 5.0], 120).interval(value or 0.0, low, high, words)
        duel = Markup("{} {}").format(strip, words)
    return beside, band, duel


def environment(document: Mapping[str, Any]) -> dict[str, Any]:
    """The run, the device, the machine and its packages, as blocks of facts."""
    run, found = document["run"], document["environment"]
    device, settings = found.get("device") or {}, run.get("settings", {})
    blocks = {
        "Run": [
            ("started", run.get("started_at", "unknown")),
            ("took", f"{number(run.get('seconds'))} s"),
            ("exit status", number(run.get("exit_status"))),
            ("python", found.get("python", "unknown")),
            ("platform", found.get("platform", "unknown")),
        ],
        "Device": [(name.replace("_", " "), _short(value)) for name, value in device.items()],
        "Packages": [(name, value or "not installed") for name, value in found.get("packages", {}).items()],
        "Options": [(name, _short(value)) for name, value in settings.items() if value not in (None, "", [], False)],
    }
    return {"command": shlex.join(map(str, run.get("command", []))), "blocks": blocks}


def artifacts(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What was tested: every file with its SHA-256, and what it was made from."""
    shown = []
    for artifact in document["artifacts"]:
        facts = artifact["provenance"]
        made_for = [str(facts[name]) for name in ("soc_version", "precision_mode") if facts.get(name)]
        made_for += [f"batch {facts['batch']}"] if facts.get("batch") else []
        made_from = json.dumps(facts, indent=1, ensure_ascii=False)
        shown.append({**artifact, "made_for": ", ".join(made_for), "made_from": made_from})
    return shown


def _short(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
