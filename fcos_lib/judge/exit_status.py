"""The exit status of a run, and who decides that it was the machine: PASS, FAIL, NO VERDICT or INFRA, so that silence is no success.

0  every selected gate ran, and each is PASS or, on a machine without an NPU, STAND-IN
1  a gate is FAIL, or another test failed
2, 3, 4, 5, 6  pytest's own: interrupted, internal error, usage, nothing collected, too many warnings
7  NO VERDICT: a gate was not measured well enough, had no limit to be judged by, did not run, or was required and left out
8  INFRA: the machine failed, and no gate is FAIL; or every gate is green and the results cannot be written
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from fcos_lib.errors import AtcError, DeviceError, FeedError, NotInstalledError, StoreError, of_the_machine
from fcos_lib.judge.verdict import Outcome, Verdict

NO_VERDICT, INFRA = 7, 8
_NOTHING_COLLECTED = 5
_MACHINE = (DeviceError, AtcError, FeedError, StoreError, NotInstalledError)


def outcome_of(error: BaseException) -> Outcome:
    """What an error in front of a gate means: INFRA for the device, the compiler, the feed, the disk and a missing package, FAIL for all else.

    INFRA as well for what the machine has run out of, such as memory, space and descriptors, whatever error that led to.
    """
    return Outcome.INFRA if isinstance(error, _MACHINE) or of_the_machine(error) else Outcome.FAIL


def counted(judged: Iterable[tuple[object, Verdict]]) -> list[Outcome]:
    """The outcomes that a run comes to, from (test, verdict) pairs: what a test only records beside its limits is left out."""
    pairs = list(judged)
    with_limits = {test for test, verdict in pairs if verdict.limit}
    return [verdict.outcome for test, verdict in pairs if verdict.limit or verdict.lacks or test not in with_limits]


def exit_status(
    pytest_status: int,
    outcomes: Collection[Outcome],
    *,
    not_run: int,
    unanswered: int,
    other_failures: int,
    npu_required: bool,
) -> int:
    """The exit status of a run that selected at least one gate, or should have.

    `outcomes` are those of all verdicts and of all gates that failed before they could judge, `not_run` counts selected
    tests without either, `unanswered` gates that are missing or were required (`roll_call.unanswered`), `other_failures`
    failed tests that are no gates.
    """
    if pytest_status not in (0, 1, _NOTHING_COLLECTED) or (pytest_status == _NOTHING_COLLECTED and not unanswered):
        return pytest_status
    if other_failures or Outcome.FAIL in outcomes:
        return 1
    if Outcome.INFRA in outcomes:
        return INFRA
    if Outcome.NO_VERDICT in outcomes or not_run or unanswered or not outcomes:
        return NO_VERDICT
    if npu_required and Outcome.STAND_IN in outcomes:
        return NO_VERDICT
    return pytest_status
