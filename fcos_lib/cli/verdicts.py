"""The verbs `limits`, `judge` and `verify`: the bounds that hold, what a stored run comes to under others, if it is green."""

from __future__ import annotations

import textwrap
from argparse import Namespace
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from fcos_lib.cli.attest import check_statement
from fcos_lib.cli.terminal import say
from fcos_lib.errors import UsageError
from fcos_lib.evidence.results import (
    causes,
    has_stand_in,
    in_reading_order,
    read_results,
    stored_verdict,
    verdict_table,
)
from fcos_lib.files import one_line, write_whole
from fcos_lib.judge.exit_status import INFRA, counted, exit_status
from fcos_lib.judge.limits import Limit, all_limits
from fcos_lib.judge.limits_file import check_limits, recorded_limits
from fcos_lib.judge.roll_call import State, parse_promises, stored_entry, unanswered
from fcos_lib.judge.verdict import Outcome, Verdict, decide
from fcos_lib.model.zoo import named_contract


def limits(args: Namespace) -> int:
    """Print every limit with where it comes from, or with `--record` sections for those that a stored run lacked."""
    if args.record:
        return _record(args)
    for limit in _checked_limits(args).values():
        print(f"{limit.name}  {limit.sentence()}")
        for line in limit.certificate():
            print(textwrap.fill(line, 110, initial_indent="    ", subsequent_indent="    "))
    return 0


def _record(args: Namespace) -> int:
    """Print the limits that a stored run lacked, each with its birth certificate, to be read, and added to limits.toml."""
    document = read_results(args.record)
    named = (document["run"].get("settings") or {}).get("contract")
    if not named:
        raise UsageError(
            f"{args.record} is of a run without --contract", "record a run of your own contract's FILE.toml"
        )
    sections = recorded_limits(document, named_contract(named), _checked_limits(args))
    if args.output is None:
        print("\n".join(sections))
        return 0
    write_whole(args.output, "\n".join(sections).encode())
    left_out = sum(section.startswith("#") for section in sections)
    print(
        f"{args.output}  {len(sections) - left_out} limits, {left_out} not recorded; read it and append it to {args.limits}"
    )
    return 0


def judge(args: Namespace) -> int:
    """Decide a stored run again, without inference, and return the status that the run would have had."""
    limits_now = _checked_limits(args)
    document = read_results(args.results)
    verdicts = [_again(entry, limits_now) for entry in document["verdicts"]]
    if not verdicts and not document["unjudged"]:
        raise UsageError(f"{args.results} holds no measurement", "pass the file of a run in which a gate ran")
    for line in verdict_table(in_reading_order([verdict.as_dict() for verdict in verdicts])):
        say(one_line(line))
    for cause in causes(document["unjudged"]):
        say(cause.sentence)
    pairs = zip(document["verdicts"], verdicts, strict=True)
    moved = sum(entry["outcome"] != verdict.outcome.value for entry, verdict in pairs)
    print(f"{len(verdicts)} measurements judged by {args.limits}; {moved} verdicts differ from the stored ones")
    for sentence in _besides(document):
        print(sentence)
    return _status(document, verdicts)


def verify(args: Namespace) -> int:
    """Say whether a stored run is complete and green, and nothing else; the status is the run's, 8 for one that did not end.

    Of a statement first whether it is true, as far as that can be told here; 1 if it is not.
    """
    checked = check_statement(args)
    document = checked.document if checked else read_results(args.results)
    status = _say_status(args, document)
    return 1 if checked and checked.false else status


