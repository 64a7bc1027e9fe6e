"""Verdicts: the only place where a number becomes a word."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from msgspec import to_builtins

from fcos_lib.errors import FcosError
from fcos_lib.judge.gate import Scope
from fcos_lib.judge.gates import GATES, gate_called
from fcos_lib.judge.limits import Limit, limit_of
from fcos_lib.measure import Measurement


class Outcome(str, Enum):
    """What a gate may say."""

    PASS = "PASS"
    """Measured on real hardware or, for the reference, on the CPU it is defined on, and within its limit."""
    FAIL = "FAIL"
    """Measured, and outside its limit."""
    NO_VERDICT = "NO VERDICT"
    """Nothing to judge by: no samples, too few to tell, or no limit is set for this device."""
    STAND_IN = "STAND-IN"
    """Within its limit, or recorded, but on the emulator: says nothing about hardware."""
    INFRA = "INFRA"
    """The machine failed, not the model."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """A gate's answer with the number and the bound behind it."""

    promise: str
    """Which promise: contract, consistency, accuracy, throughput."""
    subject: str
    """On what: `reference`, `batch8`."""
    outcome: Outcome
    measurement: Measurement
    limit: Limit | None
    stand_in: bool
    """True if the emulator had any part in the measurement."""
    lacks: str = ""
    """The limit that the gate needs and limits.toml does not have."""

    @property
    def gate(self) -> str:
        """Promise, subject and number in one: `accuracy[batch8] mAP`."""
        return f"{self.promise}[{self.subject}] {self.measurement.name}"

    @property
    def green(self) -> bool:
        """True if the test that asked may pass: not when a limit was set and nothing was measured against it."""
        if self.outcome is Outcome.NO_VERDICT:
            return self.limit is None and not self.lacks and self.measurement.n > 0
        return self.outcome in (Outcome.PASS, Outcome.STAND_IN)

    @property
    def says_nothing(self) -> str:
        """Why a limit that was not held, or that was, says nothing about the model, in words; empty if it does say something."""
        if self.limit is None or self.measurement.n == 0:
            return ""
        instrument = _instrument(self.measurement)
        broken = instrument and not self.limit.holds(self.measurement.value)
        return (
            f"{instrument}: nothing is known about the model"
            if broken
            else self.limit.foreign(self.measurement.details)
        )

    def sentence(self) -> str:
        """`FAIL: accuracy[batch8] mAP 0.3551 AP, must be at least 0.359 AP`"""
        value, _ = close_pair(self.measurement.value, self.limit.bound if self.limit else self.measurement.value)
        bound = f", {self.limit.sentence()}" if self.limit else ""
        but = f" ({self.says_nothing})" if self.says_nothing else ""
        return f"{self.outcome.value}: {self.gate} {value} {self.measurement.unit}{bound}{but}"

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready; NaN and infinities become text, since JSON has none."""
        data: dict[str, Any] = to_builtins(self)
        data["gate"] = self.gate
        data["key"] = data["measurement"].pop("gate")
        if self.measurement.interval is None:
            del data["measurement"]["interval"]
        if not math.isfinite(self.measurement.value):
            data["measurement"]["value"] = str(self.measurement.value)
        return data


def within(limit: Limit, *ends: float) -> Outcome:
    """What a number, or an interval by its two ends, comes to beside a limit of the same unit.

    PASS if all of it is within the limit, FAIL if nothing of it is, NO VERDICT if the limit lies inside. Every judge asks this,
    so that a rate is slower than the champion, than accepted runs and than a published figure by one rule.
    """
    holds = [limit.holds(end) for end in ends]
    return Outcome.PASS if all(holds) else Outcome.NO_VERDICT if any(holds) else Outcome.FAIL


def judge_gate(
    measurement: Measurement, scope: Scope, subject: str, *, stand_in: bool, derived: Limit | None = None
) -> Verdict:
    """The verdict on a measurement by the gate whose key it carries; its limit is the file's for this scope, or `derived`.

    NO VERDICT that names the key if limits.toml lacks it, on the emulator as well. `FcosError` if the gate is of another unit,
    or `derived` is given to one whose limit is the file's.
    """
    gate = gate_called(measurement.gate)
    if measurement.unit != gate.unit or (derived and not gate.derived):
        raise FcosError(
            f"the measurement '{measurement.name}' in {measurement.unit} does not fit its gate {gate.key}, which is in {gate.unit}",
            "mend the measurement's key or the catalogue (fcos_lib/judge/gates.py)",
        )
    names = gate.limit_names(scope)
    limit = limit_of(gate, scope) if names else derived
    lacks = names[0] if names and limit is None else ""
    return decide(gate.promise, subject, measurement, limit, stand_in=stand_in, lacks=lacks)


def decide(
    promise: str, subject: str, measurement: Measurement, limit: Limit | None, *, stand_in: bool, lacks: str = ""
) -> Verdict:
    """PASS or FAIL against the limit; on the emulator STAND-IN instead of PASS; NO VERDICT without samples or a limit.

    A measurement with an interval is PASS or FAIL if all of the interval is; otherwise NO VERDICT. `lacks` names the limit
    that should be there and is not. NO VERDICT as well if the limit is for other pictures, and instead of FAIL for a gate of
    the suite's own instruments.
    """
    held = within(limit, *(measurement.interval or (measurement.value,))) if limit else Outcome.PASS
    if measurement.n > 0 and limit and limit.foreign(measurement.details):
        outcome = Outcome.NO_VERDICT
    elif measurement.n > 0 and held is Outcome.FAIL:
        outcome = Outcome.NO_VERDICT if _instrument(measurement) else Outcome.FAIL
    elif lacks or (measurement.n > 0 and held is Outcome.NO_VERDICT):
        outcome = Outcome.NO_VERDICT
    elif stand_in and measurement.n > 0:
        outcome = Outcome.STAND_IN
    elif limit is None or measurement.n == 0:
        outcome = Outcome.NO_VERDICT
    else:
        outcome = Outcome.PASS
    return Verdict(promise, subject, outcome, measurement, limit, stand_in, lacks)


def _instrument(measurement: Measurement) -> str:
    """What it means if a number of the suite's own instruments is out of its limit; empty for a number of the model."""
    gate = GATES.get(measurement.gate)
    return gate.instrument if gate else ""


