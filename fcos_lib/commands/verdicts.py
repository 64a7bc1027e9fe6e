"""`limits` and `judge`: which bounds hold and who says so, and what a stored run comes to under other ones."""

from __future__ import annotations

import textwrap
from argparse import Namespace
from pathlib import Path
from typing import Any

from fcos_lib.errors import UsageError
from fcos_lib.evidence.reading import read_results, stored_verdict
from fcos_lib.evidence.results import in_reading_order, verdict_table
from fcos_lib.judge.limits import FILE, Limit, all_limits
from fcos_lib.judge.status import counted, exit_status
from fcos_lib.judge.verdict import Outcome, Verdict, decide
from fcos_lib.terminal import say
from fcos_lib.untrusted import one_line


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
    verdicts = [_again(entry, limits_now) for entry in document["verdicts"]]
    unjudged = [Outcome(entry["outcome"]) for entry in document["unjudged"]]
    if not verdicts and not unjudged:
        raise UsageError(f"{args.results} holds no measurement", "pass the file of a run in which a gate ran")
    for line in verdict_table(in_reading_order([verdict.as_dict() for verdict in verdicts])):
        say(one_line(line))
    for entry in document["unjudged"]:
        say(one_line(f"{entry['outcome']}: {entry['test']} failed before it could judge"))
    moved = sum(
        entry["outcome"] != verdict.outcome.value for entry, verdict in zip(document["verdicts"], verdicts, strict=True)
    )
    print(f"{len(verdicts)} measurements judged by {args.limits}; {moved} verdicts differ from the stored ones")
    return exit_status(
        0,
        [*counted(zip((entry.get("test") for entry in document["verdicts"]), verdicts, strict=True)), *unjudged],
        not_run=int(document["run"].get("gates_not_run", 0)),
        other_failures=0,
        npu_required=False,
    )


def read_limits(path: Path) -> dict[str, Limit]:
    """The limits of a file; `UsageError` if it is missing or is not what `limits.toml` is."""
    if not path.is_file():
        raise UsageError(f"there is no limits file at {path}", f"copy {FILE} and change the copy")
    try:
        return all_limits(path)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} is not a limits file ({error})", f"start from a copy of {FILE}") from error


def _again(entry: dict[str, Any], limits_now: dict[str, Limit]) -> Verdict:
    """Decided by the bound that holds now; one that no file has is the stored one."""
    then = stored_verdict(entry)
    limit = then.limit if not then.limit or then.limit.derived else limits_now.get(then.limit.name)
    return decide(then.promise, then.subject, then.measurement, limit, stand_in=then.stand_in)