def _say_status(args: Namespace, document: dict[str, Any]) -> int:
    """Say what a run came to, and why it is not green; returns its status."""
    run = document["run"]
    required = {*run.get("require", ()), *parse_promises(args.require)}
    verdicts = [stored_verdict(entry) for entry in document["verdicts"]]
    entries = [stored_entry(entry) for entry in document.get("gates", ())]
    open_gates = unanswered(entries, required)
    status = _status(document, verdicts, required, npu_required=args.npu == "required")
    reasons = list(_besides(document))
    if "exit_status" not in run or not entries:
        reasons.append("it does not say what became of every gate: it did not end, or an older release wrote it")
        status = status or INFRA
    elif status == 0 and run["exit_status"] != 0:
        reasons.append(f"its own exit status was {run['exit_status']}")
        status = int(run["exit_status"])
    red = sum(verdict.outcome not in (Outcome.PASS, Outcome.STAND_IN) for verdict in verdicts if verdict.limit)
    reasons += [f"{red} verdicts are neither PASS nor STAND-IN"] if red else []
    stopped = {entry["test"] for entry in document["unjudged"]}
    reasons += [f"tests that did not come to a verdict: {len(stopped)}"] if stopped else []
    reasons += [
        f"{gate.key}[{gate.subject}] was not judged: {gate.state.value}, {gate.why}" for gate in open_gates[:10]
    ]
    if status and not reasons:
        reasons.append("STAND-IN is not PASS: an NPU was required")
    word = ("STAND-IN" if has_stand_in(document) else "PASS") if status == 0 else "not green"
    say(one_line(f"{args.results}: {word}, {len(verdicts)} verdicts, started {run.get('started_at', 'unknown')}"))
    for reason in reasons if status else ():
        say(one_line(f"  {reason}"))
    return status


def _status(
    document: Mapping[str, Any],
    verdicts: Sequence[Verdict],
    required: Collection[str] = (),
    *,
    npu_required: bool = False,
) -> int:
    """What a stored run comes to with these verdicts: whatever else failed in it counts as it did then."""
    run = document["run"]
    unjudged = [Outcome(entry["outcome"]) for entry in document["unjudged"]]
    pairs = zip((entry.get("test") for entry in document["verdicts"]), verdicts, strict=True)
    entries = [stored_entry(entry) for entry in document.get("gates", ())]
    return exit_status(
        _pytest_status(document),
        [*counted(pairs), *unjudged],
        not_run=int(run.get("gates_not_run", 0)),
        unanswered=len(unanswered(entries, {*run.get("require", ()), *required})) + _stopped(document),
        other_failures=int(run.get("other_failures", 0)),
        npu_required=npu_required or run.get("settings", {}).get("npu") == "required",
    )


def _stopped(document: Mapping[str, Any]) -> int:
    """How many gates of a red run did not come to their measurement: no other limits can judge them."""
    if int(document["run"].get("exit_status", 0)) != 1:
        return 0
    return sum(entry["state"] == State.BLOCKED.value and not entry["recorded"] for entry in document.get("gates", ()))


def _pytest_status(document: Mapping[str, Any]) -> int:
    """pytest's own status without what red gates explain, which are judged again; what else there was is counted as it was."""
    run = document["run"]
    status = int(run.get("pytest_status", run.get("exit_status", 0)))
    if status in (0, 7, INFRA):
        return 0
    entries = (*document["verdicts"], *document["unjudged"])
    red = any(entry["outcome"] == "FAIL" or entry.get("lacks") for entry in entries)
    return 0 if status == 1 and red else status


def _besides(document: Mapping[str, Any]) -> list[str]:
    """What went wrong in a stored run besides its gates, in sentences."""
    run = document["run"]
    failures, status = int(run.get("other_failures", 0)), int(run.get("pytest_status", _pytest_status(document)))
    sentences = [f"{failures} tests that are no gates failed, or files could not be collected"] if failures else []
    if status not in (0, 1):
        sentences.append(f"pytest ended with status {status}")
    elif status == 1 and not failures and "pytest_status" not in run:
        sentences.append("the run had the status 1, which its gates do not explain")
    if not_run := int(run.get("gates_not_run", 0)):
        sentences.append(f"{not_run} selected tests did not run")
    if stopped := _stopped(document):
        sentences.append(f"gates that did not come to their measurement, since another was red: {stopped}")
    return sentences


def _checked_limits(args: Namespace) -> dict[str, Limit]:
    checked = all_limits(args.limits)
    check_limits(checked, path=args.limits)
    return checked


def _again(entry: dict[str, Any], limits_now: dict[str, Limit]) -> Verdict:
    """Decided by the bound that holds now; one that no file has is the stored one."""
    then = stored_verdict(entry)
    name = then.lacks or (then.limit.name if then.limit else "")
    if not name or (then.limit and then.limit.derived):
        return decide(then.promise, then.subject, then.measurement, then.limit, stand_in=then.stand_in)
    limit = limits_now.get(name)
    lacks = "" if limit else name
    return decide(then.promise, then.subject, then.measurement, limit, stand_in=then.stand_in, lacks=lacks)