def paragraph(verdict: Verdict, *, again: str, saved: Sequence[str] = ()) -> str:
    """The verdict for a stranger: what, how much, where, against which limit and why that one, files, and a command.

    No text makes a line with a name of its own: it goes on below, under its own name.
    """
    lines = [f"{' '.join(verdict.gate.splitlines())} is {verdict.outcome.value}"]
    for name, text in (*facts_of(verdict), *(("saved", path) for path in saved), ("again", again)):
        below = f"\n{' ' * 12}".join(text.splitlines())
        lines.append(f"  {name:<10}{below}")
    return "\n".join(lines)


def facts_of(verdict: Verdict) -> Iterator[tuple[str, str]]:
    """(name, text) of all that is known of a verdict, in reading order; a text may have several lines."""
    measured, limit = verdict.measurement, verdict.limit
    unit = " ".join(measured.unit.splitlines())
    value, bound = close_pair(measured.value, limit.bound if limit else measured.value)
    yield "measured", f"{value} {unit} over {measured.n} samples"
    if measured.interval:
        low, high = measured.interval
        wide = "; the limit lies inside, more samples would tell" if verdict.outcome is Outcome.NO_VERDICT else ""
        yield "interval", f"{low:.4g} to {high:.4g} {unit}{wide}"
    if limit:
        where = "" if limit.name.startswith("--") else "limits.toml: "  # an option of the command line
        most = "least" if limit.at_least else "most"
        yield "limit", f"must be at {most} {bound} {limit.unit}  ({where}{limit.name})"
        yield "because", limit.source
        if verdict.says_nothing:
            yield "but", verdict.says_nothing
    elif verdict.lacks:
        yield "limit", f"limits.toml has no [{verdict.lacks}]: set it with a source (docs/limits.md)"
    if measured.where:
        yield "where", measured.where
    if verdict.stand_in:
        yield "STAND-IN", "the emulator took part; no hardware was measured"


def close_pair(value: float, bound: float) -> tuple[str, str]:
    """Both numbers with just enough digits to look different, so that no near miss reads `0.359 (at least 0.359)`."""
    for digits in range(4, 17):
        texts = f"{value:.{digits}g}", f"{bound:.{digits}g}"
        if texts[0] != texts[1] or value == bound:
            return texts
    return repr(value), repr(bound)
