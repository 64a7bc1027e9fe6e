"""Ends of runs for tests: documents as `results.json` has them, and the last lines that they come to."""

from fcos_lib.evidence.last_lines import MOST, Ending, last_lines
from fcos_lib.evidence.plain_text import Screen
from fcos_lib.judge.gates import gate_called
from fcos_lib.judge.limits import Limit
from fcos_lib.judge.roll_call import Entry, State
from fcos_lib.judge.verdict import decide
from fcos_lib.measure import Measurement

ENDING = Ending("page: .artifacts/results/evidence.html", ".artifacts/results/results.json", ".venv/bin/pytest")
TEST = "tests/acceptance/{}"
SLOTS = "test_batch_truth.py::test_every_slot_finds_the_same"


def judged(key, value, bound=None, subject="batch8", *, stand_in=False, interval=None, n=240):
    """An entry of `verdicts` for a gate of the catalogue."""
    gate = gate_called(key)
    limit = None if bound is None else Limit(key, bound, gate.direction == "at least", gate.unit, "a paper")
    measurement = Measurement(gate.name, value, gate.unit, n, interval=interval, gate=key)
    entry = decide(gate.promise, subject, measurement, limit, stand_in=stand_in).as_dict()
    return {"test": f"{TEST.format(gate.test)}[{subject}]", **entry}


def whole(*, stand_in=False, change=None):
    """Verdicts of every promise, green but for those of `change`, by key and subject."""
    entries = {
        (key, subject): judged(key, value, bound, subject, stand_in=stand_in)
        for key, value, bound in (
            ("contract.broken_rows", 0.0, 0.0),
            ("cost.om_size", 0.5, 1.0),
            ("consistency.explained", 0.0146, 0.02),
            ("consistency.unexplained", 0.0, 0.0),
            ("proposals.cosine_boxes", 1.0, 0.9999),
            ("accuracy.mAP_as_published", 0.3594, 0.359),
            ("paired.loss", -0.0003, -0.01),
            ("throughput.rate", 57.3, None),
            ("throughput.unaccounted", 0.0, 0.0),
            ("champion.slower", -0.4, -1.0),
        )
        for subject in ("batch8", "batch64")
    }
    return [*(entries | (change or {})).values()]


def ended(verdicts=(), status=0, unjudged=(), silent=(), device=None, **run):
    """What `results.json` has of a run; `silent` are (key, subject, state) of gates that did not judge."""
    gates = [Entry(entry["key"], entry["promise"], entry["subject"], State.JUDGED, "") for entry in verdicts]
    why = {State.BLOCKED: "atc ended with status 255: E10041"}
    gates += [Entry(key, gate_called(key).promise, *rest, why.get(rest[1], "by -k x")) for key, *rest in silent]
    command = ["pytest", "tests/acceptance", "--batch-sizes", "8,64"]
    return {
        "run": {"exit_status": status, "options": "--batch-sizes 8,64", "command": command, **run},
        "environment": {"device": device or {"stand_in": False, "soc_version": "Ascend310P3"}},
        "artifacts": [], "verdicts": list(verdicts), "unjudged": list(unjudged), "evidence": [],
        "gates": [entry.as_dict() for entry in gates],
    }  # fmt: skip


def left_out(*silent, verdicts=()):
    """A run of which gates did not judge; `silent` are (key, subject, state, why)."""
    document = ended(verdicts or [judged("contract.broken_rows", 0.0, 0.0, f"batch{size}") for size in (8, 64)])
    entries = [Entry(key, gate_called(key).promise, subject, state, why) for key, subject, state, why in silent]
    document["gates"] += [entry.as_dict() for entry in entries]
    return document


def shown(document, screen=None, ending=ENDING):
    """The lines, which are no more and no wider than they may be."""
    screen = screen or Screen()
    lines = [line for _, line in last_lines(document, ending, screen)]
    assert len(lines) <= MOST, f"{len(lines)} lines instead of {MOST}:\n" + "\n".join(lines)
    widest = max(lines, key=len)
    assert len(widest) <= screen.width, f"{len(widest)} columns instead of {screen.width}: {widest}"
    return lines
