"""A case of the gate proof: a defect with the gates that must fire, or a change that must leave all of them green."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REFUSED = "refused before it could judge"
"""Stands for a gate that failed with an error of its own, in front of any measurement."""
ALL = "not throughput"
"""The marker expression of most runs: every gate but those that need time."""
QUICK = "contract or consistency"
"""Those that compare the two sides picture by picture."""
PART = ("--pictures", "24")
"""Of the embedded 240: enough where the two sides are compared."""
MORE = ("--pictures", "40")
"""Where a defect shows in few pictures."""
SIDES = ("consistency", "contract", REFUSED)
"""What the names of such gates begin with."""
MODELS = ("onnx", "onnx-proposals", "om", "om-json")
"""Kinds of artifacts that depend on the network."""


@dataclass(frozen=True, slots=True)
class Injection:
    """A public function of the pipeline, and what is done to it."""

    target: str
    """`package.module:Class.function`"""
    kind: str
    """`arguments`: `change(*arguments)` gives others. `result`: `change(result, *arguments)` gives another. `function`:
    `change(original, *arguments)` is called instead, beside the original on copies. `instead`: the same without the original.
    `delay`: `change(*arguments)` says how many seconds it takes longer."""
    change: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One run of the suite."""

    name: str
    what: str
    """One sentence on what is different in this run."""
    gates: tuple[str, ...] = ()
    """Those that must fire, `promise: measurement` or `REFUSED`; none for a change that must leave everything green."""
    words: str = ""
    """Must be in what one of these gates says."""
    injections: tuple[Injection, ...] = ()
    without: tuple[str, ...] = ()
    """Folders of the prepared artifacts that this run does without, since their keys do not know of the defect."""
    marks: str = ALL
    options: tuple[str, ...] = ()
    batch_sizes: str = "4"
    scenario: str = ""
    """Of the emulator (`FCOS_EMULATOR`)."""
    environment: tuple[tuple[str, str], ...] = ()
    champion: bool = False
    """True if the undisturbed OM is the champion, so that the gates of cost judge. Edited graphs have operators that no real defect has."""
    arrange: Callable[[Any], tuple[str, ...]] | None = None
    """Does something to the run's folder first, with a `Child` in hand, and returns further options. Raises if it changes nothing."""
    expect: Callable[[dict[str, Any]], bool] | None = None
    """What has to be true of the results besides; for controls that could be green because nothing was different."""

    @property
    def control(self) -> bool:
        """True if every gate must stay green."""
        return not self.gates


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of the suite came to."""

    status: int
    red: dict[str, str]
    """What each gate that is not green said, by gate."""
    gates: tuple[str, ...]
    """All gates with a limit that judged, green ones included."""
    traces: tuple[Path, ...]
    seconds: float
    document: dict[str, Any]
    output: str


def marks_for(gates: tuple[str, ...]) -> str:
    """The tests that a case with these gates needs: an evaluation of all pictures is half of a run's time."""
    return QUICK if all(gate.startswith(SIDES) for gate in gates) else ALL


def verdict_on(case: Case, outcome: Outcome, changed: bool) -> str:
    """`caught`, `green`, or what is wrong, in a sentence."""
    fired = sorted(outcome.red)
    if case.injections and not changed:
        return (
            "VOID: the injection changed no byte" if outcome.traces else "VOID: the injected function was never called"
        )
    if case.expect and not case.expect(outcome.document):
        return "VOID: the run was not what the case says"
    if case.control:
        if fired or outcome.status:
            return f"FALSE ALARM: exit status {outcome.status}, {'; '.join(fired) or 'no gate fired'}"
        return "green"
    if not fired and not outcome.status:
        return "NOT CAUGHT: every gate is green"
    missing = [gate for gate in case.gates if gate not in outcome.red]
    if missing:
        return f"NOT CAUGHT BY {'; '.join(missing)}, but by {'; '.join(fired) or f'exit status {outcome.status} alone'}"
    said = "\n".join(outcome.red[gate] for gate in case.gates)
    if case.words not in said:
        return f"CAUGHT WITHOUT THE WORDS {case.words!r}: {said[:500]}"
    if not outcome.status:
        return "CAUGHT, but the exit status is 0"
    return "caught"
