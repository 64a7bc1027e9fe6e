"""`limits` and `judge`: which bounds hold and who says so, and what a stored run comes to under other ones."""

from __future__ import annotations

import json
import textwrap
from argparse import Namespace
from pathlib import Path
from typing import Any

from fcos_lib.errors import UsageError
from fcos_lib.evidence.results import SCHEMA_VERSION, in_reading_order, verdict_table
from fcos_lib.judge.limits import FILE, Limit, all_limits
from fcos_lib.judge.status import counted, exit_status
from fcos_lib.judge.verdict import Outcome, Verdict, decide
from fcos_lib.measure import Measurement

_RESULTS_LIMIT = 256 << 20


def limits(args: Namespace) -> int:
    """Print every limit with where it comes from."""
    for limit in read_limits(args.limits).values():
        print(f"{limit.name}  {limit.sentence()}")
        for line in limit.certificate():
            print(textwrap.fill(line, 110, initial_indent="    ", subsequent_indent="    "))
    return 0


def judge(args: Namespace) -> int:
    """Decide a stored run again, without inference, and return the status that the run would have had."""
    limits_now = read_limits(args.limits)
    document = read_results(args.results)
    try:
        verdicts = [_again(entry, limits_now) for entry in document["verdicts"]]
        unjudged = [Outcome(entry["outcome"]) for entry in document.get("unjudged", [])]
        not_run = int(document["run"].get("gates_not_run", 0))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"{args.results} is not a results.json of this suite ({error!r})", "pass the file that a run wrote"
        ) from error
    if not verdicts and not unjudged:
        raise UsageError(f"{args.results} holds no measurement", "pass the file of a run in which a gate ran")
    for line in verdict_table(in_reading_order([verdict.as_dict() for verdict in verdicts])):
        print(line)
    for entry in document.get("unjudged", []):
        print(f"{entry['outcome']}: {entry['test']} failed before it could judge")
    moved = sum(
        entry["outcome"] != verdict.outcome.value for entry, verdict in zip(document["verdicts"], verdicts, strict=True)
    )
    print(f"{len(verdicts)} measurements judged by {args.limits}; {moved} verdicts differ from the stored ones")
    return exit_status(
        0,
        [*counted(zip((entry.get("test") for entry in document["verdicts"]), verdicts, strict=True)), *unjudged],
        not_run=not_run,
        other_failures=0,
        npu_required=False,
    )


def read_limits(path: Path) -> dict[str, Limit]:
    """The limits of a file; `UsageError` if it is missing or is not what `limits.toml` is."""
    if not path.is_file():
        raise UsageError(f"there is no limits file at {path}", f"copy {FILE} and change the copy")
    try:
        return all_limits(path)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not a limits file ({error})", f"start from a copy of {FILE}") from error


def read_results(path: Path) -> dict[str, Any]:
    """A `results.json`; `UsageError` if it is missing, damaged or of another schema version."""
    if not path.is_file() or path.stat().st_size > _RESULTS_LIMIT:
        raise UsageError(f"{path} is not a file of at most {_RESULTS_LIMIT >> 20} MiB", "pass a run's results.json")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON ({str(error)[:120]})", "pass a run's results.json") from error
    version = document.get("schema_version") if isinstance(document, dict) else None
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"{path} has the schema version {version!r}, this is version {SCHEMA_VERSION}",
            "judge it with the release that wrote it, or run again",
        )
    return dict(document)


def _limit(stored: dict[str, Any], limits_now: dict[str, Limit]) -> Limit | None:
    """The bound that holds now; one that no file has is the stored one."""
    if stored.get("derived") is not True:
        return limits_now.get(stored["name"])
    return Limit(
        str(stored["name"]), float(stored["bound"]), stored["at_least"] is True, str(stored["unit"]),
        str(stored["source"]), derived=True,
    )  # fmt: skip


def _again(entry: dict[str, Any], limits_now: dict[str, Limit]) -> Verdict:
    stored = entry["measurement"]
    interval = stored.get("interval")
    measurement = Measurement(
        name=str(stored["name"]),
        value=float(stored["value"]),
        unit=str(stored["unit"]),
        n=int(stored["n"]),
        where=str(stored.get("where", "")),
        interval=None if interval is None else (float(interval[0]), float(interval[1])),
    )
    limit = _limit(entry["limit"], limits_now) if entry["limit"] else None
    return decide(str(entry["promise"]), str(entry["subject"]), measurement, limit, stand_in=bool(entry["stand_in"]))
