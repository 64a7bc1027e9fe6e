"""The roll call of a run: what became of every gate of the catalogue, so that no gate is silent unnoticed.

A run says nothing about a gate that did not judge, and that is what a reader overlooks. So the roll call says for every gate and
every subject whether it was judged, and if not, why not. `--require` makes the run NO VERDICT for it (`judge.exit_status`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

from msgspec import Struct, to_builtins

from fcos_lib.errors import UsageError
from fcos_lib.judge.gate import PROMISES, Gate, On
from fcos_lib.judge.gates import GATES
from fcos_lib.records import record_of, says


class State(str, Enum):
    """What became of a gate."""

    JUDGED = "judged"
    """It has a verdict, whatever that is; a number that is only recorded has been recorded."""
    NOT_SELECTED = "not selected"
    """An option, a path or a variable left its test out."""
    BLOCKED = "blocked"
    """Its test was selected and did not come to it."""
    DOES_NOT_APPLY = "does not apply"
    """The catalogue says when: `Gate.unless`."""
    MISSING = "missing"
    """Nobody left its test out, and it is not there: renamed, removed, or hidden by a broken set-up."""


@dataclass(frozen=True, slots=True)
class Absence:
    """Why a gate, or a test, did not judge."""

    state: State
    why: str


def blocked(why: str) -> Absence:
    """Said by a test of a gate that it could not judge."""
    return Absence(State.BLOCKED, why)


def does_not_apply(why: str) -> Absence:
    """Said by a test of a gate that does not apply to this run, as the catalogue allows (`Gate.unless`)."""
    return Absence(State.DOES_NOT_APPLY, why)


class Entry(Struct, frozen=True, forbid_unknown_fields=True):
    """A gate of the catalogue on a subject, and what became of it."""

    key: str
    promise: str
    subject: Annotated[str, says("As in verdicts.")]
    state: State
    why: Annotated[str, says("By what; empty if it was judged.")]
    name: str = ""
    recorded: Annotated[bool, says("True for a number that no limit judges.")] = False

    @property
    def counts(self) -> bool:
        """True if it was judged or need not be."""
        return self.state in (State.JUDGED, State.DOES_NOT_APPLY) or self.recorded

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return dict(to_builtins(self))


def stored_entry(entry: Mapping[str, Any]) -> Entry:
    """An entry as `as_dict` gave it."""
    return record_of(entry, Entry)


def owed_by(gate: Gate, batch_subjects: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    """(subject, test) of every answer that a gate owes; a test as `test_file.py::test_name[batch8]`.

    `batch_subjects` are the subjects of the batch sizes under test with their sizes, such as `{"batch8-aipp": 8}`.
    """
    if gate.on is On.EACH_BATCH:
        for subject, size in batch_subjects.items():
            yield subject, f"{gate.test}[batch{size}]"
    elif gate.on is On.SMALLEST_BATCH:
        yield min(batch_subjects, key=lambda subject: batch_subjects[subject]), gate.test
    else:
        yield gate.on.value, gate.test


def roll_call(
    batch_subjects: Mapping[str, int],
    judged: Collection[tuple[str, str]],
    absent: Mapping[str, Absence],
    excused: Mapping[tuple[str, str], Absence],
) -> list[Entry]:
    """Every gate of the catalogue on every subject, in the catalogue's order.

    `judged` are (key, subject) of all verdicts, `excused` those of gates whose test said why it did not judge them, and
    `absent` says the same of whole tests.
    """
    entries = []
    for gate in GATES.values():
        for subject, test in owed_by(gate, batch_subjects):
            state, why = State.JUDGED, ""
            if (gate.key, subject) not in judged:
                absence = excused.get((gate.key, subject)) or absent.get(test)
                absence = absence or Absence(State.BLOCKED, "its test ended without judging it")
                state, why = absence.state, absence.why
                if state is State.DOES_NOT_APPLY and not gate.unless:
                    state = State.BLOCKED  # the catalogue knows no case in which it does not apply
            entries.append(Entry(gate.key, gate.promise, subject, state, why, gate.name, gate.recorded))
    return entries


def parse_promises(text: str) -> tuple[str, ...]:
    """The promises of a comma list, or all; `UsageError` names the nearest for one that does not exist."""
    names = tuple(part.strip() for part in text.split(",")) if text else ()
    if names == ("all",):
        return PROMISES
    for name in names:
        if name not in PROMISES:
            raise UsageError(f"there is no promise {name!r:.40}", f"promises are {', '.join(PROMISES)}, or all")
    return tuple(dict.fromkeys(names))


def unanswered(entries: Sequence[Entry], required: Collection[str]) -> list[Entry]:
    """What makes a run NO VERDICT: missing gates, and those of the required promises that did not judge and should have."""
    return [
        entry for entry in entries if not entry.counts and (entry.state is State.MISSING or entry.promise in required)
    ]


def in_words(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """How many gates judged, and for each reason those that did not, from entries as `as_dict` gives them.

    A promise that lacks all of its gates for one reason is named as a whole. Numbers that are only recorded are left out.
    """
    owed = [entry for entry in entries if not entry["recorded"]]
    silent = [entry for entry in owed if entry["state"] != State.JUDGED.value]
    of_promise = Counter(entry["promise"] for entry in owed)
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for entry in silent:
        groups.setdefault((entry["state"], entry["why"]), []).append(entry)
    lines = [f"gates: {len(owed) - len(silent)} of {len(owed)} judged"] if owed else []
    for (state, why), members in groups.items():
        counts = Counter(entry["promise"] for entry in members)
        whole = [promise for promise in counts if counts[promise] == of_promise[promise]]
        rest = _listed(entry for entry in members if entry["promise"] not in whole)
        lines.append(f"{state}: {'; '.join([f'all of {promise}' for promise in whole] + rest)} ({why})")
    return lines


def _listed(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """`accuracy.mAP, paired.loss on batch1, 4`: gates with the same subjects together."""
    subjects: dict[str, list[str]] = {}
    for entry in entries:
        subjects.setdefault(entry["key"], []).append(entry["subject"])
    together: dict[str, list[str]] = {}
    for key, names in subjects.items():
        together.setdefault(", ".join(names).replace(", batch", ", "), []).append(key)
    return [f"{', '.join(keys)} on {names}" for names, keys in together.items()]
