"""Accepted runs: the baseline of throughput, and whether another run lives up to it.

The baseline is what somebody accepted, with a reason; it never drifts by itself. `accepted.json` keeps every acceptance
with its numbers, so that it can be reviewed, kept under version control, and outlive the runs. Two sentences define it:
the last acceptance that holds a recipe says which of its series a run must have; the last one that holds a series with its
fingerprint says how fast it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any, Literal

from msgspec import Struct

from fcos_lib.errors import StoreError, UsageError, refusal_as
from fcos_lib.files import write_whole
from fcos_lib.judge.change import HistoryVerdict, judge_against_history
from fcos_lib.judge.history import FILE_LIMIT, FORMAT, Fingerprint, Rate, Run, Series, in_utc
from fcos_lib.judge.limits import Limit
from fcos_lib.judge.verdict import Outcome
from fcos_lib.measure import Measurement
from fcos_lib.records import Form, Line
from fcos_lib.store.artifacts import locked


class Acceptance(Struct, frozen=True, forbid_unknown_fields=True):
    """Runs that somebody declared to be the baseline of what they hold."""

    at: datetime
    reason: Line
    runs: tuple[Run, ...]


class _File(Struct, forbid_unknown_fields=True):
    """What `accepted.json` holds."""

    format: Literal[1]
    accepted: tuple[Acceptance, ...]
    benchmarks: list[Any] = []


_ADVICE = "restore it: without it every series is new"
_FORM = Form(_File, "an accepted.json", _ADVICE, FILE_LIMIT, version=("format", 1, FORMAT))


class Baseline(Struct, frozen=True):
    """Every acceptance so far, the oldest first."""

    acceptances: tuple[Acceptance, ...] = ()

    def promised(self, recipe: Series) -> tuple[Series, ...]:
        """The series that a run of this recipe (`Series.recipe`) must have."""
        for acceptance in reversed(self.acceptances):
            rates = (rate for run in acceptance.runs for rate in run.rates)
            held = dict.fromkeys(rate.series for rate in rates if rate.series.recipe == recipe)
            if held:
                return tuple(sorted(held, key=lambda series: (series.timed, series.batch_size)))
        return ()

    def holding(self, series: Series, fingerprint: Fingerprint) -> tuple[tuple[Run, Rate], ...]:
        """The accepted runs of a series on a fingerprint, each once, with their rates, in the order of their time."""
        for acceptance in reversed(self.acceptances):
            once = {run.run_id: run for run in acceptance.runs}  # named twice, a run would agree with itself
            pairs = [(run, run.rate(series)) for run in once.values()]
            held = tuple((run, rate) for run, rate in pairs if rate is not None and rate.fingerprint == fingerprint)
            if held:
                return tuple(sorted(held, key=lambda pair: (pair[0].at, pair[0].run_id)))
        return ()

    def closest(self, rate: Rate) -> Rate | None:
        """The accepted rate that differs least in identity, the youngest of equals; never hardware for the emulator or back."""
        accepted = (old for acceptance in reversed(self.acceptances) for run in acceptance.runs for old in run.rates)
        same_kind = [old for old in accepted if old.series.stand_in == rate.series.stand_in]
        return min(same_kind, key=lambda old: (old.series != rate.series, len(differences(old, rate))), default=None)


_GATES = {"pure": "history.pure", "end to end": "history.end_to_end", "stream": "history.stream"}

SeriesJudge = Callable[[float, Sequence[float]], HistoryVerdict]
"""Decides from a new rate and the accepted ones (images/s, in the order of their runs)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One series of a run against the baseline."""

    series: Series
    outcome: Outcome
    new: float | None
    """images/s; None if the run lacks the series."""
    old: float | None
    """images/s, the median of the accepted rates or the closest one's; None if there is none."""
    reason: str
    low: float = math.nan
    """The lowest rate to be expected, images/s; NaN if that cannot be told."""
    high: float = math.nan

    @property
    def ratio(self) -> float | None:
        """New over old: below 1 is slower."""
        return self.new / self.old if self.new and self.old else None

    def judged(self) -> tuple[Measurement, Limit | None]:
        """The change in % and its bound, for `decide`; no bound if nothing was accepted, no samples if the run cannot be judged."""
        change, limit, samples = 100 * (self.ratio - 1) if self.ratio else 0.0, None, 1
        if self.old and math.isfinite(self.low):
            bound = 100 * (self.low / self.old - 1)
            limit = Limit("rate_against_history", bound, True, "%", "the accepted runs and their spread", derived=True)
            samples = 0 if self.outcome is Outcome.NO_VERDICT else 1
        name, gate = f"{self.series.timed} rate against history", _GATES[self.series.timed]
        return Measurement(name, change, "%", samples, self.reason, {"images_per_second": self.new}, gate=gate), limit


def compare(
    run: Run, baseline: Baseline, judge: SeriesJudge = judge_against_history, *, require_baseline: bool = False
) -> list[Comparison]:
    """Every series of the run, and every promised one that it lacks, in reading order.

    Judged is only what was accepted on the same fingerprint, by other runs; on the emulator PASS becomes STAND-IN. A series
    that the run lacks is FAIL. Everything else is NO VERDICT and says what differs; without any accepted rate of the series
    it is FAIL if a baseline is required.
    """
    compared = [_judged(rate, run, baseline, judge, require_baseline) for rate in run.rates]
    for recipe in dict.fromkeys(rate.series.recipe for rate in run.rates):
        compared += [_lost(series, run, baseline) for series in baseline.promised(recipe) if run.rate(series) is None]
    return sorted(compared, key=lambda comparison: comparison.series.order)


