"""The five cards of the first screen: for each promise its verdict, the number that decides it, and where that is explained.

Which number that is, and what it came to, is decided by `evidence.deciding`, as for the last lines on the terminal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from fcos_lib.diagnosis.blame import blame
from fcos_lib.evidence.deciding import Number, Promise, deciding
from fcos_lib.evidence.earlier import numbers_before
from fcos_lib.evidence.page.charts import Chart, Frame, element, point, text
from fcos_lib.evidence.page.verdicts import anchor_of_cause, anchor_of_verdict
from fcos_lib.evidence.page.words import minus, number, plural, slug
from fcos_lib.judge.limits import Limit
from fcos_lib.judge.roll_call import State
from fcos_lib.judge.verdict import Outcome, Verdict

_ORDER = ("contract", "consistency", "accuracy", "throughput", "cost")
_WIDTH, _HEIGHT = 240, 136
_SLOTS = 6
"""Runs that there is room for at least, so that the first ones do not look like a trend."""
_LONGEST = 150
"""Characters of a reason."""
_CHAPTERS = {
    "consistency": ("scores-and-boxes", "scores and boxes compared"),
    "accuracy": ("accuracy", "by class, size and IoU"),
    "throughput": ("throughput", "every rate, and its history"),
}
"""What explains a green promise besides its numbers."""

Before = Sequence[tuple[str, float]]
"""(when, value) in earlier runs, the oldest first."""


def cards(document: Mapping[str, Any], chapters: Collection[str], groups: Collection[str]) -> dict[str, Any]:
    """A card for each promise. `chapters` are the slugs of those on the page, `groups` the ids in its table of verdicts.

    Empty for a run that had no gates, such as the proof of the gates.
    """
    if not (document["verdicts"] or document["unjudged"] or document.get("gates")):
        return {}
    promises = {promise.name: promise for promise in deciding(document)}
    return {"cards": [_card(document, promises[name], {*chapters}, {*groups}) for name in _ORDER]}


def _card(document: Mapping[str, Any], promise: Promise, chapters: set[str], groups: set[str]) -> dict[str, Any]:
    shown = promise.number
    card = {
        "promise": promise.name,
        "word": _word(promise),
        "value": "", "unit": "", "name": "", "limit": "", "on": "", "chart": None,
        "why": _cut(_why(promise)),
        "link": _link(promise, chapters, groups, _to_blame(document)),
    }  # fmt: skip
    if shown is None:
        tests = plural(promise.stopped, "test")
        return card | {
            "value": "–",
            "name": f"{tests} could not judge" if promise.stopped else "not measured",
        }
    verdict, before = shown.verdict, numbers_before(document, shown.verdict)
    return card | {
        "value": minus(shown.value),
        "unit": shown.unit,
        "name": verdict.measurement.name,
        "limit": minus(f"limit {shown.limit}" if verdict.limit else shown.limit),
        "on": ", ".join(part for part in (verdict.subject, shown.among) if part),
        "chart": _picture(shown, before) if verdict.measurement.n else None,
    }


def _word(promise: Promise) -> str:
    """The verdict; where there is none, what became of its gates."""
    if promise.outcome:
        return promise.outcome.value
    states = [state for state, _, _ in promise.silent]
    if not states or State.MISSING in states or State.BLOCKED in states:
        return Outcome.NO_VERDICT.value
    return states[0].value


def _why(promise: Promise) -> str:
    """Why it is no plain PASS or FAIL, in words; empty for these, unless gates were left out."""
    left_out = [
        f"{plural(count, 'gate')} {state.value}: {why}" for state, why, count in promise.silent if _concerns(state, promise)
    ]  # fmt: skip
    if promise.number:
        return "; ".join(part for part in (_why_of(promise.number.verdict), *left_out[:1]) if part)
    if promise.cause:
        return promise.cause.reason
    return "; ".join(left_out[:2]) or "the run does not say what became of its gates"


def _concerns(state: State, promise: Promise) -> bool:
    """Whether a reader of the card has to know: of a promise that has a number with a limit only what was left out of it."""
    held = promise.number and promise.number.verdict.limit
    return state in (State.NOT_SELECTED, State.MISSING) if held else True


def _why_of(verdict: Verdict) -> str:
    measured = verdict.measurement
    if verdict.outcome is Outcome.STAND_IN:
        return "measured on the emulator"
    if verdict.outcome is not Outcome.NO_VERDICT:
        return ""
    if verdict.says_nothing:
        return verdict.says_nothing
    if verdict.lacks:
        return f"limits.toml has no [{verdict.lacks}]"
    if not measured.n:
        return f"nothing was measured{f': {measured.where}' if measured.where else ''}"
    return (
        "the limit lies inside the interval: more samples would tell" if verdict.limit else "there is no limit for it"
    )


def _cut(words: str) -> str:
    line = " ".join(words.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1].rstrip()}…"


def _to_blame(document: Mapping[str, Any]) -> str:
    """The stages that lost the accuracy of the first subject that was looked into; empty if none is known."""
    ladder = next((entry["data"] for entry in document["evidence"] if entry["kind"] == "ladder"), None)
    try:
        return ", ".join(blame(ladder).stages)
    except (KeyError, TypeError, ValueError, AttributeError):  # its own chapter says that it cannot be read
        return ""


def _link(promise: Promise, chapters: set[str], groups: set[str], to_blame: str) -> tuple[str, str]:
    """(id, words) of what explains the card."""
    if promise.number and not promise.number.verdict.green:
        if promise.name == "accuracy" and "stages" in chapters and to_blame:
            return "stages", f"stage to blame: {to_blame}"
        return anchor_of_verdict(promise.number.verdict), "why, and how to run it again"
    if promise.number is None and promise.cause:
        return anchor_of_cause(promise.cause), "why, and how to run it again"
    chapter, words = _CHAPTERS.get(promise.name, ("", ""))
    if promise.number and chapter in chapters:
        return chapter, words
    for group in (f"judged-{promise.name}", f"recorded-{promise.name}"):
        if promise.number and group in groups:
            return group, "all its numbers"
    return ("roll", "gates that did not judge") if "roll" in groups else ("verdicts", "all verdicts")


def _picture(shown: Number, before: Before) -> Chart:
    """The number against its limit and against earlier runs; a cross is outside of the limit."""
    verdict, limit = shown.verdict, shown.verdict.limit
    value, ends = verdict.measurement.value, verdict.measurement.interval or ()
    before = [(when, old) for when, old in before if _has_a_place(old)]
    olds = [old for _, old in before]
    drawn = [number for number in (value, *ends, *olds, *([limit.bound] if limit else [])) if _has_a_place(number)]
    columns = min(0, len(before) + 1 - _SLOTS) - 0.6, len(before) + 0.6
    frame = Frame(1, 26, _WIDTH - 1, _HEIGHT - 20, columns, _spanned(drawn))
    parts = [frame.band(frame.left, frame.right, frame.y_range, "ground"), *_limit(frame, limit)]
    joined = [*olds, value] if _has_a_place(value) else olds
    if len(joined) > 1:
        parts.append(frame.line(range(len(joined)), joined, "curve before"))
    for column, (when, old) in enumerate(before):
        kind = "run" if not limit or limit.holds(old) else "outside"
        parts.append(point(kind, frame.x(column), frame.y(old), f"{when}: {number(old)} {verdict.measurement.unit}"))
    x = frame.x(len(before))
    if len(ends) == 2 and all(map(_has_a_place, ends)):
        low, high = (frame.y(end) for end in ends)
        parts.append(element("path", class_="whisker", d=f"M{x:.1f} {low:.1f}V{high:.1f}"))
    if _has_a_place(value):
        kind = "now" if not limit or limit.holds(value) else "now outside"
        parts.append(point(kind, x, frame.y(value), f"this run: {shown.value} {shown.unit}"))
    parts.append(text(frame.left, 16, plural(len(before), "earlier run") if before else "no earlier run", "dim"))
    parts.append(text(frame.left, _HEIGHT - 5, before[0][0][:10] if before else "", "dim"))
    parts.append(text(frame.right, _HEIGHT - 5, "this run", "dim", "end"))
    earlier = f"; earlier: {', '.join(map(number, olds))}" if olds else ""
    sentence = minus(f"{shown.value} {shown.unit} in this run, {shown.limit}{earlier}")
    return Chart(_WIDTH, _HEIGHT, f"{verdict.measurement.name} on {verdict.subject}", sentence, parts, right=1)


def _limit(frame: Frame, limit: Limit | None) -> list[Markup]:
    """The limit as a line, and what lies beyond it, with a word on the side that has more room."""
    if limit is None or not _has_a_place(limit.bound):
        return [
            text(frame.left + 6, frame.top + 15, "no limit" if limit is None else "the limit is too far away", "dim")
        ]
    y = frame.y(limit.bound)
    above = y - frame.top >= frame.bottom - y
    edge = frame.y_range[0] if limit.at_least else frame.y_range[1]
    return [
        frame.band(frame.left, frame.right, (limit.bound, edge), "beyond"),
        frame.level(limit.bound, "curve limit"),
        text(frame.left + 6, y - 6 if above else y + 15, "limit", "dim"),
    ]


def _has_a_place(value: float) -> bool:
    """False for what is not finite, or so large that lengths made of it would not be."""
    return abs(value) < 1e100


def _spanned(values: Sequence[float]) -> tuple[float, float]:
    """From below the lowest to above the highest; what is all the same lies in the middle."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    room = 0.25 * (high - low) or 0.05 * abs(high) or 1.0
    return low - room, high + room


def groups_of(listed: Mapping[str, Any]) -> set[str]:
    """The ids in the table of verdicts (`page.verdicts.verdicts`) that a card may lead to."""
    rows = (("judged", listed["judged"]), ("recorded", listed["recorded"]))
    groups = {f"{kind}-{slug(row[0].partition(': ')[0])}" for kind, of_kind in rows for row in of_kind}
    return groups | ({"roll"} if listed["roll"] else set())