def differences(old: Rate, new: Rate) -> list[str]:
    """The fields of identity in which two rates differ: `driver 24.1.0 → 25.0.RC1`."""
    pairs = ((old.series, new.series), (old.fingerprint, new.fingerprint))
    return [
        f"{name} {_short(getattr(before, name))} → {_short(getattr(after, name))}"
        for before, after in pairs
        for name in before.__struct_fields__
        if getattr(before, name) != getattr(after, name)
    ]


def read_accepted(path: Path) -> Baseline:
    """The baseline in `accepted.json`, empty if there is no such file; `UsageError` if it is broken."""
    if not path.exists():
        return Baseline()
    try:
        return Baseline(
            tuple(
                Acceptance(in_utc(entry.at), entry.reason, tuple(run.checked() for run in entry.runs))
                for entry in _FORM.read(path).accepted
            )
        )
    except ValueError as error:
        raise UsageError(f"{path}: {error}", _ADVICE) from error


def expected(
    baseline: Baseline, series: Series, fingerprint: Fingerprint, judge: SeriesJudge = judge_against_history
) -> tuple[float, float]:
    """The range of rates, images/s, in which another run would be nothing new; NaN if too few were accepted."""
    rates = [rate.images_per_second for _, rate in baseline.holding(series, fingerprint)]
    decision = judge(median(rates), rates) if rates else None
    return (decision.low, decision.high) if decision else (math.nan, math.nan)


def accept(path: Path, runs: Sequence[Run], reason: str, *, add: bool = False, fewer: bool = False) -> Acceptance:
    """Make runs the baseline of what they hold; name several, since their spread is what a new run is judged by.

    They replace the runs accepted before for the same recipe and fingerprint, or join them with `add`. `UsageError` without
    a reason or runs, and if their recipe would have fewer series than before, unless `fewer`.
    """
    if not runs or not reason.strip():
        raise UsageError("a baseline needs runs and a reason", "say what changed, such as --why 'CANN 8.3'")
    with refusal_as(StoreError, f"{path} cannot be written", "check free space and permissions"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock"), f"accepting runs in {path}", 60):
            before = read_accepted(path)
            rates = [rate for run in runs for rate in run.rates]
            joined = [run for rate in rates for run, _ in before.holding(rate.series, rate.fingerprint)]
            by_id = {run.run_id: run for run in [*joined * add, *runs]}
            acceptance = Acceptance(datetime.now(timezone.utc), reason.strip(), tuple(by_id.values()))
            held = {rate.series for run in acceptance.runs for rate in run.rates}
            promised = {series for recipe in {series.recipe for series in held} for series in before.promised(recipe)}
            dropped = sorted(series.label for series in promised - held)
            if dropped and not fewer:
                raise UsageError(
                    f"the runs lack what the baseline has: {', '.join(dropped)}",
                    "accept complete runs, or pass --fewer if these need not be measured any more",
                )
            content = _document((*before.acceptances, acceptance))
            _FORM.of(content, "the acceptance")  # what could not be read back would hide every promise
            write_whole(path, (json.dumps(content, indent=1) + "\n").encode())
    return acceptance


def _document(acceptances: Sequence[Acceptance]) -> dict[str, Any]:
    """What `_File` describes. With `benchmarks`, pytest-benchmark's own commands take it for a run without any, not for a broken one."""
    entries = [
        {"at": entry.at.isoformat(), "reason": entry.reason, "runs": [run.as_dict() for run in entry.runs]}
        for entry in acceptances
    ]
    return {"format": FORMAT, "benchmarks": [], "accepted": entries}


def _judged(rate: Rate, run: Run, baseline: Baseline, judge: SeriesJudge, require_baseline: bool) -> Comparison:
    new, unknown = rate.images_per_second, Outcome.FAIL if require_baseline else Outcome.NO_VERDICT

    def undecided(outcome: Outcome, old: float | None, reason: str) -> Comparison:
        return Comparison(rate.series, outcome, new, old, reason)

    accepted = baseline.holding(rate.series, rate.fingerprint)
    earlier = [old.images_per_second for other, old in accepted if other.run_id != run.run_id]
    if earlier:
        decision = judge(new, earlier)
        passed_off_hardware = rate.series.stand_in and decision.outcome is Outcome.PASS
        outcome = Outcome.STAND_IN if passed_off_hardware else decision.outcome
        return Comparison(rate.series, outcome, new, median(earlier), decision.reason, decision.low, decision.high)
    if accepted:
        return undecided(Outcome.NO_VERDICT, None, "this run is itself the baseline, and no other run is")
    near = baseline.closest(rate)
    if near is None:
        return undecided(unknown, None, "nothing was accepted yet")
    differing = ", ".join(differences(near, rate))
    if near.series == rate.series:
        reason = f"accepted only on another fingerprint: {differing}"
        return undecided(Outcome.NO_VERDICT, near.images_per_second, reason)
    return undecided(unknown, None, f"no accepted run has this series; the closest differs in {differing}")


def _lost(series: Series, run: Run, baseline: Baseline) -> Comparison:
    """A promised series that the run does not have; names what it may have been renamed to."""
    held = [
        [rate.images_per_second for run in entry.runs if (rate := run.rate(series))] for entry in baseline.acceptances
    ]
    old = next((median(rates) for rates in reversed(held) if rates), None)
    known = baseline.promised(series.recipe)
    timed = (rate.series for rate in run.rates if rate.series.recipe == series.recipe)
    strangers = [other.label for other in timed if other not in known]
    reason = "accepted, but not in this run: renamed or lost" + f"; new here: {', '.join(strangers)}" * bool(strangers)
    return Comparison(series, Outcome.FAIL, None, old, reason)


def _short(value: object) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) > 40 else text or "unknown"
